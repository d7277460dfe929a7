"""Our reports beside those of aureport (3.0.9, and 4.0.2 by `make test-peers`), on the same log.

What aureport reads rightly must be the same here: every list, every sum, every total, in the same
order, on both databases. What it reads wrongly has a name in DEFECTS and a log that shows it; the
recorded logs are compared without the events that have one of these.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from fixtures.aureport import ours, reports, theirs
from fixtures.logs import SECOND, call, load, record
from fixtures.peers import AUREPORT, release
from fixtures.report_log import report_log

from auditsvc.report import types
from auditsvc.report.choice import Choice
from auditsvc.report.reader import open_reader
from auditsvc.store.read.ausearch_times import end_second, start_second
from auditsvc.store.read.time_span import Span

DATA = Path(__file__).parents[1] / "data"
SERIAL = re.compile(rb"msg=audit\([0-9.]+:([0-9]+)\)")

pytestmark = pytest.mark.skipif(not AUREPORT.exists(), reason="no aureport: make peers")


# -- what it reads rightly ----------------------------------------------------------------

CHOICES = {
    "everything": ([], Choice()),
    "what succeeded": (["--success"], Choice(success=True)),
    "what failed": (["--failed"], Choice(success=False)),
    "without changes of configuration": (["-nc"], Choice(no_config=True)),
    "of a host": (["--node", "web.example"], Choice(hosts=("web.example",))),
    "of a time": (
        ["-ts", "06/15/25", "15:10:00", "-te", "06/15/25", "15:40:00"],
        Choice(span=Span(SECOND + 200, SECOND + 2000)),
    ),
}


@pytest.fixture(scope="module")
def made_log(tmp_path_factory):
    """Give the made log as a file."""
    path = tmp_path_factory.mktemp("log") / "audit.log"
    path.write_text(report_log())
    return path


@pytest.fixture(scope="module")
def answers(made_log):
    """Give what aureport says of the made log, for each choice, report, and its sums."""
    return {
        (which, name, summary): theirs(made_log, name, *options, summary=summary)
        for which, (options, _) in CHOICES.items()
        for name, summary in reports()
    }


@pytest.mark.one_database
def test_every_report_is_that_of_aureport(url, answers):
    """Lists, sums and totals, for every choice: the same lines in the same order."""
    load(url, report_log())
    with open_reader(url) as reader:
        different = {
            key: (said, made)
            for key, said in answers.items()
            if (made := ours(reader, key[1], CHOICES[key[0]][1], summary=key[2])) != said
        }
    assert different == {}
    assert sum(bool(said) for said in answers.values()) > 0.9 * len(answers)


def test_what_adds_and_what_deletes(url, made_log):
    """--add leaves out what deletes, --delete what adds."""
    load(url, report_log())
    with open_reader(url) as reader:
        for name in ("config", "mac", "integrity"):
            for option, without in (("--add", types.DELETES), ("--delete", types.ADDS)):
                made = ours(reader, name, Choice(without=without))
                assert made == theirs(made_log, name, option)


@pytest.mark.parametrize(
    ("words", "start", "end"),
    [
        (["06/15/25"], "2025-06-15 00:00:00", "2025-06-15 14:30:15"),
        (["06/15/25", "15:10:00"], "2025-06-15 15:10:00", "2025-06-15 15:10:00"),
        (["15:10"], "2025-06-17 15:10:00", "2025-06-17 15:10:00"),
        (["today"], "2025-06-17 00:00:00", "2025-06-17 14:30:15"),
        (["yesterday"], "2025-06-16 00:00:00", "2025-06-16 00:00:00"),
        (["this-week"], "2025-06-15 00:00:00", "2025-06-15 00:00:00"),
        (["week-ago"], "2025-06-10 00:00:00", "2025-06-10 00:00:00"),
        (["this-month"], "2025-06-01 00:00:00", "2025-06-01 00:00:00"),
        (["this-year"], "2025-01-01 00:00:00", "2025-01-01 00:00:00"),
        (["this-hour"], "2025-06-17 14:00:00", "2025-06-17 14:00:00"),
        (["recent"], "2025-06-17 14:20:15", "2025-06-17 14:20:15"),
        (["now"], "2025-06-17 14:30:15", "2025-06-17 14:30:15"),
    ],
    ids=" ".join,
)
def test_words_of_time(words, start, end):
    """As aureport has them (a Tuesday, 14:30:15): DATE alone ends at this time of that day."""
    now = datetime(2025, 6, 17, 14, 30, 15, tzinfo=UTC)
    found = start_second(" ".join(words), now), end_second(" ".join(words), now)
    wanted = (datetime.fromisoformat(f"{text}+00:00").timestamp() for text in (start, end))
    assert found == tuple(wanted)


# -- recorded logs ------------------------------------------------------------------------

# The events of each log that show a defect, by serial. In the list of files the defect of folders
# shows in nearly all; those lines are left out of that list alone.
AFFECTED = {
    "avc": {152: "apparmor"},
    "daemon": {5002: "unknown-type", 5003: "unknown-type", 5004: "order-of-fields"},
    "kernel": {
        154: "login-and-call",
        163: "unknown-type",
        172: "order-of-records",
        173: "newer-type",
        174: "newer-type",
    },
    "node": {186: "name-with-spaces"},
    "partial": {198: "not-read", 201: "not-read", 202: "not-read"},
    "sockaddr": {
        123: "interface",
        **dict.fromkeys((127, 128, 134, 135, 136, 140), "short-address"),
        **dict.fromkeys((138, 139), "byte-order"),
    },
    "syscall": {
        103: "read",
        107: "x32",
        110: "null-program",
        111: "not-read",
        112: "not-read",
        113: "not-read",
    },
    "unknown": dict.fromkeys((189, 190, 191, 192), "newer-type"),
    "uring": {176: "unknown-type", 177: "unknown-type"},
    "user": {148: "user-avc", 149: "not-read", 150: "not-read"},
}
AFFECTED_OF_CALLS = {
    35630: "login-and-call",
    36183: "forged-field",
    36189: "unknown-type",
}
AFFECTED_4 = {175: "ring-and-call", 36188: "ring-and-call"}
FOLDERS = {141, 35708, 35711, 35779, 35856, *range(36029, 36035)}


@pytest.mark.one_database
@pytest.mark.parametrize("log", ["golden records", "recorded calls"])
def test_recorded_logs(log, url, tmp_path):
    """Every report of what was recorded, but for events with a defect of aureport that we name."""
    if log == "golden records":
        paths = [path for path in sorted(DATA.glob("records/*.log")) if path.stem != "raw"]
        affected = {serial: why for each in AFFECTED.values() for serial, why in each.items()}
    else:
        paths, affected = [DATA / "mixed.log"], AFFECTED_OF_CALLS
    if release() == 4:
        affected = affected | AFFECTED_4
    assert set(affected.values()) <= {*DEFECTS, *EXPLAINED}
    lines = [line for path in paths for line in path.read_bytes().splitlines(keepends=True)]
    kept = b"".join(line for line in lines if _serial(line) not in affected)
    path = tmp_path / "audit.log"
    path.write_bytes(kept)
    load(url, kept)
    with open_reader(url) as reader:
        for report, summary in reports():
            said = Counter(theirs(path, report, summary=summary))
            made = Counter(ours(reader, report, summary=summary))
            if report == "file" and not summary:
                said, made = _without(said, FOLDERS), _without(made, FOLDERS)
            assert made == said, (report, summary)


def _serial(line):
    found = SERIAL.search(line)
    return int(found[1]) if found else None


def _without(lines, serials):
    return Counter(line for line in lines.elements() if int(line.split()[-1]) not in serials)


# -- what it reads wrongly ----------------------------------------------------------------


class Defect(NamedTuple):
    """A log, a report of it, what aureport says, and what we say."""

    why: str
    log: str
    report: tuple[str, bool]
    theirs: list[str]
    ours: list[str]
    is_plain: bool = False
    """Asked without -i."""
    theirs_4: list[str] | None = None
    """What aureport 4.0.2 says, where that is not the answer of 3.0.9."""


AT = "06/15/25 15:06:40"
ENDS = "cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0"
USER = "pid=2 uid=0 auid=1 ses=3"
PEER = "hostname=h addr=? terminal=t"


def _user(kind, said, serial=1, head=USER):
    return record(kind, serial, f"{head} msg='{said}'")


def _plain(serial=1, **fields):
    return call(serial, **({"auid": 0, "ses": 3, "key": "(null)", "nr": 39} | fields))


def _title(serial=1):
    return record("PROCTITLE", serial, "proctitle=636174")


DEFECTS = {
    "read": Defect(
        "read() has the number 0 on x86-64, which it takes for no call",
        _plain(nr=0) + _title(),
        ("syscall", True),
        [],
        ["1 read"],
    ),
    "failed-read": Defect(
        "for the same reason a read() that failed is no failed syscall",
        _plain(nr=0, success="no", exit=-9) + _title(),
        ("summary", False),
        ["0 failed syscalls"],
        ["1 failed syscalls"],
    ),
    "folder": Defect(
        "it means to show the file and not its folder, but compares all that follows nametype=",
        _plain(nr=87)
        + record("PATH", 1, f'item=0 name="/tmp" inode=1 nametype=PARENT {ENDS}')
        + record("PATH", 1, f'item=1 name="/tmp/f" inode=2 nametype=DELETE {ENDS}')
        + _title(),
        ("file", False),
        [f"{AT} /tmp unlink yes /usr/bin/cat root 1"],
        [f"{AT} /tmp/f unlink yes /usr/bin/cat root 1"],
    ),
    "forged-field": Defect(
        "it searches for the first exe= of a line, which a user's own text can have in it",
        _user("USER_AUTH", f'acct="a"\\x0Aexe=forged exe="/usr/bin/su" {PEER} res=failed'),
        ("executable", True),
        ["1 forged"],
        ["1 /usr/bin/su"],
    ),
    "login-and-call": Defect(
        "a LOGIN and the SYSCALL of the same event are two events",
        record("LOGIN", 1, "pid=100 uid=0 old-auid=4294967295 auid=0 old-ses=1 ses=3 res=1")
        + _plain(nr=1)
        + _title(),
        ("event", True),
        ["1 LOGIN", "1 SYSCALL"],
        ["1 LOGIN"],
        theirs_4=["1 LOGIN"],
    ),
    "apparmor": Defect(
        "it reads a denial of AppArmor as one of SELinux, and so drops the event everywhere",
        record("AVC", 1, 'apparmor="DENIED" operation="open" profile="p" name="/etc/x" comm="c"')
        + _plain(nr=257, success="no", exit=-13)
        + _title(),
        ("avc", False),
        [],
        [f"{AT} cat p openat open ? /etc/x denied 1"],
    ),
    "short-address": Defect(
        "an address that is cut short, or a Unix socket without a name, drops the event everywhere",
        _plain(nr=42) + record("SOCKADDR", 1, "saddr=0100") + _title(),
        ("summary", False),
        ["0 events", "0 process IDs"],
        ["1 events", "1 process IDs"],
        theirs_4=["1 events", "1 process IDs"],
    ),
    "unknown-type": Defect(
        "of types that it does not know it reads nothing: here an operation of io_uring",
        record("URINGOP", 1, 'uring_op=18 success=yes exit=0 pid=77 uid=0 key="ring"'),
        ("key", True),
        [],
        ["1 ring"],
    ),
    "newer-type": Defect(
        "a record of a type that is newer than it is an event of its own, without a name",
        record("LANDLOCK_ACCESS", 1, 'domain=1 blockers=fs.refer path="/usr"')
        + _plain(nr=265)
        + _title(),
        ("event", True),
        ["1 SYSCALL"],
        ["1 LANDLOCK_ACCESS"],
        theirs_4=[],
    ),
    "ring-and-call": Defect(
        "a call that is in one event with an operation of io_uring is lost, by 4.0.2",
        record("URINGOP", 1, 'uring_op=18 success=yes exit=0 pid=77 uid=0 key="ring"')
        + _plain(nr=426)
        + _title(),
        ("event", True),
        ["1 URINGOP"],
        ["1 URINGOP"],
        theirs_4=[],
    ),
    "number-for-a-name": Defect(
        "an account whose name begins with a digit is read as a number",
        _user("USER_AUTH", 'acct="1st" exe="/x" hostname=h addr=? terminal=t res=failed'),
        ("auth", True),
        ["1 daemon"],
        ["1 1st"],
    ),
    "made-up-values": Defect(
        "a NETFILTER_CFG without a call has a program (null), a terminal (none), and no login user",
        record("NETFILTER_CFG", 1, 'table=filter family=2 op=register pid=7 subj=x comm="nft"'),
        ("terminal", True),
        ["1 (none)"],
        [],
    ),
    "user-avc": Defect(
        "of a USER_AVC it takes the sender for the subject, and reads no more when a value is odd",
        _user(
            "USER_AVC",
            "avc:  denied  { send_msg } for scontext=a tcontext=b tclass=dbus "
            'exe="/usr/bin/dbus" sauid=81 hostname=? addr=? terminal=?',
            head=f"{USER} subj=sender",
        ),
        ("avc", False),
        [f"{AT} ? sender ? dbus send_msg b denied 1"],
        [f"{AT} ? a ? dbus send_msg b denied 1"],
    ),
    "order-of-fields": Defect(
        "it looks for uid= only after pid=, where newer versions of auditd do not write it",
        record("DAEMON_END", 1, "op=terminate auid=0 uid=0 ses=1 pid=1 res=success"),
        ("user", False),
        [],
        [f"{AT} root ? ? ? 1"],
    ),
    "sum-of-mac": Defect(
        "the list of MAC events has types from 1411 on, their sum has not",
        record("MAC_IPSEC_EVENT", 1, "auid=0 ses=3 res=1"),
        ("mac", True),
        [],
        ["1 MAC_IPSEC_EVENT"],
    ),
    "result-as-number": Defect(
        "res=0 of a program's message is a success",
        _user("USER_LOGIN", 'op=login acct="a" exe="/x" hostname=h addr=? terminal=t res=0'),
        ("summary", False),
        ["0 failed logins", "1 logins"],
        ["1 failed logins", "0 logins"],
    ),
    "two-machines": Defect(
        "without -i calls of two machines with one number are one line",
        _plain(nr=4) + _title() + _plain(2, nr=4, arch="40000003") + _title(2),
        ("syscall", True),
        ["2 4"],
        ["1 stat", "1 write"],
        is_plain=True,
    ),
    "x32": Defect(
        "a call of the x32 machine has no name",
        _plain(nr=0x40000027) + _title(),
        ("syscall", True),
        ["1 1073741863"],
        ["1 getpid"],
    ),
    "name-with-spaces": Defect(
        "an event of a host whose name has spaces is lost",
        _plain(node="node=my host ")
        + record("PROCTITLE", 1, "proctitle=6361", node="node=my host "),
        ("event", True),
        [],
        ["1 SYSCALL"],
    ),
    "null-program": Defect(
        "a task without a program has the program (null)",
        _plain(exe="(null)") + _title(),
        ("executable", True),
        ["1 ?"],
        [],
    ),
    "byte-order": Defect(
        "an address of a big-endian machine is read as one of this machine",
        _plain(nr=362, arch="80000016")
        + record("SOCKADDR", 1, "saddr=00020035C00002070000000000000000")
        + _title(),
        ("host", True),
        [],
        ["1 192.0.2.7"],
    ),
    "not-read": Defect(
        "what one report cannot read drops the event from it, for a field that it does not show",
        record("USER_START", 1, "pid=2 uid=0 ses=3 msg='op=x exe=\"/x\" res=success'"),
        ("user", False),
        [],
        [f"{AT} ? ? ? /x 1"],
    ),
}

# Differences that are no defects.
EXPLAINED = {
    "interface": "the zone of an address is a number here, and the reporting machine's name there",
    "order-of-records": "the store does not keep the order of an event's records: what comes "
    "before SYSCALL is known by its type, and a recorded log here has it after SYSCALL",
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_of_aureport_is_left_out(name, made, tmp_path):
    """Both answers are as written: so we see if a newer aureport no longer has it."""
    defect = DEFECTS[name]
    url = f"sqlite:///{made}"
    log = tmp_path / "audit.log"
    log.write_text(defect.log)
    load(url, defect.log)
    report, summary = defect.report
    wanted = defect.theirs
    if release() == 4 and defect.theirs_4 is not None:
        wanted = defect.theirs_4
    said = theirs(log, report, summary=summary, interpret=not defect.is_plain)
    with open_reader(url) as reader:
        shown = ours(reader, report, summary=summary)
    if report == "summary":
        said = [line for line in said if line in wanted]
        shown = [line for line in shown if line in defect.ours]
    assert (sorted(said), sorted(shown)) == (sorted(wanted), sorted(defect.ours))
