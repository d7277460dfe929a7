"""`auditsvc search` finds what the real ausearch finds in the same log, by every option.

Where the two differ, the event and the reason stand in DIFFERENCES, and each must be met.
"""

from __future__ import annotations

import csv
import io
import time
from functools import cache
from pathlib import Path

import pytest
from fixtures import ausearch, peers, searching
from fixtures.logs import call, end, load, opening, record

from auditsvc.search.criteria import Criteria
from auditsvc.search.lines import identity
from auditsvc.search.select import found_events

pytestmark = pytest.mark.each_database

DATA = Path(__file__).parent.parent / "data"
LOGS = [path for path in sorted(DATA.glob("records/*.log")) if path.stem != "raw"]

URING = "ausearch 3.0.9 knows no URINGOP, and 4.0.2 drops it where an auid is asked for"
SECCOMP = "of SECCOMP and ANOM_ABEND ausearch takes the auid for the uid (-ui)"
PLANTED = "ausearch finds `exe=` inside another field's value, ours are the record's fields"
DROPPED = "ausearch drops an event of which it cannot read one record"
UNREAD = "ausearch reads no fields of this type of record"
SPLIT = "ausearch 3.0.9 makes two events of LOGIN and SYSCALL with one serial"
LATER = "of a call, ausearch takes what a TTY record behind it says"
MERGED = "two calls with one identity are one event for ausearch, and its call the last"
BIG_ENDIAN = "ausearch reads an address of a big-endian machine as this machine's"
NO_NUMBER = "ausearch takes uid=root for 0"
DAEMON = "ausearch looks for a user's name in no DAEMON_* record"

RECORDED = 1795432678
"""The second of the recorded log."""

DIFFERENCES = {
    36188: URING,
    36189: URING,
    175: URING,
    176: URING,
    177: URING,
    36144: SECCOMP,
    36146: SECCOMP,
    36183: PLANTED,
    111: DROPPED,
    112: DROPPED,
    152: DROPPED,
    157: DROPPED,
    201: DROPPED,
    5002: UNREAD,
    5003: UNREAD,
    163: UNREAD,
    154: SPLIT,
    172: LATER,
    198: MERGED,
    139: BIG_ENDIAN,
    113: NO_NUMBER,
    5001: DAEMON,
}
"""By the serial of the event."""
OF_ONE_RELEASE = {154: 3, 36188: 4}
"""Those that are not met with both releases of ausearch, 3.0.9 and 4.0.2, and with which."""

