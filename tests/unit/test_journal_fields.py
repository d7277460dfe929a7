"""An event as journal fields: kinds, priorities, names that journald accepts."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from auditsvc.decode.states import COMPLETE
from auditsvc.enrich import kinds
from auditsvc.forward.fields import CALL_FIELDS, EVENT_FIELDS, entry, field_name, shortened
from auditsvc.host.users import Users
from auditsvc.store.read.events import Call, Event, Row

PACKAGING = Path(__file__).parents[2] / "packaging"
USERS = {0: "root", 1000: "alice"}.get
_CALL = dict.fromkeys(CALL_FIELDS) | {
    "event_id": 77,
    "host": "box",
    "time": "2026-01-31 10:00:00.123",
    "serial": 5,
    "arch": "x86_64",
    "syscall": "openat",
    "nr": 257,
    "a0": "ffffff9c",
    "success": 1,
    "exit": 3,
    "state": "complete",
    "items": 1,
    "pid": 42,
    "auid": 1000,
    "euid": 0,
    "uid": 1000,
    "comm": "cat",
    "exe": "/usr/bin/cat",
}
_OWN = ("serial", "nr", "syscall", "success", "exit", "items", "argv")


def call(*, paths=(), sockaddrs=(), records=(), **columns):
    """Give an event with a system call."""
    row = _CALL | columns
    context = Row({name: value for name, value in row.items() if name not in Call._fields})
    own = {
        name: row[name] for name in ("serial", "nr", "syscall", "success", "exit", "items", "argv")
    }
    made = Call(77, 123, a0=-100, a1=0, a2=0, a3=0, state=COMPLETE, context=context, **own)
    return Event(77, made, None, list(paths), list(sockaddrs), list(records))


def path(name, nametype="NORMAL"):
    """Give a row of `paths`."""
    columns = ("item", "name", "nametype", "inode", "dev", "mode", "ouid", "ogid", "rdev", "obj")
    return dict.fromkeys(columns) | {"item": 0, "name": name, "nametype": nametype, "inode": 7}


def message(kind, **fields):
    """Give an event without a system call."""
    row = dict.fromkeys(EVENT_FIELDS) | {
        "event_id": 78,
        "host": "box",
        "serial": 6,
        "type": kind,
        "pid": 9,
        "uid": 0,
        "fields": fields,
    }
    return Event(78, None, row)


def fields(event, **options):
    """Give an event's entry as name -> values."""
    made = {}
    for each in entry(event, USERS, **options):
        name, _, value = each.partition(b"=")
        made.setdefault(name.decode(), []).append(value.decode())
    return made


def line(event):
    """Give an event's MESSAGE."""
    return fields(event)["MESSAGE"][0]


