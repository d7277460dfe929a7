"""The views over all hosts: three hosts, and what is known to have happened on them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fixtures.fleet_rows import InMemory, batch_row, wide_rows
from fixtures.logs import call, end, load, record
from fixtures.stores import new_store

from auditsvc.fleet import across, batches, views

PAGE = (Path(__file__).parents[2] / "docs/fleet.md").read_text()
SECOND = 1_795_132_800
"""2026-11-20 00:00 UTC."""
ADDRESSES = {"alpha": "192.0.2.1", "beta": "192.0.2.2", "gamma": "192.0.2.3"}
STORES = {host: f"{n}" * 32 for n, host in enumerate(ADDRESSES, 1)}


class Log:
    """What happened on one host."""

    def __init__(self):
        self.text, self.serial = "", 0

    def login(self, at, ses, source, auid=1000):
        """Add a session that sshd opened, from a host name or an address."""
        self.serial += 2
        second, pid = SECOND + at, 700 + ses
        self.text += record(
            "LOGIN",
            self.serial,
            f"pid={pid} uid=0 old-auid=4294967295 auid={auid} tty=(none) old-ses=4294967295"
            f" ses={ses} res=1",
            second=second,
        )
        self.text += record(
            "USER_LOGIN",
            self.serial + 1,
            f"pid={pid} uid=0 auid={auid} ses={ses} msg='op=login id={auid}"
            f' exe="/usr/sbin/sshd" hostname={source} addr={source} terminal=ssh res=success\'',
            second=second,
        )
        return self

    def ssh(self, at, ses, address, auid=1000, ms=123):
        """Add a connect of ssh to port 22 of an address."""
        self.serial += 2
        octets = "".join(f"{int(part):02X}" for part in address.split("."))
        when = {"second": SECOND + at, "ms": ms}
        self.text += call(
            self.serial, nr=42, auid=auid, ses=ses, exe='"/usr/bin/ssh"', comm='"ssh"', **when
        )
        saddr = f"saddr=02000016{octets}0000000000000000"
        self.text += record("SOCKADDR", self.serial, saddr, **when) + end(self.serial, **when)
        return self

    def run(self, at, exe, *argv):
        """Add an exec."""
        self.serial += 2
        when = {"second": SECOND + at}
        words = " ".join(f'a{n}="{word}"' for n, word in enumerate(argv))
        self.text += call(self.serial, nr=59, exe=f'"{exe}"', **when)
        self.text += record("EXECVE", self.serial, f"argc={len(argv)} {words}", **when)
        self.text += end(self.serial, **when)
        return self

    def message(self, at, kind, body):
        """Add an event of one record."""
        self.serial += 2
        self.text += record(kind, self.serial, body, second=SECOND + at)
        return self


def fleet_of(folder, logs, addresses=ADDRESSES):
    """Give the table with the rows of these logs; and of each host a batch with its addresses."""
    made = []
    for host, log in logs.items():
        if not log.text:
            continue
        new_store(folder / f"{host}.db")
        url = f"sqlite:///{folder}/{host}.db"
        load(url, log.text, kind="spool", host=host)
        made += wide_rows(url, host, STORES[host])
        known = [addresses[host]] if host in addresses else []
        made.append(batch_row(host, STORES[host], 1, SECOND, addresses=known))
    return InMemory(made)


def hosts():
    """Give a log for each host."""
    return {host: Log() for host in ADDRESSES}


def test_the_way_of_a_login_from_host_to_host(tmp_path):
    """Ann goes from alpha over beta to gamma; others connect at the same time."""
    logs = hosts()
    logs["alpha"].login(0, 5, "198.51.100.7").ssh(10, 5, ADDRESSES["beta"])
    logs["beta"].login(12, 7, ADDRESSES["alpha"]).ssh(60, 7, ADDRESSES["gamma"])
    logs["gamma"].login(61, 9, ADDRESSES["beta"])
    logs["gamma"].ssh(11, 3, "203.0.113.9")  # to none of the hosts
    logs["alpha"].ssh(59, 6, ADDRESSES["beta"], auid=2000)  # at the time of the second
    fleet = fleet_of(tmp_path, logs)
    columns = "host, ses, from_host, from_ses, source, address, known_by, candidates"
    assert [
        tuple(row.values()) for row in fleet.ask(f"SELECT {columns} FROM hops ORDER BY time")
    ] == [
        ("beta", 7, "alpha", 5, "192.0.2.1", "192.0.2.2", "addresses", 1),
        ("gamma", 9, "beta", 7, "192.0.2.2", "192.0.2.3", "addresses", 1),
    ]
    ways = fleet.ask("SELECT first_host, first_ses, host, ses, hops, way FROM ways ORDER BY hops")
    assert [tuple(row.values()) for row in ways] == [
        ("alpha", 5, "beta", 7, 1, "alpha > beta"),
        ("alpha", 5, "gamma", 9, 2, "alpha > beta > gamma"),
    ]


@pytest.mark.parametrize(
    ("addresses", "source", "known_by"),
    [
        (ADDRESSES, "192.0.2.1", "addresses"),
        ({"beta": "192.0.2.2"}, "192.0.2.1", "its address"),
        ({}, "alpha.example", "the source"),
        ({}, "192.0.2.1", "time"),
    ],
)
def test_a_hop_says_how_it_is_known(tmp_path, addresses, source, known_by):
    """By the addresses of both hosts, of one, by the name of the source, or by time alone."""
    logs = hosts()
    logs["alpha"].ssh(10, 5, ADDRESSES["beta"])
    logs["beta"].login(12, 7, source)
    fleet = fleet_of(tmp_path, logs, addresses)
    found = fleet.ask("SELECT from_host, known_by, candidates FROM hops")
    assert [tuple(row.values()) for row in found] == [("alpha", known_by, 1)]


def test_a_login_without_a_connection_before_it_is_no_hop(tmp_path):
    """Nor one whose connection came later, went to another host, or was long ago."""
    logs = hosts()
    logs["alpha"].ssh(13, 5, ADDRESSES["beta"]).ssh(11, 5, ADDRESSES["gamma"])
    logs["gamma"].ssh(12 - 121, 5, ADDRESSES["beta"])
    logs["beta"].login(12, 7, ADDRESSES["alpha"])
    assert fleet_of(tmp_path, logs).ask("SELECT * FROM hops") == []


@pytest.mark.parametrize("skew", [0, -30, 45])
def test_a_clock_that_is_behind_or_ahead_shows_by_logins(tmp_path, skew):
    """A login comes just after its connection; sshd's own addresses come from its log too."""
    logs = hosts()
    laddr = "op=start rport=4711 laddr=192.0.2.2 lport=22 addr=192.0.2.1 res=success"
    logs["beta"].message(0, "CRYPTO_SESSION", f"pid=1 uid=0 auid=1 ses=1 msg='{laddr}'")
    logs["alpha"].ssh(100, 5, ADDRESSES["beta"]).ssh(900, 5, ADDRESSES["beta"], ms=523)
    logs["beta"].login(104 + skew, 7, ADDRESSES["alpha"]).login(901 + skew, 8, ADDRESSES["alpha"])
    fleet = fleet_of(tmp_path, logs, {"alpha": ADDRESSES["alpha"]})
    assert fleet.ask("SELECT known_by FROM host_addresses WHERE host = 'beta'") == [
        {"known_by": "log"}
    ]
    (row,) = fleet.ask("SELECT * FROM clock_skew")
    assert (row["host"], row["other_host"], row["logins"]) == ("beta", "alpha", 2)
    assert row["least_seconds"] == pytest.approx(skew + 0.6)
    assert row["median_seconds"] == pytest.approx(skew + 2.3)


