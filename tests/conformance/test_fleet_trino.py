"""Trino on the table of the lake, with the settings that `fleet settings` writes for it.

It needs a distribution of Trino, unpacked in TRINO_HOME, and the Java that it wants in JAVA_HOME.
Its answers are held to those of `fleet query`.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from fixtures.commands import run
from fixtures.lake import Lake
from fixtures.logs import call, end, load, opening, record
from fixtures.seaweed import ACCESS, SECRET, lake
from fixtures.stores import new_store
from fixtures.trino import IS_THERE, trino

PAGE = (Path(__file__).parents[2] / "docs/fleet.md").read_text()
MIXED = Path(__file__).parents[1] / "data/mixed.log"
HOSTS = ("alpha", "beta", "gamma")
SECOND = 1_795_132_800

WITH = re.search(r"WITH current_rows AS \(.*?\n\)", PAGE, re.DOTALL)
"""The rows that count, in Trino's SQL, as the page has them."""
SEEN = "first_host, hosts, times"
FIRST = "min_by(host, (time, host)), count(DISTINCT host), count(*)"
SAME = {
    "SELECT host, kind, count(*) FROM all_events GROUP BY host, kind": (
        "SELECT host, kind, count(*) FROM current_rows GROUP BY host, kind"
    ),
    f"SELECT exe, {SEEN} FROM programs": (
        f"SELECT exe, {FIRST} FROM current_rows"
        " WHERE kind = 'call' AND exe IS NOT NULL GROUP BY exe"
    ),
    f"SELECT argv, {SEEN} FROM arguments": (
        f"SELECT argv, {FIRST} FROM current_rows WHERE argv IS NOT NULL GROUP BY argv"
    ),
    "SELECT host, path, count(*) FROM paths GROUP BY host, path": (
        "SELECT host, path, count(*) FROM current_rows CROSS JOIN UNNEST(paths) GROUP BY host, path"
    ),
    "SELECT p.host, p.path, count(*) FROM paths p JOIN syscalls USING (event_id)"
    " WHERE success = 0 GROUP BY p.host, p.path": (
        "SELECT host, path, count(*) FROM current_rows CROSS JOIN UNNEST(paths)"
        " WHERE success = false GROUP BY host, path"
    ),
    "SELECT host, ses, address, kind FROM logins": (
        "SELECT r.host, l.ses, l.address, l.kind FROM current_rows r CROSS JOIN UNNEST(r.logins)"
        " AS l (event_id, time, kind, auid, account, ses, pid, terminal, address, ended, how_ended,"
        " user_login_event_id, end_event_id)"
    ),
    "SELECT l.host, c.host, l.address FROM logins l JOIN connections c"
    " ON c.time BETWEEN '2026-11-20 00:00:00' AND '2026-11-20 00:01:00' AND c.port = 22"
    " WHERE l.address = '192.0.2.1'": (
        "SELECT r.host, c.host, l.address FROM current_rows r CROSS JOIN UNNEST(r.logins)"
        " AS l (event_id, time, kind, auid, account, ses, pid, terminal, address, ended, how_ended,"
        " user_login_event_id, end_event_id)"
        " JOIN (SELECT * FROM current_rows WHERE any_match(connections, each -> each.port = 22)) c"
        " ON c.time BETWEEN TIMESTAMP '2026-11-20 00:00:00 UTC'"
        " AND TIMESTAMP '2026-11-20 00:01:00 UTC' WHERE l.address = '192.0.2.1'"
    ),
}
"""Questions over all hosts: to DuckDB by the views, to Trino by the wide row."""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not IS_THERE, reason="TRINO_HOME names no unpacked Trino"),
]


