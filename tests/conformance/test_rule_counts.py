"""What the report counts, against counts made by hand, in both databases."""

from __future__ import annotations

import platform
import re
import time

import pytest
from fixtures.logs import SECOND, call, load, path, record, rows

from auditsvc.compliance import counts
from auditsvc.compliance.counts import Wanted, count
from auditsvc.compliance.model import Seen
from auditsvc.errors import StoreError
from auditsvc.rule import parse
from auditsvc.store.read.questions import calls_made
from auditsvc.store.read.sql import run_query

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the rules are x86_64's")

OPENAT, CHMOD, EXECVE, UNLINK, GETPPID = 257, 90, 59, 87, 110
I386 = {"arch": "40000003"}


def of(text: str, **ids: object) -> str:
    """Give lines with other ids: auid, euid ..."""
    for name, value in ids.items():
        text = re.sub(rf"\b{name}=\d+", f"{name}={value}", text)
    return text


def named(serial: int, name: str, cwd: str = "/root", **options: object) -> str:
    """Give a call that named a file, from a folder."""
    lines = call(serial, **options) + record("CWD", serial, f'cwd="{cwd}"')
    return lines + path(serial, name) + record("PROCTITLE", serial, "proctitle=61")


LOG = "".join(
    [
        # Opened for reading, for writing, for both; by a name in the working folder.
        named(1, "/etc/shadow", nr=OPENAT, a2="80000", key="(null)"),
        named(2, "/etc/shadow", nr=OPENAT, a2="80001", key="(null)"),
        named(3, "/etc/shadow", nr=OPENAT, a2="80002", key="(null)"),
        named(4, "shadow", cwd="/etc", nr=OPENAT, a2="80001", key="(null)"),
        named(5, "/etc/shadow-", nr=OPENAT, a2="80001", key="(null)"),
        named(6, "/etc/shadow", nr=CHMOD, key="(null)"),
        named(7, "/etc/shadow", nr=GETPPID, key="(null)"),
        # Below a folder, the folder, beside it, and relative to what is below it.
        named(11, "/etc/sudoers.d/one", nr=UNLINK, key="(null)"),
        named(12, "/etc/sudoers.d", nr=CHMOD, key="(null)"),
        named(13, "/etc/sudoers.days", nr=UNLINK, key="(null)"),
        named(14, "two", cwd="/etc/sudoers.d/deep", nr=UNLINK, key="(null)"),
        named(15, "/tmp/three", cwd="/etc/sudoers.d", nr=UNLINK, key="(null)"),
        # Refused, by whom, and as which machine.
        of(call(21, nr=OPENAT, success="no", exit="-13", key="(null)"), auid=1000),
        of(call(22, nr=OPENAT, success="no", exit="-13", key="(null)"), auid=999),
        call(23, nr=OPENAT, success="no", exit="-13", key="(null)"),
        of(call(24, nr=OPENAT, success="no", exit="-1", key="(null)"), auid=1000),
        of(call(25, nr=5, success="no", exit="-13", key="(null)", **I386), auid=1000),
        of(call(26, nr=OPENAT, key="(null)"), auid=1000),
        # Run with the rights of another.
        of(call(31, nr=EXECVE, uid=1000, key="(null)", exe='"/usr/bin/su"'), euid=0),
        of(call(32, nr=EXECVE, uid=0, key="(null)", exe='"/usr/bin/id"'), euid=0),
        # Under keys; the last of the first is of another day.
        call(41, nr=GETPPID, key='"one"'),
        call(42, nr=GETPPID, key='"two"'),
        call(43, nr=GETPPID, key="6F6E650174776F"),  # one\x01two
        call(44, nr=GETPPID, key='"one"', second=SECOND - 86400),
        call(45, nr=GETPPID, key='"old"', second=SECOND - 86400),
        call(46, nr=GETPPID, key='"one"', node="node=other "),
        # Numbers that no rule has: none, of x32, the highest.
        *(call(51 + n, nr=nr, key="(null)") for n, nr in enumerate((-1, 1 << 30, (1 << 31) - 1))),
    ]
)