CASES = [
    "-a 35633",
    "--event 190",
    "--arch b64",
    "--arch b32",
    "--arch i686",
    "--arch aarch64",
    "-c cat",
    "-c cat -w",
    "--comm prog",
    "-e 3",
    "-e 0x3",
    "-e -13",
    "-e -EACCES",
    "--exit 0",
    "-f /etc",
    "-f /etc/hostname -w",
    "--file /tmp",
    "-f ümlaut",
    "-f ./",
    "-f ../",
    "-f /tmp/",
    "-f /./",
    "-f link -c ln",
    "-ga 0",
    "--gid-all 1000",
    "-ge 0",
    "--gid-effective 1000",
    "-gi root",
    "--gid 4242",
    "-hn 192.0.2",
    "-hn host.example -w",
    "--host ?",
    "-hn 2001",
    "-k files",
    "-k files -w",
    "-k file -w",
    "--key a",
    "-k one",
    "-k (null)",
    "-k (null) -w",
    "-m SYSCALL",
    "-m PATH",
    "-m avc",
    "-m USER_LOGIN,LOGIN",
    "-m 1300",
    "-m ALL",
    "--message EXECVE",
    "-m CWD",
    "-m PROCTITLE",
    "-m SOCKADDR",
    "-m CONFIG_CHANGE -m MMAP",
    "-m BPRM_FCAPS",
    "-m OBJ_PID,IPC,FD_PAIR",
    "-m SECCOMP -m ANOM_ABEND",
    "-m KERNEL,USER,DAEMON_START",
    "-n one.example",
    "--node one.example -n two.example",
    "-o tmp_t",
    "-o d:e",
    "--object a:b",
    "-su unconfined",
    "-su unconfined -w",
    "--subject system_u",
    "-se unconfined",
    "--context system_u",
    "-p 901",
    "--pid 14805",
    "-pp 900",
    "--ppid 14805",
    "-sc openat",
    "-sc 257",
    "--syscall 39",
    "-sc connect",
    "-sc open --arch b32",
    "--session 3",
    "--session 87",
    "--session -1",
    "-sv yes",
    "--success no",
    "-tm pts0",
    "-tm pts/0",
    "-tm (none)",
    "--terminal none -w",
    "-ua 1000",
    "-ua root",
    "--uid-all 4242",
    "-ue 0",
    "--uid-effective 1000",
    "-ui 0",
    "-ui 1000",
    "--uid 4242",
    "-ul 1000",
    "-ul 4242",
    "--loginuid -1",
    "-uu 1",
    "-vm x",
    "-x /usr/bin/cat",
    "-x /usr/bin/cat -w",
    "--executable bin",
    "-x bin --word",
    "-x cat -k files",
    "-m PATH -x cat",
    "-m CONFIG_CHANGE -x auditctl",
    "-f /etc -x cat -sv yes",
    "-k files -sv no",
    "-sv no -ul 4242 -m SYSCALL",
    "-p 14805 -sc openat -f /etc",
    "-a 35633 -k files",
    "-ts 11/23/26 -te 11/24/26",
    "-ts 11/23/26 11:17:58 -te 11/23/26 11:17:58",
    "-ts 11:17:58 11/23/26 -f /etc",
    "--start 11/23/26 11:17:59",
    "--end 11/23/26 11:17:57",
    "-ts 11/14/23 22:13:20 -te 11/14/23 22:13:20 -x prog",
    "-ts this-year -te now -sv no",
]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Give one log of all records of the golden data and of a recorded one."""
    path = tmp_path_factory.mktemp("log") / "audit.log"
    path.write_bytes(b"".join(each.read_bytes() for each in (*LOGS, DATA / "mixed.log")))
    return path


@pytest.fixture(scope="module")
def store(common_url, log):
    """Give a store with that log."""
    load(common_url, log.read_bytes())
    return common_url


@pytest.fixture(scope="module")
def identities(store):
    """Give second, millisecond and serial of every event by its id: to read it takes longer."""
    with found_events(store, Criteria()) as result:
        return {event.id: identity(event) for event in result.events}


@pytest.fixture(scope="module")
def met():
    """Collect the differences that were met."""
    return set()


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    """Have local times in UTC, as ausearch's are here."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def differences():
    """Give the serials that differ with the ausearch at hand."""
    release = peers.release()
    return {serial for serial in DIFFERENCES if OF_ONE_RELEASE.get(serial, release) == release}


@cache
def found_by_ausearch(log, case):
    """Ask ausearch once for both databases."""
    return ausearch.found(log, *case.split())


@pytest.mark.parametrize("case", CASES)
def test_it_finds_what_ausearch_finds(store, identities, log, met, case):
    """The same events, but for the named ones, in the order of time."""
    theirs = found_by_ausearch(log, case)
    ours = [identities[each] for each in searching.found_ids(store, *case.split())]
    differing = set(theirs) ^ set(ours)
    assert {serial for _, _, serial in differing} <= differences()
    met |= {serial for _, _, serial in differing}
    of_one_host = [each for each in ours if each[0] == RECORDED]
    assert of_one_host == sorted(of_one_host, key=lambda each: (each[0], each[2]))


def test_every_difference_is_met(met):
    """A difference that no case shows any more is taken off the list."""
    assert met == differences()


def test_a_name_of_an_errno_finds_its_calls(store, log):
    """The positive number, for which ausearch looks then, no failed call has."""
    ours = searching.found(store, "-e", "EACCES")
    assert ours == searching.found(store, "-e", "-13")
    assert {each for each in ours if each[2] == 151}
    assert 151 not in {serial for _, _, serial in found_by_ausearch(log, "-e EACCES")}


@pytest.mark.parametrize(
    "two", ["-ue root -ui 1000", "-ga 0 -gi 1000", "-ul 1000 -ua 0", "-se unconfined -o tmp_t"]
)
def test_two_conditions_on_one_field_both_hold(store, log, two):
    """In ausearch a name that is met hides the others, and -ua, -ga and -se share theirs."""
    words = two.split()
    ours, first, second = (
        set(searching.found(store, *asked)) for asked in (words, words[:2], words[2:])
    )
    assert ours == first & second
    assert first
    assert second
    assert ours != set(found_by_ausearch(log, two))


HEAD = "pid=9 uid=0 auid=1000 ses=3 subj=x"
VERDICT = "avc:  denied  { send_msg } for msgtype=method_call scontext=a:b:c tcontext=a:b:d"
TERMINALS = [
    record("USER_AVC", 1, f"{HEAD} msg='{VERDICT} exe=\"/x\" hostname=? addr=? terminal=?'"),
    record("USER_LOGIN", 2, f"{HEAD} msg='op=x exe=\"/x\" hostname=? addr=? terminal=?'"),
    record("USER_LOGIN", 3, f"{HEAD} msg='op=x exe=\"/x\" addr=? terminal=? res=success'"),
]


