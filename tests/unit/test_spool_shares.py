"""Short room in the spool: which records are still written, and how the others are counted."""

from __future__ import annotations

import re

import pytest
from fixtures.logs import call, end, login, opening, proctitle, record
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.record.daemon import DaemonRecords
from auditsvc.spool.shares import INTERVAL, Shares

ATTACKER, OTHER = 1000, 1001
EXECVE, EXECVE_32, EXECVE_X32 = 59, 11, 0x40000000 | 520
_SERIAL = re.compile(rb"audit\([0-9.]+:([0-9]+)\)")


def choose(shares, text):
    """Give the serials of the lines that are kept, in their order."""
    lines, count = shares.choose(text.encode())
    serials = [int(serial) for serial in _SERIAL.findall(lines)]
    assert len(serials) == count == lines.count(b"\n")
    return serials


def flood(shares, auid=ATTACKER, *, first=1000, **options):
    """Put one user's events until one is dropped; gives how many were kept, and the bytes."""
    kept = size = 0
    while True:
        event = opening(first + kept, auid=auid, **options)
        if not choose(shares, event):
            return kept, size
        kept += 1
        size += len(event)


def execution(serial, auid, **options):
    """Give the event of an exec, with its records in the kernel's order."""
    return (
        call(serial, auid=auid, **({"nr": EXECVE} | options))
        + record("EXECVE", serial, 'argc=1 a0="sh"')
        + record("CWD", serial, 'cwd="/"')
        + proctitle(serial)
        + end(serial)
    )


IMPORTANT = {
    "login uid": record("LOGIN", 7, "pid=1 uid=0 old-auid=4294967295 auid=1000 ses=3 res=1"),
    "login": login(7),
    "authentication": record("USER_AUTH", 7, "pid=1 uid=0 auid=1000 ses=3 msg='op=PAM'"),
    "new user": record("ADD_USER", 7, "pid=1 uid=0 auid=1000 ses=3 msg='op=add'"),
    "sudo": record("USER_CMD", 7, "pid=1 uid=0 auid=1000 ses=3 msg='cmd=6C73'"),
    "exec": execution(7, ATTACKER),
    "exec that failed": call(7, nr=EXECVE, auid=ATTACKER, success="no") + proctitle(7),
    "execveat": execution(7, ATTACKER, nr=322),
    "exec of 32 bits": execution(7, ATTACKER, arch="40000003", nr=EXECVE_32),
    "exec of x32": execution(7, ATTACKER, nr=EXECVE_X32),
    "exec on arm": execution(7, ATTACKER, arch="c00000b7", nr=221),
    "exec of an unknown machine": execution(7, ATTACKER, arch="deadbeef", nr=1),
    "changed rules": record("CONFIG_CHANGE", 7, "auid=1000 ses=3 op=remove_rule key=x list=4 res=1")
    + call(7, nr=44, auid=ATTACKER)
    + proctitle(7),
    "SELinux": record("MAC_STATUS", 7, "enforcing=0 old_enforcing=1 auid=1000 ses=1"),
}


@pytest.mark.parametrize("text", IMPORTANT.values(), ids=IMPORTANT)
def test_important_events_have_the_reserve(text):
    """A user whose ordinary records have no room left gets these written still, whole."""
    shares = Shares(100_000, 0.0)
    flood(shares)
    assert choose(shares, text) == [7] * text.count("\n")


ORDINARY = {
    "call": opening(7, auid=ATTACKER),
    "number of an exec elsewhere": call(7, arch="40000003", nr=EXECVE, auid=ATTACKER),
    "words of an exec in a name": opening(7, name="x_syscall=59_type=EXECVE", auid=ATTACKER),
    "refusal by SELinux": record("AVC", 7, "avc: denied { read } for pid=7 comm=x auid=1000"),
    "keys typed": record("USER_TTY", 7, "pid=1 uid=0 auid=1000 ses=3 data=6C73"),
}


@pytest.mark.parametrize("text", ORDINARY.values(), ids=ORDINARY)
def test_other_events_have_not(text):
    """They are dropped as a whole, with the same share spent."""
    shares = Shares(100_000, 0.0)
    flood(shares)
    flood(shares, 4294967295)  # records that name no login user
    assert choose(shares, text) == []


def test_own_records_are_written_always():
    """Also when users have spent all that they may."""
    shares = Shares(10_000, 0.0)
    flood(shares)
    flood(shares, nr=EXECVE)
    for _ in range(50):
        line = DaemonRecords().lost(kernel=3)
        assert shares.choose(line) == (line, 1)


@pytest.mark.parametrize("options", [{}, {"nr": EXECVE}], ids=["calls", "execs"])
def test_a_flood_takes_no_more_than_half(options):
    """Who floods gets half of what all may have, and each who comes later half of the rest."""
    left = 1_000_000
    shares = Shares(left, 0.0)
    halves = left if options else left / 2  # important ones have the other half too
    _, size = flood(shares, **options)
    assert 0.4 * halves < size <= 0.5 * halves
    before = size
    for auid in range(2000, 2006):
        _, size = flood(shares, auid, **options)
        assert 0.4 * before < size
        before = size