@pytest.fixture(scope="module")
def filled(common_url):
    """Give a store with the log."""
    load(common_url, LOG, host="box")
    return common_url


def rule(text: str):
    """Parse one rule."""
    return parse(text)[0].command.rule


def seen(url: str, *texts: str, keys: tuple[str, ...] = ()) -> Seen:
    """Count what rules are for."""
    (found,) = count(url, "box", SECOND, [Wanted(keys, tuple(rule(text) for text in texts))])
    return found


WATCH = "-a always,exit -F path=/etc/shadow -F perm={}"
FOLDER = "-a always,exit -F dir=/etc/sudoers.d -F perm={}"
USER = "-F auid>=1000 -F auid!=unset"


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (WATCH.format("w"), 3),  # 2 3 4
        (WATCH.format("r"), 2),  # 1 3
        (WATCH.format("rw"), 4),  # 1 2 3 4
        (WATCH.format("a"), 1),  # 6
        (WATCH.format("wa"), 4),  # 2 3 4 6
        (WATCH.format("x"), 0),
        (FOLDER.format("w"), 2),  # 11 14
        (FOLDER.format("wa"), 3),  # 11 12 14
        ("-a always,exit -F arch=b64 -S openat -F exit=-EACCES", 3),  # 21 22 23
        (f"-a always,exit -F arch=b64 -S openat -F exit=-EACCES {USER}", 1),  # 21
        ("-a always,exit -F arch=b64 -S openat -F exit=-EACCES -F auid>=1000", 2),  # 21 23
        ("-a always,exit -F arch=b64 -S openat -F exit=-EACCES -F auid=unset", 1),  # 23
        ("-a always,exit -F arch=b32 -S open -F exit=-EACCES", 1),  # 25
        ("-a always,exit -F arch=b64 -S openat -F exit!=-EACCES", 7),  # 1-5 24 26
        ("-a always,exit -F arch=b64 -S openat -F exit<0xf0000000", 6),  # 1-5 26
        (f"-a always,exit -F arch=b64 -S openat -F success=0 {USER}", 2),  # 21 24
        ("-a always,exit -F arch=b64 -S openat -F a2&1", 3),  # 2 4 5
        ("-a always,exit -F arch=b64 -S openat -F a2=0x80002", 1),  # 3
        ("-a always,exit -F arch=b64 -S openat -F a2&=0x80001", 3),  # 2 4 5
        ("-a always,exit -F arch=b64 -S execve -C uid!=euid", 1),  # 31
        ("-a always,exit -F arch=b64 -S execve -C uid=euid", 1),  # 32
        ("-a always,exit -F arch=b64 -S execve -F exe=/usr/bin/su", 1),  # 31
        ("-a always,exit -F arch=b64 -S execve -F exe!=/usr/bin/su", 1),  # 32
        ("-a always,exit -F arch=b32 -S all", 1),  # 25
    ],
)
def test_by_calls(filled, text, events):
    """A rule's calls are those that the kernel would have logged for it."""
    found = seen(filled, text)
    assert (found.count, found.by, found.uncounted) == (events, "calls", 0)
    assert found.last == (SECOND if events else None)


def test_every_call_is_every_row(filled):
    """The unconditional rule counts what the view has of this host and time."""
    (row,) = rows(
        filled,
        f"SELECT count(*) AS n FROM syscalls WHERE host = 'box' AND event_id >> 30 >= {SECOND}",
    )
    assert seen(filled, "-a always,exit -S all").count == row["n"] == 26


def test_an_event_counts_once(filled):
    """What two rules of a control, or a rule and the key, are for is one event."""
    both = (WATCH.format("w"), WATCH.format("rw"))
    assert seen(filled, *both).count == 4
    assert seen(filled, "-a always,exit -F arch=b64 -S getppid").count == 4  # 7 41 42 43
    assert seen(filled, "-a always,exit -F arch=b64 -S getppid", keys=("one",)).count == 4
    assert seen(filled, "-a always,exit -F arch=b64 -S unlink", keys=("one",)).count == 5


