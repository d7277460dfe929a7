"""A whole event -> the fields of one journal entry. Pure.

In: `store.whole.Event`. Out: `FIELD=value` byte strings for sd_journal_sendv(3); a value
is any bytes. What must hold:

* Every column of every row of the event can be read back from the entry. A column of
  `syscalls` or `events` is the field that CALL_FIELDS and EVENT_FIELDS name; NULL is no
  field. Lists are JSON, in AUDITSVC_ARGV, _PATHS, _SOCKADDRS, _RECORDS and _FIELDS.
* For searching, each value of those lists is a field of its own as well, repeated where
  there are several: journald keeps the values of a repeated field as a set, without
  order, which is why the JSON is there.
* Names are journald's: AUDIT_FIELD_ and the kernel's name in capitals, `-` as `_`
  (map_generic_field in journald-audit.c). Its own `_AUDIT_...` only journald may write.
* journald throws away an entry of more than 1024 fields, and a field whose name is
  longer than 64 or not of [A-Z0-9_]; sd_journal_sendv refuses (EINVAL) what needs more
  than IOV_MAX pieces, and it makes 2 of a field, 5 of one with a newline. So none of
  these is made here. Where the limit bites, repeated fields are left out, and
  AUDITSVC_LEFT_OUT says how many.

Raw values stand under the kernel's names; what they mean beside them, as in
AUDIT_FIELD_EXIT=-13 with AUDIT_FIELD_EXIT_NAME=EACCES, but for the name of arch and
syscall, which are what people ask for: their numbers are in ..._NR.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from auditsvc import names
from auditsvc.journal import kinds
from auditsvc.journal.message import message_of_call, message_of_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from auditsvc.journal.message import UserName
    from auditsvc.store.whole import Event

IDENTIFIER: Final = "auditsvc"
FACILITY: Final = 13
"""`log audit` of RFC 5424, section 6.2.1."""

MOST_PIECES: Final = 1000
"""Below IOV_MAX, 1024, with room for what the sender adds."""

_LARGE, _LONG = 32 << 10, 4 << 10  # bytes

_COMMON: Final = {
    "event_id": "AUDITSVC_EVENT_ID",
    "host": "AUDITSVC_HOST",
    "time": "AUDITSVC_TIME",
    "serial": "AUDITSVC_SERIAL",
}
CALL_FIELDS: Final[Mapping[str, str]] = (
    _COMMON
    | {
        "arch": "AUDIT_FIELD_ARCH",
        "syscall": "AUDIT_FIELD_SYSCALL",
        "nr": "AUDIT_FIELD_SYSCALL_NR",
        "success": "AUDIT_FIELD_SUCCESS",
        "state": "AUDITSVC_STATE",
        "argv": "AUDITSVC_ARGV",
    }
    | {
        name: f"AUDIT_FIELD_{name.upper()}"
        for name in [
            "a0",
            "a1",
            "a2",
            "a3",
            "exit",
            "items",
            "ppid",
            "pid",
            "auid",
            "uid",
            "gid",
            "euid",
            "suid",
            "fsuid",
            "egid",
            "sgid",
            "fsgid",
            "tty",
            "ses",
            "comm",
            "exe",
            "subj",
            "key",
            "cwd",
            "proctitle",
        ]
    }
)
"""Where a column of the view `syscalls` stands in the entry.