def test_what_is_new_in_the_fleet(tmp_path):
    """A program, its arguments, an address, a file's hash: where first, and on how many hosts."""
    logs = hosts()
    for n, host in enumerate(("gamma", "alpha", "beta")):
        logs[host].run(10 * n, "/usr/bin/id", "id").run(10 * n, "/usr/bin/id", "id")
    logs["beta"].run(50, "/tmp/x", "x", "-v")
    logs["beta"].ssh(51, 5, "203.0.113.9")
    logs["alpha"].ssh(40, 5, "203.0.113.9")
    for host in ("alpha", "gamma"):
        said = 'file="/tmp/x" hash="sha256:ab" ppid=1 pid=2 auid=0 uid=0 ses=1 comm="x"'
        logs[host].message(5, "INTEGRITY_RULE", said)
    fleet = fleet_of(tmp_path, logs)

    def seen(view, shown):
        columns = f"{shown}, first_host, first_time, hosts, times"
        return [tuple(r.values()) for r in fleet.ask(f"SELECT {columns} FROM {view} ORDER BY 1, 2")]

    assert seen("programs", "exe") == [
        ("/tmp/x", "beta", "2026-11-20 00:00:50.123", 1, 1),
        ("/usr/bin/id", "gamma", "2026-11-20 00:00:00.123", 3, 6),
        ("/usr/bin/ssh", "alpha", "2026-11-20 00:00:40.123", 2, 2),
    ]
    assert [(json.loads(row[0]), *row[1:]) for row in seen("arguments", "argv")] == [
        (["id"], "gamma", "2026-11-20 00:00:00.123", 3, 6),
        (["x", "-v"], "beta", "2026-11-20 00:00:50.123", 1, 1),
    ]
    assert seen("addresses", "address, port") == [
        ("203.0.113.9", 22, "alpha", "2026-11-20 00:00:40.123", 2, 2)
    ]
    assert seen("hashes", "hash, file") == [
        ("sha256:ab", "/tmp/x", "alpha", "2026-11-20 00:00:05.123", 2, 2)
    ]
    new = "SELECT exe FROM programs WHERE first_time >= '2026-11-20 00:00:30' AND hosts = 1"
    assert fleet.ask(new) == [{"exe": "/tmp/x"}]


