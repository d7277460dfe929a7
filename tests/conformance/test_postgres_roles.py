"""packaging/postgres-roles.sql: hosts that share a database, and cannot read each other's rows."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from conformance.test_several_hosts import Host
from fixtures.logs import SECOND, balanced, ledger, load, opening, rows
from fixtures.postgres_server import USER
from psycopg import errors, sql

from auditsvc.store import builtin, objects, views

SCRIPT = Path(__file__).parents[2] / "packaging/postgres-roles.sql"
HOSTS = ("alpha", "beta-2", "gamma.example")
PASSWORD = "w0rd"

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace needs root"),
]


class Shared:
    """A database for several hosts."""

    def __init__(self, server, url):
        self.server, self.url = server, url
        self.roles = [*(f"auditsvc_{host}" for host in HOSTS), "auditsvc_reader", "somebody"]

    def prepare(self, host):
        """Run the script for a host; gives what psql says."""
        psql = [self.server.programs / "psql", "-q", "-X", "-v", f"host={host}", "-f", SCRIPT]
        done = subprocess.run([*psql, self.url], capture_output=True, text=True, check=False)
        assert done.stderr == ""
        assert done.returncode == 0

    def execute(self, statement, *names):
        """Execute a statement as the administrator."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def admit(self, role):
        """Give a role a password; gives its URL."""
        self.execute(f"ALTER ROLE {{}} PASSWORD '{PASSWORD}'", role)
        return self.url.replace(f"{USER}:{self.server.password}", f"{role}:{PASSWORD}")


@pytest.fixture
def shared(postgres_server):
    """Give a database that is prepared for three hosts and a reader."""
    made = None
    try:
        with postgres_server.database() as url:
            made = Shared(postgres_server, url)
            for host in HOSTS:
                made.prepare(host)
            made.writers = {host: made.admit(f"auditsvc_{host}") for host in HOSTS}
            made.execute("CREATE ROLE somebody LOGIN IN ROLE auditsvc_reader")
            made.execute("ALTER ROLE somebody SET search_path = auditsvc")
            made.reader = made.admit("somebody")
            yield made
    finally:
        with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
            for role in reversed(made.roles if made else []):
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def load_all(shared):
    """Let each host load two calls of its own."""
    for n, (host, url) in enumerate(shared.writers.items()):
        load(url, opening(n * 10 + 1, name=f"/{host}") + opening(n * 10 + 2, name=f"/{host}"))
    shared.prepare(HOSTS[0])


def test_three_hosts_at_once_as_writers_of_their_own(shared, tmp_path):
    """All rows of all hosts are there once, and a reader sees them as one."""
    hosts = [Host(tmp_path, host, url).begin() for host, url in shared.writers.items()]
    for _ in range(10):
        for host in hosts:
            host.feed(25)
    for host in hosts:
        host.end()
    shared.prepare(HOSTS[0])
    by_host = "SELECT host, writer, count(*) AS n, count(DISTINCT serial) AS d FROM syscalls"
    found = rows(shared.reader, f"{by_host} GROUP BY host, writer ORDER BY host")
    assert [tuple(row.values()) for row in found] == [
        (host, f"auditsvc_{host}", 250, 250) for host in HOSTS
    ]
    named = "SELECT host, p.name FROM syscalls JOIN paths p USING (writer, event_id) GROUP BY 1, 2"
    assert {row["host"]: row["name"] for row in rows(shared.reader, named)} == {
        host: f"/{host}" for host in HOSTS
    }
    for url in shared.writers.values():
        assert ledger(url)["gap"] == 0
        assert balanced(url)


BY_A_WRITER = [
    "SELECT * FROM {other}.syscalls",
    "SELECT * FROM {other}.text",
    "SELECT * FROM {other}.{part}",
    "SELECT * FROM {other}.source",
    "SELECT * FROM auditsvc.syscalls",
    "DELETE FROM {other}.syscall",
    "INSERT INTO {other}.host VALUES (1, 'forged')",
    "UPDATE {other}.text SET value = 'forged'",
    "TRUNCATE {other}.event",
    "DROP TABLE {other}.{part}",
    "DROP SCHEMA {other} CASCADE",
    "CREATE TABLE {other}.mine ()",
    "CREATE TABLE public.mine ()",
    "CREATE SCHEMA mine",
    "GRANT SELECT ON {other}.syscalls TO {own}",
    "SET ROLE auditsvc_reader",
    "SET ROLE {other}",
]
BY_A_READER = [
    "DELETE FROM {other}.syscall",
    "INSERT INTO {other}.host VALUES (1, 'forged')",
    "UPDATE {other}.text SET value = 'forged'",
    "INSERT INTO syscalls DEFAULT VALUES",
    "DROP TABLE {other}.{part}",
    "CREATE TABLE auditsvc.mine ()",
    "CREATE TABLE {other}.mine ()",
    "CREATE TEMPORARY TABLE mine ()",
    "SET ROLE {other}",
]


def test_what_no_role_may_do(shared):
    """A writer neither reads nor changes what is another's; a reader changes nothing."""
    load_all(shared)
    names = {
        "own": sql.Identifier("auditsvc_alpha"),
        "other": sql.Identifier("auditsvc_beta-2"),
        "part": sql.Identifier("syscall_20250615"),
    }
    assert SECOND // 86_400 == 20254  # the day of this partition
    refused = (errors.InsufficientPrivilege, errors.ObjectNotInPrerequisiteState)
    for url, statements in ((shared.writers["alpha"], BY_A_WRITER), (shared.reader, BY_A_READER)):
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                with pytest.raises(refused):
                    connection.execute(sql.SQL(statement).format(**names))
    assert len(rows(shared.reader, "SELECT * FROM syscalls")) == 6


@contextmanager
def newer_program():
    """Be a program whose view `syscalls` has one column more."""
    made = views._VIEWS["syscalls"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            views._VIEWS, "syscalls", lambda d: f"SELECT s.*, 7 AS newer FROM ({made(d)}) s"
        )
        _forget_views()
        yield
    _forget_views()


def _forget_views():
    for each in (builtin._digest, objects.view_bodies):
        each.cache_clear()


def test_a_newer_program_makes_its_views_under_those_of_all(shared):
    """It is not stopped by them; they are made again by the script, with what each store has."""
    load_all(shared)
    assert len(rows(shared.reader, "SELECT * FROM syscalls")) == 6
    with newer_program():
        load(shared.writers["alpha"], opening(5), "more")
    shared.prepare("alpha")
    found = rows(shared.reader, "SELECT writer, newer, count(*) AS n FROM syscalls GROUP BY 1, 2")
    assert {tuple(row.values()) for row in found} == {
        ("auditsvc_alpha", 7, 3),
        ("auditsvc_beta-2", None, 2),
        ("auditsvc_gamma.example", None, 2),
    }


def test_a_host_must_be_named(shared):
    """Nothing is made without."""
    psql = [shared.server.programs / "psql", "-q", "-X", "-f", SCRIPT, shared.url]
    done = subprocess.run(psql, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "name the host: psql -v host=NAME" in done.stderr