def test_names_and_raw_values():
    """A name stands beside each raw value that has one."""
    found = fields(call(success=0, exit=-13, paths=[path("/etc/shadow")]))
    for name, value in {
        "AUDIT_FIELD_SYSCALL": "openat",
        "AUDIT_FIELD_SYSCALL_NR": "257",
        "AUDIT_FIELD_ARCH": "x86_64",
        "AUDIT_FIELD_ARCH_NR": "c000003e",
        "AUDIT_FIELD_SUCCESS": "no",
        "AUDIT_FIELD_EXIT": "-13",
        "AUDIT_FIELD_EXIT_NAME": "EACCES",
        "AUDIT_FIELD_AUID": "1000",
        "AUDIT_FIELD_AUID_NAME": "alice",
        "AUDIT_FIELD_EUID_NAME": "root",
        "AUDIT_FIELD_NAME": "/etc/shadow",
        "AUDIT_FIELD_INODE": "7",
        "AUDITSVC_EVENT_ID": "77",
        "SYSLOG_FACILITY": "13",
        "SYSLOG_IDENTIFIER": "auditsvc",
        "PRIORITY": "4",
    }.items():
        assert found[name] == [value], name
    assert "AUDIT_FIELD_SUBJ" not in found


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (call(), "alice as root: cat[42] openat: = 3"),
        (call(euid=1000), "alice: cat[42] openat: = 3"),
        (call(auid=None, euid=33), "uid 33: cat[42] openat: = 3"),
        (call(success=None, exit=None), "alice as root: cat[42] openat: did not return"),
        (
            call(success=0, exit=-2, paths=[path("/a", "PARENT"), path("/a/b\n")]),
            "alice as root: cat[42] openat /a/b\\x0a: ENOENT",
        ),
        (
            call(syscall="execve", argv=["ls", "-l", "my file", ""], exit=0),
            "alice as root: cat[42] execve ls -l 'my file' '': success",
        ),
        (
            call(
                syscall="connect",
                exit=0,
                sockaddrs=[{"family": "inet", "address": "10.0.0.1", "port": 443, "path": None}],
            ),
            "alice as root: cat[42] connect 10.0.0.1 port 443: success",
        ),
        (
            call(
                syscall="kill",
                exit=0,
                records=[{"type": "OBJ_PID", "seq": 0, "fields": {"opid": "9", "ocomm": "sshd"}}],
            ),
            "alice as root: cat[42] kill sshd[9]: success",
        ),
        (
            call(syscall="mmap", exit=0x7F0000000000),
            "alice as root: cat[42] mmap: = 0x7f0000000000",
        ),
        (
            message("USER_LOGIN", op="login", acct="mallory", res="failed", exe="/usr/sbin/sshd"),
            "root: sshd[9] USER_LOGIN op=login acct=mallory: failed",
        ),
        (message("URINGOP", uring_op="18", success="no"), "root: [9] URINGOP openat: failed"),
    ],
)
def test_the_line_that_people_read(event, said):
    """Who, what program, what call, on what, with what result."""
    assert line(event) == said


@pytest.mark.parametrize(
    ("event", "kind", "priority"),
    [
        (call(), kinds.FILE, 6),
        (call(success=0, exit=-2), kinds.FILE, 5),
        (call(success=0, exit=-1), kinds.FILE, 4),
        (call(syscall="execve"), kinds.PROGRAM, 6),
        (call(syscall="connect"), kinds.NETWORK, 6),
        (call(syscall="setuid"), kinds.PRIVILEGE, 6),
        (call(syscall="finit_module"), kinds.KERNEL, 5),
        (call(syscall="mount"), kinds.MOUNT, 6),
        (call(syscall="clock_settime"), kinds.TIME, 5),
        (call(syscall="ptrace"), kinds.PROCESS, 6),
        (call(syscall="getpid"), kinds.CALL, 6),
        (message("CONFIG_CHANGE", res="1"), kinds.AUDIT, 5),
        (message("DAEMON_ERR", op="lost", res="failed"), kinds.AUDIT, 3),
        (message("USER_LOGIN", res="success"), kinds.USER, 6),
        (message("USER_LOGIN", res="failed"), kinds.USER, 4),
        (message("ADD_USER", res="success"), kinds.ACCOUNT, 5),
        (message("AVC", seresult="denied"), kinds.DENIAL, 4),
        (message("AVC", seresult="granted"), kinds.DENIAL, 5),
        (message("SECCOMP", sig="31"), kinds.DENIAL, 4),
        (message("ANOM_ABEND", sig="11"), kinds.ANOMALY, 3),
        (message("INTEGRITY_RULE", res="1"), kinds.ANOMALY, 6),
        (message("SERVICE_START", res="success"), kinds.SERVICE, 6),
        (message("NETFILTER_PKT"), kinds.OTHER, 6),
    ],
)
def test_kind_and_priority(event, kind, priority):
    """Each kind of event has its id, and its priority follows from the outcome."""
    found = fields(event)
    assert found["MESSAGE_ID"] == [kind.message_id]
    assert found["PRIORITY"] == [str(priority)]


def test_several_keys():
    """Each key can be asked for, and the column is there as it is."""
    found = fields(call(key="a,b"))
    assert sorted(found["AUDIT_FIELD_KEY"]) == ["a", "b"]
    assert found["AUDITSVC_KEYS"] == ["a,b"]