Of several keys AUDIT_FIELD_KEY has each, and AUDITSVC_KEYS what the column says.
"""

EVENT_FIELDS: Final[Mapping[str, str]] = (
    _COMMON
    | {"type": "AUDITSVC_TYPE", "fields": "AUDITSVC_FIELDS"}
    | {name: f"AUDIT_FIELD_{name.upper()}" for name in ("pid", "uid", "auid", "ses")}
)
"""The same for the view `events`."""

_OURS: Final = frozenset(
    field.encode() + b"="
    for field in (
        *CALL_FIELDS.values(),
        "AUDIT_FIELD_ARCH_NR",
        "AUDIT_FIELD_EXIT_NAME",
        *(f"AUDIT_FIELD_{name}_NAME" for name in ("AUID", "UID", "EUID")),
    )
)
"""Fields that say one thing in an entry: those of further records do not mix with them."""

_KEY_SEPARATOR: Final = ","  # as the column `key` shows it
_NOT_A_NAME: Final = re.compile("[^A-Z0-9_]")
_PREFIX: Final = "AUDIT_FIELD_"
_NAME_MOST: Final = 64  # journal_field_valid in systemd's journal-file-util.c
_CALL_TEXT: Final = tuple(
    (column, field.encode() + b"=")
    for column, field in CALL_FIELDS.items()
    if column not in ("success", "argv", "key")
)
_EVENT_TEXT: Final = tuple(
    (column, field.encode() + b"=") for column, field in EVENT_FIELDS.items() if column != "fields"
)
_PATH_TEXT: Final = tuple(
    (name, f"{_PREFIX}{name.upper()}=".encode())
    for name in ["name", "nametype", "inode", "dev", "mode", "ouid", "ogid", "rdev", "obj"]
)
_ADDRESS_TEXT: Final = tuple(
    (name, f"{_PREFIX}SADDR_{name.upper()}=".encode())
    for name in ["family", "address", "port", "path"]
)
_USERS: Final = ("auid", "uid", "euid")
_SUCCESS: Final = {1: b"AUDIT_FIELD_SUCCESS=yes", 0: b"AUDIT_FIELD_SUCCESS=no"}
_HEADS: Final = {
    (kind.name, priority): (
        f"PRIORITY={priority}".encode(),
        f"MESSAGE_ID={kind.message_id}".encode(),
        f"SYSLOG_FACILITY={FACILITY}".encode(),
        f"SYSLOG_IDENTIFIER={IDENTIFIER}".encode(),
    )
    for kind in kinds.KINDS
    for priority in (kinds.ERR, kinds.WARNING, kinds.NOTICE, kinds.INFO)
}


def head(kind: kinds.Kind, priority: int, message: str) -> list[bytes]:
    """Give the fields that every entry of ours begins with."""
    return [b"MESSAGE=" + message.encode(errors="replace"), *_HEADS[kind.name, priority]]


def entry(event: Event, user: UserName, *, object_pid: bool = False) -> list[bytes]:
    """Give the fields of an event's entry.

    `user` gives names for uids of the event's host. `object_pid` asks for OBJECT_PID, to
    which journald adds what the process is just now: only for a fresh event of this host.
    """
    made: list[bytes] = []
    if event.syscall is not None:
        _call(made, event, event.syscall, user)
    elif event.event is not None:
        _type(made, event, event.event, user)
    for name, rows in (
        (b"AUDITSVC_PATHS=", event.paths),
        (b"AUDITSVC_SOCKADDRS=", event.sockaddrs),
        (b"AUDITSVC_RECORDS=", event.records),
    ):
        if rows:
            made.append(name + _json(rows))
    if object_pid and (pid := _object_pid(event)):
        made.append(b"OBJECT_PID=%d" % pid)
    return _limited(made, _repeated(event))


def shortened(fields: Sequence[bytes]) -> list[bytes]:
    """Leave out the long fields of a large entry, for a journal that is too small for it."""
    if sum(map(len, fields)) <= _LARGE:
        return list(fields)
    kept = [each for each in fields if len(each) <= _LONG]
    return [*kept, b"AUDITSVC_LEFT_OUT=%d" % (len(fields) - len(kept))]


def _call(made: list[bytes], event: Event, row: Mapping[str, Any], user: UserName) -> None:
    kind = kinds.kind_of_call(row["syscall"])
    priority = kinds.priority_of_call(kind, row["success"], row["exit"])
    made += head(kind, priority, message_of_call(event, user))
    made += [
        name + (value.encode() if isinstance(value, str) else b"%d" % value)
        for column, name in _CALL_TEXT
        if (value := row[column]) is not None
    ]
    if row["success"] is not None:
        made.append(_SUCCESS[row["success"]])
        if row["success"] == 0 and (error := names.errno_name(-(row["exit"] or 0))):
            made.append(b"AUDIT_FIELD_EXIT_NAME=" + error.encode())
    if row["argv"] is not None:
        made.append(b"AUDITSVC_ARGV=" + _json(row["argv"]))
    key = row["key"]
    if key is not None:
        if _KEY_SEPARATOR in key:
            made.append(b"AUDITSVC_KEYS=" + key.encode())
        else:
            made.append(b"AUDIT_FIELD_KEY=" + key.encode())
    if arch := _arch_number(row["arch"]):
        made.append(arch)
    _user_names(made, row, user)


def _type(made: list[bytes], event: Event, row: Mapping[str, Any], user: UserName) -> None:
    kind = kinds.kind_of_type(row["type"])
    priority = kinds.priority_of_type(kind, row["type"], row["fields"] or {})
    made += head(kind, priority, message_of_type(event, user))
    made += [
        name + str(value).encode()
        for column, name in _EVENT_TEXT
        if (value := row[column]) is not None
    ]
    if row["fields"] is not None:
        made.append(b"AUDITSVC_FIELDS=" + _json(row["fields"]))
    _user_names(made, row, user)


def _user_names(made: list[bytes], row: Mapping[str, Any], user: UserName) -> None:
    for column in _USERS:
        number = row.get(column)
        if number is not None and (name := user(number)):
            made.append(f"{_PREFIX}{column.upper()}_NAME={name}".encode())


def _repeated(event: Event) -> dict[bytes, None]:
    """Give the values of the lists, each once, in their order."""
    made: dict[bytes, None] = {}
    row = event.syscall
    if row is not None:
        made[b"AUDIT_TYPE_NAME=SYSCALL"] = None
        for word in row["argv"] or ():
            made[b"AUDIT_FIELD_ARGV=" + _bytes(word)] = None
        if row["key"] is not None and _KEY_SEPARATOR in row["key"]:
            for key in row["key"].split(_KEY_SEPARATOR):
                made[b"AUDIT_FIELD_KEY=" + key.encode()] = None
    elif event.event is not None:
        made[b"AUDIT_TYPE_NAME=" + _bytes(event.event["type"])] = None
        _each(made, event.event["fields"])
    if event.paths:
        made[b"AUDIT_TYPE_NAME=PATH"] = None
        _columns(made, event.paths, _PATH_TEXT)
    if event.sockaddrs:
        _columns(made, event.sockaddrs, _ADDRESS_TEXT)
    for record in event.records:
        made[b"AUDIT_TYPE_NAME=" + _bytes(record["type"])] = None
        _each(made, record["fields"])
    return made


def _columns(
    made: dict[bytes, None],
    rows: Iterable[Mapping[str, Any]],
    names_of: Sequence[tuple[str, bytes]],
) -> None:
    for row in rows:
        for column, name in names_of:
            value = row[column]
            if value is not None:
                made[name + _bytes(value)] = None


def _each(made: dict[bytes, None], fields: Mapping[str, Any] | None) -> None:
    for name, value in (fields or {}).items():
        start = field_name(name)
        if start in _OURS:
            continue
        for each in value if isinstance(value, list) else (value,):
            if each is not None:
                made[start + _bytes(each)] = None


@lru_cache(4096)
def field_name(name: str) -> bytes:
    """Give the journal's name of a record's field, with its `=`; names may be anything."""
    return (_PREFIX + _NOT_A_NAME.sub("_", name.upper()))[:_NAME_MOST].encode() + b"="


@lru_cache(64)
def _arch_number(name: str) -> bytes | None:
    number = names.arch_number(name)
    return None if number is None else b"AUDIT_FIELD_ARCH_NR=%x" % number


def _object_pid(event: Event) -> int | None:
    """Give the one other process that a call acted on, if it is one."""
    pids = {
        record["fields"].get("opid")
        for record in event.records
        if record["type"] == "OBJ_PID" and record["fields"]
    }
    pid = pids.pop() if len(pids) == 1 else None
    return int(pid) if isinstance(pid, str) and pid.isdecimal() and int(pid) > 0 else None


def _limited(made: list[bytes], repeated: Mapping[bytes, None]) -> list[bytes]:
    there = set(made)
    more = [each for each in repeated if each not in there]
    if 5 * (len(made) + len(more)) > MOST_PIECES:  # else there is room, newlines or not
        room = MOST_PIECES - sum(map(_pieces, made))
        for kept, each in enumerate(more):
            room -= _pieces(each)
            if room < 0:
                made.append(b"AUDITSVC_LEFT_OUT=%d" % (len(more) - kept))
                return made + more[:kept]
    return made + more


def _pieces(each: bytes) -> int:
    return 5 if b"\n" in each else 2


def _bytes(value: object) -> bytes:
    return value.encode() if isinstance(value, str) else str(value).encode()


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _json(value: object) -> bytes:
    return _encode(value).encode()
