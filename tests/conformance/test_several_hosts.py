"""Several hosts load into one store: each spool has its own checkpoint, though the paths are equal.

Each host is a mount namespace, in which a folder of its own is at the common path.
"""

from __future__ import annotations

import os
import subprocess

import pytest
from fixtures.commands import Begun
from fixtures.logs import balanced, ledger, opening, rows
from sqlalchemy import create_engine

from auditsvc.errors import SpoolError
from auditsvc.ingest.known_store import KnownStore
from auditsvc.spool.identity import identity, source_name
from auditsvc.store.databases import parse_url

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace needs root")


class Host:
    """One host: `run --source stdin`, with its state at the path that all have in common."""

    def __init__(self, folder, name, url):
        self.name, self.url = name, url
        self.own = folder / name
        self.common = folder / "state"
        self.serial = 0
        for each in (self.own, self.common):
            each.mkdir(exist_ok=True, mode=0o700)

    def begin(self):
        """Start it."""
        self.process = Begun(
            *("run", "--source", "stdin"),
            bound=[(self.own, self.common)],
            environment=os.environ
            | {
                "AUDITSVC_STORE": self.url,
                "AUDITSVC_HOST": self.name,
                "AUDITSVC_STATE_DIRECTORY": str(self.common),
                "AUDITSVC_RUNTIME_DIRECTORY": str(self.own / "run"),
            },
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return self

    def feed(self, count):
        """Write events with the serials that follow."""
        text = ""
        for _ in range(count):
            self.serial += 1
            text += opening(self.serial, name=f"/{self.name}")
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def end(self):
        """End the input and wait for the rest to be stored; gives the log."""
        _, said = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, said
        return said.decode()


def calls(url):
    """Give the number of calls, and of different serials, by host."""
    found = rows(
        url,
        "SELECT host, count(*) AS n, count(DISTINCT serial) AS d FROM syscalls GROUP BY host",
    )
    return {row["host"]: (row["n"], row["d"]) for row in found}


@pytest.mark.one_database
def test_hosts_that_load_by_turns_lose_nothing(url, tmp_path):
    """One host's position is not used for another: each continues at its own."""
    hosts = [Host(tmp_path, name, url) for name in ("alpha", "beta")]
    for turn in (1, 2):
        for count, host in zip((30, 20), hosts, strict=True):
            host.begin().feed(count)
            host.end()
            assert calls(url)[host.name] == (turn * count, turn * count)
    assert ledger(url)["gap"] == 0
    assert balanced(url)


@pytest.mark.postgres
def test_hosts_that_load_at_once_lose_nothing(empty_postgres_url, tmp_path):
    """Three of them, into one server."""
    hosts = [
        Host(tmp_path, name, empty_postgres_url).begin() for name in ("alpha", "beta", "gamma")
    ]
    for _ in range(20):
        for host in hosts:
            host.feed(25)
    for host in hosts:
        host.end()
    assert calls(empty_postgres_url) == dict.fromkeys(("alpha", "beta", "gamma"), (500, 500))
    assert ledger(empty_postgres_url)["gap"] == 0
    assert balanced(empty_postgres_url)


def rename(url, new, old):
    """Give a source another name, as an older program left it."""
    engine = create_engine(parse_url(url))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE source SET name = '{old}' WHERE name = '{new}'")
    engine.dispose()


def left_by_an_older_program(folder, url):
    """Give a host whose spool was loaded when a path alone was a spool's name."""
    host = Host(folder, "alpha", url)
    host.begin().feed(30)
    host.end()
    path, spool = host.common / "spool", host.own / "spool"
    rename(url, f"{path}#{identity(spool)}", str(path))
    (spool / "identity").unlink()
    return host, spool


@pytest.mark.one_database
def test_the_checkpoint_of_an_older_program_is_taken_over(url, tmp_path):
    """Its name was the path alone: it is recognised by the file in this spool's folder."""
    host, _ = left_by_an_older_program(tmp_path, url)
    host.begin().feed(10)
    host.end()
    assert calls(url) == {"alpha": (40, 40)}
    assert ledger(url)["duplicate"] == 0
    assert len(rows(url, "SELECT DISTINCT source FROM ledger WHERE kind = 'spool'")) == 1


@pytest.mark.one_database
def test_the_checkpoint_of_another_spool_is_not_taken_over(url, tmp_path):
    """If the checkpoint differs from the one in the spool's folder, the spool is read again."""
    host, spool = left_by_an_older_program(tmp_path, url)
    known = KnownStore(spool, url)
    segment, position = known.last_place()
    known.reached(segment, position - 1)
    host.begin().feed(10)
    assert "lost rows" not in host.end()
    assert calls(url) == {"alpha": (40, 40)}
    assert ledger(url)["duplicate"] >= 30
    assert balanced(url)


def test_an_identity_stays(tmp_path):
    """It is made once, and goes where the spool goes."""
    here = tmp_path / "spool"
    here.mkdir(mode=0o700)
    first = identity(here)
    assert source_name(here) == f"{here}#{first}"
    there = here.rename(tmp_path / "moved")
    assert identity(there) == first
    (there / "identity").write_text("../../etc/passwd\n")
    with pytest.raises(SpoolError, match="identity, which says which spool this is, is damaged"):
        identity(there)
