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
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from auditsvc import names
from auditsvc.journal import kinds
from auditsvc.journal.message import message_of_call, message_of_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

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
_OWN: Final = ("a0", "a1", "a2", "a3", "exit", "items")
_IDS: Final = (
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
)
_TEXTS: Final = ("tty", "ses", "comm", "exe", "subj", "key", "cwd", "proctitle")
CALL_FIELDS: Final[Mapping[str, str]] = _COMMON | {
    "arch": "AUDIT_FIELD_ARCH",
    "syscall": "AUDIT_FIELD_SYSCALL",
    "nr": "AUDIT_FIELD_SYSCALL_NR",
    "success": "AUDIT_FIELD_SUCCESS",
    "state": "AUDITSVC_STATE",
    "argv": "AUDITSVC_ARGV",
    **{name: f"AUDIT_FIELD_{name.upper()}" for name in (*_OWN, *_IDS, *_TEXTS)},
}
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


def _starts(fields: Mapping[str, str]) -> tuple[tuple[str, bytes], ...]:
    return tuple((column, field.encode() + b"=") for column, field in fields.items())


# What a process does again and again is made once: these columns repeat from call to call.
_REPEATS: Final = ("host", "arch", *_IDS, *_TEXTS)
_repeats: Final = itemgetter(*_REPEATS)
_CALL_TEXT: Final = _starts(
    {
        column: field
        for column, field in CALL_FIELDS.items()
        if column not in ("success", "argv", *_REPEATS)
    }
)
_EVENT_TEXT: Final = _starts({c: field for c, field in EVENT_FIELDS.items() if c != "fields"})
_FILE: Final = ("name", "nametype", "inode", "dev", "mode", "ouid", "ogid", "rdev", "obj")
_PATH_TEXT: Final = _starts({name: f"{_PREFIX}{name.upper()}" for name in _FILE})
_ADDRESS: Final = ("family", "address", "port", "path")
_ADDRESS_TEXT: Final = _starts({name: f"{_PREFIX}SADDR_{name.upper()}" for name in _ADDRESS})
_USERS: Final = tuple(
    (name, f"{_PREFIX}{name.upper()}_NAME=".encode()) for name in ("auid", "uid", "euid")
)
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
    more: dict[bytes, None] = {}
    if event.syscall is not None:
        _call(made, more, event, user)
    elif event.event is not None:
        _type(made, more, event, user)
    if event.paths:
        more[b"AUDIT_TYPE_NAME=PATH"] = None
        _rows(made, more, b"AUDITSVC_PATHS=", event.paths, _path)
    if event.sockaddrs:
        _rows(made, more, b"AUDITSVC_SOCKADDRS=", event.sockaddrs, _address)
    if event.records:
        _records(made, more, event.records)
    if object_pid and (pid := _object_pid(event)):
        made.append(b"OBJECT_PID=%d" % pid)
    return _limited(made, list(more))


def shortened(fields: Sequence[bytes]) -> list[bytes]:
    """Leave out the long fields of a large entry, for a journal that is too small for it."""
    if sum(map(len, fields)) <= _LARGE:
        return list(fields)
    kept = [each for each in fields if len(each) <= _LONG]
    return [*kept, b"AUDITSVC_LEFT_OUT=%d" % (len(fields) - len(kept))]


def _call(made: list[bytes], more: dict[bytes, None], event: Event, user: UserName) -> None:
    row = event.syscall
    assert row is not None
    success, code, argv = row["success"], row["exit"], row["argv"]
    kind = kinds.kind_of_call(row["syscall"])
    priority = kinds.priority_of_call(kind, success, code)
    made += head(kind, priority, message_of_call(event, user))
    made += [
        name + (value.encode() if value.__class__ is str else b"%d" % value)
        for column, name in _CALL_TEXT
        if (value := row[column]) is not None
    ]
    made += _context(_repeats(row))
    if success is not None:
        made.append(_SUCCESS[success])
        if success == 0 and (error := names.errno_name(-(code or 0))):
            made.append(b"AUDIT_FIELD_EXIT_NAME=" + error.encode())
    _user_names(made, row, user)
    more[b"AUDIT_TYPE_NAME=SYSCALL"] = None
    if argv is not None:
        made.append(b"AUDITSVC_ARGV=" + _json(argv))
        more.update(dict.fromkeys(b"AUDIT_FIELD_ARGV=" + _bytes(word) for word in argv))
    if row["key"] is not None and _KEY_SEPARATOR in row["key"]:
        keys = row["key"].split(_KEY_SEPARATOR)
        more.update(dict.fromkeys(b"AUDIT_FIELD_KEY=" + key.encode() for key in keys))