@pytest.mark.parametrize("whole", [(), ("-w",)])
def test_a_terminal_that_ends_a_message_is_found(url, tmp_path, whole):
    """The kernel ends the message of each USER_AVC with it; ausearch wants a space behind it."""
    log = tmp_path / "terminals.log"
    log.write_text("".join(TERMINALS))
    load(url, log.read_bytes())
    assert [serial for *_, serial in searching.found(url, "-tm", "?", *whole)] == [1, 2, 3]
    assert [serial for *_, serial in ausearch.found(log, "-tm", "?", *whole)] == [3]


CHANGED = "auid=1000 ses=1 op=remove_rule key={} list=4 res=1"


@pytest.mark.parametrize("whole", [(), ("-w",)])
def test_a_change_of_a_rule_without_a_key_is_found_by_it(url, tmp_path, whole):
    """Alone and within a call; not what has no key at all."""
    log = tmp_path / "keys.log"
    lines = [
        record("CONFIG_CHANGE", 1, CHANGED.format("(null)")),
        record("CONFIG_CHANGE", 2, CHANGED.format('"files"')),
        record("CONFIG_CHANGE", 3, "auid=1000 ses=1 op=set audit_enabled=1 old=0 res=1"),
        record("CONFIG_CHANGE", 4, CHANGED.format("(null)")) + call(4, key='"k"') + end(4),
        record("USER_LOGIN", 5, f"{HEAD} msg='op=x key=(null) res=success'"),
    ]
    log.write_text("".join(lines))
    load(url, log.read_bytes())
    found = searching.found(url, "-k", "(null)", *whole)
    assert [serial for *_, serial in found] == [1, 4]
    assert found == ausearch.found(log, "-k", "(null)", *whole)


def test_an_unset_user_is_a_condition(store, log):
    """-ua 4294967295 is what has no login user; for ausearch it is what nobody asked for."""
    ours = searching.found(store, "-ua", "4294967295")
    assert 0 < len(ours) == len(searching.found(store, "-ul", "unset"))
    assert len(found_by_ausearch(log, "-ua 4294967295")) > 10 * len(ours)


ZONES = {"America/New_York": 1772953200, "Australia/Lord_Howe": 1775314800}
"""Zones, and the second at which their clock was moved."""


@pytest.mark.parametrize("zone", ZONES)
def test_the_clock_of_the_wall_on_the_day_of_its_change(tmp_path, monkeypatch, zone):
    """A time after the change is that of the wall's clock; ausearch has it as before the change."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    seconds = [ZONES[zone] + 600 * each for each in range(-40, 100)]
    lines = [opening(n, second=second) for n, second in enumerate(seconds, start=1)]
    (tmp_path / "log").write_text("".join(lines))
    url = f"sqlite:///{tmp_path}/store.db"
    load(url, "".join(lines))
    differing = 0
    for second in seconds[1::7]:
        words = ["-ts", *time.strftime("%D %T", time.localtime(second)).split()]
        ours = searching.found(url, *words)
        begins = {second, second - 3600, second - 1800}  # what the clock shows twice is the first
        assert ours[0][0] in begins
        assert time.strftime("%D %T", time.localtime(ours[0][0])) == " ".join(words[1:])
        theirs = ausearch.found(tmp_path / "log", *words, zone=zone)
        differing += theirs != ours
    assert differing


def test_the_beginning_of_the_hour_is_a_time():
    """For ausearch 4.2.2 `this-hour` is now, and 3.0.9 does not know it."""
    before = time.time()
    start = searching.options("-ts", "this-hour").criteria("sqlite:////none").period.low
    assert start % 3600 == 0
    assert before // 3600 * 3600 <= start <= time.time()


def test_a_cell_of_csv_keeps_its_comma(tmp_path):
    """In ausearch's CSV, which has no quotes, a name can shift the columns."""
    url, path = f"sqlite:///{tmp_path}/store.db", tmp_path / "audit.log"
    path.write_text(opening(1, name="/tmp/a,b,evil"))
    load(url, path.read_text())
    theirs = ausearch.run(path, "--format", "csv").stdout.decode()
    both = theirs, searching.shown(url, "csv")
    columns = [csv.DictReader(io.StringIO(text), restkey="more") for text in both]
    (their,), (our,) = map(list, columns)
    assert our["OBJ_PRIME"] == "/tmp/a,b,evil"
    assert their["OBJ_PRIME"] == "/tmp/a"
    assert "more" in their