def test_further_records_do_not_mix_with_the_call():
    """A further record's pid is not the caller's: it is in the JSON alone."""
    records = [{"type": "CAPSET", "seq": 0, "fields": {"pid": "4242", "cap_pi": "1f"}}]
    found = fields(call(records=records))
    assert found["AUDIT_FIELD_PID"] == ["42"]
    assert found["AUDIT_FIELD_CAP_PI"] == ["1f"]
    assert json.loads(found["AUDITSVC_RECORDS"][0]) == records


def test_object_pid_only_when_asked():
    """Journald looks OBJECT_PID up when it comes: only a fresh event's is of use."""
    event = call(records=[{"type": "OBJ_PID", "seq": 0, "fields": {"opid": "9"}}])
    assert "OBJECT_PID" not in fields(event)
    assert fields(event, object_pid=True)["OBJECT_PID"] == ["9"]


@pytest.mark.parametrize("pid", ["0", "-1", "9" * 5000, "4294967296", "\u0661", "\xb2", "x", ""])
def test_what_is_no_pid_is_no_object(pid):
    """Whatever stands in its place, the event is sent."""
    event = call(records=[{"type": "OBJ_PID", "seq": 0, "fields": {"opid": pid}}])
    assert "OBJECT_PID" not in fields(event, object_pid=True)


@pytest.mark.parametrize(
    "name", ["x", "a-b", "_UID", "MESSAGE", "1", "\u00e4\u00df", "=", "a b", "", "n" * 100, "\0\n"]
)
def test_names_that_journald_takes(name):
    """Whatever a record calls a field, its name in the journal is valid and ours."""
    made = field_name(name)
    assert re.fullmatch(rb"AUDIT_FIELD_[A-Z0-9_]*=", made)
    assert len(made) <= 65


def test_shortened():
    """Only a large entry loses its long fields, and says so."""
    small = [b"A=1", b"B=" + b"x" * 5000]
    assert shortened(small) == small
    large = [b"A=1", b"B=" + b"x" * 50_000]
    assert shortened(large) == [b"A=1", b"AUDITSVC_LEFT_OUT=1"]


def test_users_are_read_again(tmp_path):
    """Names come from the file, and follow its changes; without it nobody has one."""
    file = tmp_path / "passwd"
    users = Users(file)
    assert users.name(0) is None
    file.write_text("root:x:0:0::/root:/bin/sh\nbroken\ntoor:x:0:0::/:/\n")
    users.refresh()
    assert users.name(0) == "root"
    file.unlink()
    users.refresh()
    assert users.name(0) is None


def test_ids_are_unique():
    """No two kinds share an id, no call is of two kinds."""
    ids = [kind.message_id for kind in kinds.KINDS]
    assert len(set(ids)) == len(ids) == len({kind.name for kind in kinds.KINDS})
    calls = [name for kind in kinds.KINDS for name in kind.calls]
    assert len(set(calls)) == len(calls)


def test_catalogue(tmp_path):
    """Journalctl takes the catalogue and explains every kind from it."""
    folder = tmp_path / "usr/lib/systemd/catalog"
    folder.mkdir(parents=True)
    (folder / "auditsvc.catalog").write_bytes((PACKAGING / "auditsvc.catalog").read_bytes())
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    try:
        subprocess.run(["journalctl", f"--root={tmp_path}", "--update-catalog"], check=True)
    except FileNotFoundError:
        pytest.skip("there is no journalctl")
    done = subprocess.run(
        ["journalctl", f"--root={tmp_path}", "--dump-catalog"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(re.findall(r"^-- ([0-9a-f]{32})\nSubject: (.+)$", done.stdout, re.MULTILINE))
    assert set(found) == {kind.message_id for kind in kinds.KINDS}
    known = {*CALL_FIELDS.values(), *EVENT_FIELDS.values()}
    assert set(re.findall(r"@([A-Z_0-9]+)@", done.stdout)) <= known