def _log(host):
    """Give what happened on a host: an opened file, a program of its own, a login, an ssh."""
    when = {"second": SECOND + 10, "ms": 5}
    own = opening(1, second=SECOND)
    own += call(2, nr=59, exe=f'"/opt/{host}/own"', **when)
    own += record("EXECVE", 2, f'argc=2 a0="own" a1="{host}"', **when) + end(2, **when)
    own += call(3, nr=42, exe='"/usr/bin/ssh"', **when)
    own += record("SOCKADDR", 3, "saddr=02000016C00002020000000000000000", **when) + end(3, **when)
    own += record(
        "LOGIN", 4, "pid=70 uid=0 old-auid=4294967295 auid=1000 tty=(none)"
        " old-ses=4294967295 ses=7 res=1", second=SECOND + 11,
    )  # fmt: skip
    return own + record(
        "USER_LOGIN", 5, "pid=70 uid=0 auid=1000 ses=7 msg='op=login id=1000"
        ' exe="/usr/sbin/sshd" hostname=192.0.2.1 addr=192.0.2.1 terminal=ssh res=success\'',
        second=SECOND + 11,
    )  # fmt: skip


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Give a Trino over a lake of three hosts, and the environment for `auditsvc fleet`."""
    folder = tmp_path_factory.mktemp("trino")
    (folder / "lake").mkdir()
    with lake(folder / "lake") as given:
        made = Lake(given, "events")
        for host in HOSTS:
            settings = made.host(folder, host)
            new_store(folder / host / "store.db")
            text = _log(host).encode() + (MIXED.read_bytes() if host == "beta" else b"")
            load(settings.store, text, kind="spool", host=host)
            made.ship(settings)
            load(settings.store, opening(90, second=SECOND), name="later", host=host)
            made.ship(settings)
        made.commit()
        environment = os.environ | {
            f"AUDITSVC_FLEET__{name.upper()}": str(value) for name, value in made.given.items()
        }
        words, file = ("fleet", "settings", "--for", "trino"), folder / "lake.properties"
        shown = run(*words, environment=environment, text=True)
        done = run(*words, "--into", str(file), environment=environment, text=True)
        assert (shown.returncode, done.returncode) == (0, 0), shown.stderr + done.stderr
        (folder / "trino").mkdir()
        keys = {"AUDITSVC_ACCESS_KEY": ACCESS, "AUDITSVC_SECRET_KEY": SECRET}
        catalogs = {"lake": file.read_text(), "shown": shown.stdout}
        with trino(folder / "trino", catalogs, keys) as server:
            yield server, environment


@pytest.mark.parametrize("number", range(len(SAME)))
def test_it_answers_as_fleet_query(asked, number):
    """Over all hosts, row for row."""
    server, environment = asked
    sql, theirs = list(SAME.items())[number]
    done = run("fleet", "query", "--format", "json", sql, environment=environment, text=True)
    assert done.returncode == 0, done.stderr
    wanted = sorted((_plain(row.values()) for row in json.loads(done.stdout)), key=repr)
    found = sorted(map(_plain, server.ask(f"{WITH[0]} {theirs}")), key=repr)
    assert found == wanted
    assert len(wanted) >= 3


def _plain(row):
    """Give a row with what stands as JSON in a text as that says: so `fleet query` shows it."""
    return tuple(
        json.loads(each) if isinstance(each, str) and each[:1] == "[" else each for each in row
    )


def test_with_the_settings_as_they_are_shown_it_takes_keys_from_its_environment(asked):
    """Who pastes them writes no key into a file."""
    (rows,) = asked[0].ask("SELECT count(*) FROM lake.auditsvc.events")
    assert asked[0].ask("SELECT count(*) FROM shown.auditsvc.events") == [rows]


def test_the_question_of_the_page(asked):
    """And other engines' way to write is not shown as Trino's."""
    server, _ = asked
    end = PAGE.index("    -- Trino")
    text = PAGE[PAGE.rindex("SELECT host, path", 0, end) : end]
    assert server.ask(text.replace("2026-11-28", "2020-01-01"))
    assert server.ask(text.replace("2026-11-28", "2200-01-01")) == []


def test_it_was_tried_with_the_version_of_the_page(asked):
    """Or the page is to say another."""
    assert f"Trino {asked[0].version()}" in PAGE