def test_a_login_beside_a_flood_of_logins():
    """A user (or a container's root) who sends messages without end leaves others their room."""
    shares = Shares(100_000, 0.0)
    while choose(shares, record("USER_LOGIN", 3, f"pid=1 uid=0 auid={ATTACKER} ses=3 msg='x'")):
        pass
    assert choose(shares, record("USER_LOGIN", 4, f"pid=1 uid=0 auid={OTHER} ses=4 msg='x'")) == [4]


def test_the_auid_is_the_kernels_not_the_texts():
    """A message that names another auid is counted for its sender."""
    shares = Shares(100_000, 0.0)
    text = f"pid=1 uid=0 auid={ATTACKER} ses=3 msg='op=x auid={OTHER} '"
    while choose(shares, record("USER_LOGIN", 3, text)):
        pass
    assert shares.flood(1.0).auid == ATTACKER
    assert choose(shares, login(4).replace("auid=1000", f"auid={OTHER}")) == [4]


def test_mixed_events_stay_whole():
    """Records of two processors come one between the other: each event is there or not at all."""
    shares = Shares(100_000, 0.0)
    flood(shares)
    dropped, kept = opening(1, auid=ATTACKER).splitlines(), opening(2, auid=OTHER).splitlines()
    text = "".join(f"{one}\n{other}\n" for one, other in zip(dropped, kept, strict=True))
    assert choose(shares, text) == [2] * len(kept)


@pytest.mark.parametrize("text", [execution(7, ATTACKER), opening(7, auid=OTHER)])
def test_an_event_over_two_batches(text):
    """Its later records follow the first, wherever it is cut; also if it is dropped."""
    lines = text.splitlines(keepends=True)
    for cut in range(1, len(lines)):
        shares = Shares(100_000, 0.0)
        flood(shares)
        kept = choose(shares, "".join(lines[:cut])) + choose(shares, "".join(lines[cut:]))
        assert kept == [7] * len(lines)
        flood(shares, OTHER)
        line = opening(9, auid=OTHER).splitlines(keepends=True)
        assert choose(shares, "".join(line[:cut])) == []
        assert choose(shares, "".join(line[cut:])) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from([ATTACKER, OTHER, 4294967295]),
            st.sampled_from(["call", "exec", "login", "own", "other"]),
            st.integers(0, 3000),
        ),
        max_size=60,
    ),
    st.integers(0, 60),
    st.integers(0, 30_000),
)
def test_no_more_is_kept_than_there_is(events, cut, left):
    """Any events in any batches: what is kept has room, lines keep their order, none is made."""
    shares, daemon = Shares(left, 0.0), DaemonRecords()
    texts = []
    own = 0
    for serial, (auid, kind, size) in enumerate(events):
        text = {
            "call": opening(serial, name="x" * size, auid=auid),
            "exec": execution(serial, auid),
            "login": record("USER_AUTH", serial, f"pid=1 auid={auid} ses=1 msg='{'x' * size}'"),
            "own": daemon.lost(spool=1).decode(),
            "other": f"no record {serial}\n",
        }[kind]
        own += len(text) * (kind == "own")
        texts.append(text)
    kept = b""
    for batch in ("".join(texts[:cut]), "".join(texts[cut:])):
        lines, count = shares.choose(batch.encode())
        assert count == lines.count(b"\n")
        kept += lines
    everything = iter("".join(texts).encode().splitlines())
    assert all(line in everything for line in kept.splitlines())  # a subsequence
    assert len(kept) - own <= left


def test_who_floods_is_told():
    """The user with most records of the last interval, with a program of his."""
    shares = Shares(1_000_000, 100.0)
    for n in range(20):
        choose(shares, opening(n, auid=ATTACKER, exe="2F746D702F6120DDFF", pid=n))
    choose(shares, opening(99, auid=OTHER))
    found = shares.flood(104.0)
    assert (found.auid, found.records, found.of) == (ATTACKER, 80, 84)
    assert str(found) == r"auid 1000, /tmp/a \xDD\xFF: 80 of 84 records in 4 s"
    shares.flood(100.0 + INTERVAL)  # ends the interval
    for n in range(3):
        choose(shares, opening(n, auid=OTHER))
    assert shares.flood(101.0 + INTERVAL).auid == ATTACKER
    assert shares.flood(101.0 + 2 * INTERVAL).auid == OTHER


def test_own_records_are_no_flood():
    """Of the service's own records nobody is told."""
    shares = Shares(1_000_000, 0.0)
    shares.choose(DaemonRecords().lost(spool=1))
    assert shares.flood(1.0) is None