def test_each_host_in_one_row(tmp_path):
    """What it has, since when, its coverage and its changes of rules."""
    logs = hosts()
    alpha = logs["alpha"].run(0, "/usr/bin/id", "id")
    alpha.message(1, "CONFIG_CHANGE", 'auid=0 ses=1 op=add_rule key="k" list=4 res=1')
    for state, at in (("not covered", 2), ("covered", 3)):
        began = f"op=coverage began={SECOND}.5 comm=x exe=/x threads=1 covered=1 res=success"
        alpha.message(at, "DAEMON_CONFIG", f'{began} state="{state}" reason=r pid=9 auid=0 ses=1')
    logs["beta"].run(7, "/usr/bin/id", "id")
    fleet = fleet_of(tmp_path, logs)
    shown = "host, calls, others, covered, not_covered, rule_changes, last_time"
    assert [tuple(r.values()) for r in fleet.ask(f"SELECT {shown} FROM hosts ORDER BY host")] == [
        ("alpha", 1, 3, 1, 0, 1, "2026-11-20 00:00:03.123"),
        ("beta", 1, 0, None, None, None, "2026-11-20 00:00:07.123"),
    ]


def test_batches_and_ledgers_of_all_hosts():
    """What each host said of its batches, and its newest counts."""
    old = batch_row("a", "1" * 32, 1, SECOND, events=5, ledger={"log": {"stored": 9}}, head="x")
    new = batch_row(
        "a", "1" * 32, 2, SECOND + 9, events=7, ledger={"log": {"stored": 12, "raw": 1}}
    )
    fleet = InMemory([old, new, batch_row("b", "2" * 32, 1, SECOND, ledger={})])
    assert fleet.ask("SELECT host, n, events, made, head FROM batches ORDER BY host, n") == [
        {"host": "a", "n": 1, "events": 5, "made": "2026-11-20 00:00:00.000", "head": "x"},
        {"host": "a", "n": 2, "events": 7, "made": "2026-11-20 00:00:09.000", "head": None},
        {"host": "b", "n": 1, "events": None, "made": "2026-11-20 00:00:00.000", "head": None},
    ]
    assert fleet.ask("SELECT host, source, cause, count FROM ledger ORDER BY cause") == [
        {"host": "a", "source": "log", "cause": "raw", "count": 1},
        {"host": "a", "source": "log", "cause": "stored", "count": 12},
    ]


def test_the_page_names_the_views_and_their_columns_and_its_queries_run(tmp_path):
    """docs/fleet.md: its table of views, its list of the store's views, and each query of it."""
    shown = re.findall(r"^\| `([a-z_]+)` \| [^|]* \| ([^|]*) \|$", PAGE, re.MULTILINE)
    listed = {view: re.findall(r"[a-z][a-z_]*", words) for view, words in shown}
    assert listed.keys() == across.COLUMNS.keys() | batches.COLUMNS.keys()
    for view, words in listed.items():
        wanted = set({**across.COLUMNS, **batches.COLUMNS}[view])
        if "same" in words:
            wanted -= set(listed["programs"])
        assert wanted <= set(words), view
    (named,) = re.findall(r"The views are ([a-z_, ]+), with the columns", PAGE)
    assert set(re.findall(r"[a-z_]{3,}", named)) - {"and"} == set(views.VIEWS)
    logs = hosts()
    logs["alpha"].run(0, "/usr/bin/id", "id")
    fleet = fleet_of(tmp_path, logs)
    parts = re.findall(r"```sql\n(.*?)\n```", PAGE, re.DOTALL)
    ours = [part for part in parts if "lake.auditsvc" not in part]  # those are Spark's and Trino's
    queries = [each for part in ours for each in part.splitlines()]
    assert len(queries) == 6
    for sql in queries:
        fleet.ask(sql)