def test_by_key(filled):
    """Keys are counted as the records have them: of this host, in this time, joined or alone."""
    wanted = [Wanted(("one",)), Wanted(("one,two",)), Wanted(("one", "two")), Wanted(("none",))]
    assert count(filled, "box", SECOND, wanted) == [
        Seen(1, SECOND),
        Seen(1, SECOND),
        Seen(2, SECOND),
        Seen(0, None),
    ]
    assert count(filled, "other", SECOND, wanted[:1]) == [Seen(1, SECOND)]
    assert count(filled, "box", SECOND - 86400, wanted[:1]) == [Seen(2, SECOND)]


def test_last_seen_before(filled):
    """A key without events in the time asked about tells when it last had one."""
    assert count(filled, "box", SECOND, [Wanted(("old",))]) == [Seen(0, SECOND - 86400)]


def test_hostile_keys_and_paths(filled):
    """What a rule file holds is text to the database, never SQL."""
    evil = "x'; DROP TABLE syscall; --"
    found = seen(filled, f"-a always,exit -F dir=/{evil.replace(' ', '_')} -F perm=w", keys=(evil,))
    assert found.count == 0
    assert count(filled, evil, SECOND, [Wanted((evil, "%s", "\\"))]) == [Seen(0, None)]
    assert seen(filled, "-a always,exit -S all").count == 26


def test_what_rows_do_not_tell(filled):
    """A rule with an inode is reported as not counted; the others are counted."""
    found = seen(filled, "-a always,exit -F inode=7 -S openat", WATCH.format("a"))
    assert (found.count, found.uncounted) == (1, 1)


def test_no_store(tmp_path):
    """A store that is not there is one line."""
    with pytest.raises(StoreError):
        count(f"sqlite:///{tmp_path}/none.db", "box", 0, [Wanted(("one",))])


def plan(url, monkeypatch, text):
    """Give how the database finds the events of a rule."""
    asked = []

    def keep(_url, selects):
        asked.extend(selects)
        return 0, None

    monkeypatch.setattr(counts, "count_of_union", keep)
    seen(url, text)
    how = "EXPLAIN QUERY PLAN" if url.startswith("sqlite") else "EXPLAIN"
    found = []
    for each in asked:
        with run_query(url, f"{how} {each}") as result:
            found.append(" ".join(str(row[-1]) for row in result))
    return found


@pytest.mark.each_database
def test_what_is_below_a_folder_is_found_by_its_names(filled, monkeypatch):
    """Not among all calls: neither database knows how few such names there are."""
    below, *_ = plan(filled, monkeypatch, FOLDER.format("a") + " -k x")
    assert "text_head" in below or "Nested Loop" in below
    assert "SCAN s" not in below
    assert "Seq Scan on syscall" not in below
    # On PostgreSQL days before the time are no part of it.
    assert f"path_{time.strftime('%Y%m%d', time.gmtime(SECOND - 86400))}" not in below
    assert (
        filled.startswith("sqlite")
        or f"path_{time.strftime('%Y%m%d', time.gmtime(SECOND))}" in below
    )


@pytest.mark.each_database
def test_numbers_that_no_rule_has_are_left_out(filled):
    """As bits, one of them took 256 MiB, and -1 was an error."""
    made = calls_made(filled, 0)
    assert made
    assert max(made.values()).bit_length() == OPENAT + 1


@pytest.mark.each_database
def test_calls_that_nobody_made_are_not_looked_for(filled, monkeypatch):
    """What was called is counted by the hour already."""
    (made,) = plan(filled, monkeypatch, "-a always,exit -F arch=b64 -S unlink -k x")
    (none,) = plan(filled, monkeypatch, "-a always,exit -F arch=b64 -S swapon -k x")
    assert "syscall" in made or " s " in made
    assert "syscall" not in none
    assert " s " not in none