@lru_cache(1024)
def _context(values: tuple[Any, ...]) -> list[bytes]:
    """Give the fields of the columns _REPEATS."""
    row = dict(zip(_REPEATS, values, strict=True))
    key = row.pop("key")
    made = [
        CALL_FIELDS[column].encode() + b"=" + _bytes(value)
        for column, value in row.items()
        if value is not None
    ]
    if key is not None:
        name = b"AUDITSVC_KEYS=" if _KEY_SEPARATOR in key else b"AUDIT_FIELD_KEY="
        made.append(name + key.encode())
    number = None if row["arch"] is None else names.arch_number(row["arch"])
    if number is not None:
        made.append(b"AUDIT_FIELD_ARCH_NR=%x" % number)
    return made


def _type(made: list[bytes], more: dict[bytes, None], event: Event, user: UserName) -> None:
    row = event.event
    assert row is not None
    fields = row["fields"] or {}
    kind = kinds.kind_of_type(row["type"])
    priority = kinds.priority_of_type(kind, row["type"], fields)
    made += head(kind, priority, message_of_type(event, user))
    made += [
        name + _bytes(value) for column, name in _EVENT_TEXT if (value := row[column]) is not None
    ]
    if row["fields"] is not None:
        made.append(b"AUDITSVC_FIELDS=" + _json(fields))
    _user_names(made, row, user)
    more[b"AUDIT_TYPE_NAME=" + _bytes(row["type"])] = None
    more.update(_each(fields))


def _user_names(made: list[bytes], row: Mapping[str, Any], user: UserName) -> None:
    for column, start in _USERS:
        number = row.get(column)
        if number is not None and (name := user(number)):
            made.append(start + name.encode())


Made = tuple[str, dict[bytes, None]]
"""A row as JSON, and its values as fields."""


def _rows(
    made: list[bytes],
    more: dict[bytes, None],
    name: bytes,
    rows: Sequence[dict[str, Any]],
    make: Callable[[tuple[tuple[str, Any], ...]], Made],
) -> None:
    texts = []
    for row in rows:
        text, fields = make(tuple(row.items()))
        texts.append(text)
        more.update(fields)
    made.append(name + f"[{','.join(texts)}]".encode())


@lru_cache(4096)
def _path(items: tuple[tuple[str, Any], ...]) -> Made:
    return _columns(dict(items), _PATH_TEXT)


@lru_cache(256)
def _address(items: tuple[tuple[str, Any], ...]) -> Made:
    return _columns(dict(items), _ADDRESS_TEXT)


def _columns(row: Mapping[str, Any], starts: Iterable[tuple[str, bytes]]) -> Made:
    found = ((start, row[column]) for column, start in starts)
    return _encode(row), {
        start + _bytes(value): None for start, value in found if value is not None
    }


def _records(
    made: list[bytes], more: dict[bytes, None], records: Sequence[Mapping[str, Any]]
) -> None:
    texts = []
    for record in records:
        fields = record["fields"] or {}
        if record["type"] == "PATH":  # what of a file has no column: small, and often the same
            text, found = _path_record(record["seq"], tuple(fields.items()))
        else:
            text, found = _encode(record), _each(fields)
            more[b"AUDIT_TYPE_NAME=" + _bytes(record["type"])] = None
        texts.append(text)
        more.update(found)
    made.append(f"AUDITSVC_RECORDS=[{','.join(texts)}]".encode())


def _path_record(seq: int, items: tuple[tuple[str, Any], ...]) -> Made:
    try:
        return _known_path_record(seq, items)
    except TypeError:  # a field that came twice is a list
        return _known_path_record.__wrapped__(seq, items)


@lru_cache(1024)
def _known_path_record(seq: int, items: tuple[tuple[str, Any], ...]) -> Made:
    fields = dict(items)
    return _encode({"seq": seq, "type": "PATH", "fields": fields}), _each(fields)


def _each(fields: Mapping[str, Any]) -> dict[bytes, None]:
    made: dict[bytes, None] = {}
    for name, value in fields.items():
        start = field_name(name)
        if start in _OURS:
            continue
        for each in value if isinstance(value, list) else (value,):
            if each is not None:
                made[start + _bytes(each)] = None
    return made


@lru_cache(4096)
def field_name(name: str) -> bytes:
    """Give the journal's name of a record's field, with its `=`; names may be anything."""
    return (_PREFIX + _NOT_A_NAME.sub("_", name.upper()))[:_NAME_MOST].encode() + b"="


def _object_pid(event: Event) -> int | None:
    """Give the one other process that a call acted on, if it is one."""
    pids = {
        record["fields"].get("opid")
        for record in event.records
        if record["type"] == "OBJ_PID" and record["fields"]
    }
    pid = pids.pop() if len(pids) == 1 else None
    return int(pid) if isinstance(pid, str) and pid.isdecimal() and int(pid) > 0 else None


def _limited(made: list[bytes], more: list[bytes]) -> list[bytes]:
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
