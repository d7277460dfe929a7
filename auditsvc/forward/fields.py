"""A whole event -> the fields of one journal entry. Pure.

In: `store.read.events.Event`. Out: the entry's datagram (see `wire`), or a list of its fields
as sd_journal_sendv(3) takes them: `FIELD=value`, where a value is any bytes. What must hold:

* Every column of every row of the event can be read back from the entry. A column of
  `syscalls` or `events` is the field in CALL_FIELDS or EVENT_FIELDS; NULL is no field.
  Lists are JSON, in AUDITSVC_ARGV, _PATHS, _SOCKADDRS, _RECORDS and _FIELDS.
* For searching, each value of those lists is also a field of its own, repeated if there
  are several: journald keeps the values of a repeated field as a set, without order,
  therefore the JSON is needed too.
* Names are journald's: AUDIT_FIELD_ and the kernel's name in capitals, `-` as `_`
  (map_generic_field in journald-audit.c). Its own `_AUDIT_...` only journald may write.
* journald drops an entry of more than 1024 fields, and a field whose name is longer than
  64 or not of [A-Z0-9_]; sd_journal_sendv refuses (EINVAL) what needs more than IOV_MAX
  pieces, and it makes 2 of a field, 5 of one with a newline. So none of these is made
  here. Where the limit is reached, repeated fields are left out, and AUDITSVC_LEFT_OUT
  has their number.

Raw values have the kernel's names, and their meaning has its own field, as in
AUDIT_FIELD_EXIT=-13 with AUDIT_FIELD_EXIT_NAME=EACCES. Arch and syscall are different, as
people search for their names: their numbers are in ..._NR.

What many events share (a `store.read.events.Row`) is made once.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auditsvc.enrich import kinds
from auditsvc.enrich.message import caller, message_of_call, message_of_type
from auditsvc.forward.wire import fields, framed
from auditsvc.store.read.events import Row
from auditsvc.store.views import CONTEXT_IDS
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from auditsvc.enrich.message import UserName
    from auditsvc.store.read.events import Call, Event

IDENTIFIER: Final = "auditsvc"
FACILITY: Final = 13
"""`log audit` of RFC 5424, section 6.2.1."""

MOST_PIECES: Final = 1000
"""Below IOV_MAX, 1024, with room for what the sender adds."""

_FEW: Final = 64
"""So many more fields always fit into an entry: the others are fewer than 128."""

_CALL_TYPE: Final = b"AUDIT_TYPE_NAME=SYSCALL\n"
_LARGE, _LONG = 32 << 10, 4 << 10  # bytes

_COMMON: Final = {
    "event_id": "AUDITSVC_EVENT_ID",
    "host": "AUDITSVC_HOST",
    "time": "AUDITSVC_TIME",
    "serial": "AUDITSVC_SERIAL",
}
_OWN: Final = ("a0", "a1", "a2", "a3", "exit", "items")
_TEXTS: Final = ("tty", "ses", "comm", "exe", "subj", "key", "cwd", "proctitle")
CALL_FIELDS: Final[Mapping[str, str]] = _COMMON | {
    "arch": "AUDIT_FIELD_ARCH",
    "syscall": "AUDIT_FIELD_SYSCALL",
    "nr": "AUDIT_FIELD_SYSCALL_NR",
    "success": "AUDIT_FIELD_SUCCESS",
    "state": "AUDITSVC_STATE",
    "argv": "AUDITSVC_ARGV",
    **{name: f"AUDIT_FIELD_{name.upper()}" for name in (*_OWN, *CONTEXT_IDS, *_TEXTS)},
}
"""Field of the entry for each column of the view `syscalls`.

With several keys, AUDIT_FIELD_KEY is repeated, and AUDITSVC_KEYS has the column's value.
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
"""Fields with one value in an entry: fields of further records are not added to them."""

_KEY_SEPARATOR: Final = ","  # as the column `key` shows it
_NOT_A_NAME: Final = re.compile("[^A-Z0-9_]")
_PREFIX: Final = "AUDIT_FIELD_"
_PID: Final = re.compile("[1-9][0-9]{0,8}")
_NAME_MOST: Final = 64  # journal_field_valid in systemd's journal-file-util.c


def _starts(fields: Mapping[str, str]) -> tuple[tuple[str, bytes], ...]:
    return tuple((column, field.encode() + b"=") for column, field in fields.items())


_CONTEXT: Final = ("host", "arch", *CONTEXT_IDS, *_TEXTS)
_OWN_TEXT: Final = "".join(
    f"{CALL_FIELDS[column]}={form}\n"
    for column, form in {
        "event_id": "%d",
        "time": "%s.%03d",
        "serial": "%d",
        "nr": "%d",
        **{f"a{place}": "%x" for place in range(4)},
        "state": "%s",
        "items": "%d",
    }.items()
)
_UNSIGNED: Final = (1 << 64) - 1
_EVENT_TEXT: Final = _starts({c: field for c, field in EVENT_FIELDS.items() if c != "fields"})
_FILE: Final = ("name", "nametype", "inode", "dev", "mode", "ouid", "ogid", "rdev", "obj")
_PATH_TEXT: Final = _starts({name: f"{_PREFIX}{name.upper()}" for name in _FILE})
_ADDRESS: Final = ("family", "address", "port", "path")
_ADDRESS_TEXT: Final = _starts({name: f"{_PREFIX}SADDR_{name.upper()}" for name in _ADDRESS})
_USERS: Final = tuple(
    (name, f"{_PREFIX}{name.upper()}_NAME=".encode()) for name in ("auid", "uid", "euid")
)
_HEADS: Final = {
    (kind.name, priority): (
        f"PRIORITY={priority}\nMESSAGE_ID={kind.message_id}\n"
        f"SYSLOG_FACILITY={FACILITY}\nSYSLOG_IDENTIFIER={IDENTIFIER}\n"
    ).encode()
    for kind in kinds.KINDS
    for priority in (kinds.ERR, kinds.WARNING, kinds.NOTICE, kinds.INFO)
}


def head(kind: kinds.Kind, priority: int, message: str) -> bytes:
    """Give the framed fields with which each of our entries begins."""
    text = b"MESSAGE=" + message.encode(errors="replace")
    return framed(text) + _HEADS[kind.name, priority]


def entry(event: Event, user: UserName, *, object_pid: bool = False) -> list[bytes]:
    """Give the fields of an event's entry; as for `datagram`."""
    return fields(datagram(event, user, object_pid=object_pid))


def datagram(event: Event, user: UserName, *, object_pid: bool = False) -> bytes:
    """Give an event's entry.

    `user` gives names for uids of the event's host. `object_pid` asks for OBJECT_PID, to
    which journald adds facts of the current process: only for a fresh event of this host.
    """
    parts: list[bytes] = []
    more: dict[bytes, None] = {}
    if event.call is not None:
        _call(parts, more, event, event.call, user)
    elif event.event is not None:
        _type(parts, more, event, event.event, user)
    if event.paths or event.sockaddrs or event.records:
        attached = _attached(event)
        parts.append(attached.block)
        if object_pid and (pid := _object_pid(event)):
            parts.append(b"OBJECT_PID=%d\n" % pid)
        if not more and attached.joined is not None:
            parts.append(attached.joined)
        else:
            more.update(attached.more)
    if more:
        parts += more if len(more) <= _FEW else _limited(parts, list(more))
    return b"".join(parts)


def shortened(fields: Sequence[bytes]) -> list[bytes]:
    """Leave out the long fields of an entry that is too large for the journal."""
    if sum(map(len, fields)) <= _LARGE:
        return list(fields)
    kept = [each for each in fields if len(each) <= _LONG]
    return [*kept, b"AUDITSVC_LEFT_OUT=%d" % (len(fields) - len(kept))]


def _call(
    parts: list[bytes], more: dict[bytes, None], event: Event, call: Call, user: UserName
) -> None:
    context = call.context
    auid, uid, euid = context["auid"], context["uid"], context["euid"]
    known = _caller(
        context,
        None if auid is None else user(auid),
        None if uid is None else user(uid),
        None if euid is None else user(euid),
    )
    event_id, ms, serial, nr, a0, a1, a2, a3, success, code, _, items, name, argv, _ = call
    kind = kinds.kind_of_call(name)
    text = _OWN_TEXT % (
        event_id,
        call.second(),
        ms,
        serial,
        nr,
        a0 & _UNSIGNED,
        a1 & _UNSIGNED,
        a2 & _UNSIGNED,
        a3 & _UNSIGNED,
        call.state_name(),
        items,
    )
    if name is not None:
        text += f"AUDIT_FIELD_SYSCALL={name}\n"
    if code is not None:
        text += f"AUDIT_FIELD_EXIT={code}\n"
    if success is not None:
        text += "AUDIT_FIELD_SUCCESS=yes\n" if success else _failed(code)
    priority = kinds.priority_of_call(kind, success, code)
    parts.append(head(kind, priority, message_of_call(event, known.begin)))
    parts += (text.encode(), known.block)
    if known.keys:
        more.update(known.keys)
    if argv is not None:
        parts.append(b"AUDITSVC_ARGV=" + _json(argv) + b"\n")
        more.update(dict.fromkeys(framed(b"AUDIT_FIELD_ARGV=" + _bytes(word)) for word in argv))


@lru_cache(256)
def _failed(code: int | None) -> str:
    error = names.errno_name(-(code or 0))
    return "AUDIT_FIELD_SUCCESS=no\n" + (f"AUDIT_FIELD_EXIT_NAME={error}\n" if error else "")


class _Caller(NamedTuple):
    """The common part of the calls of one context."""

    begin: str
    block: bytes
    keys: dict[bytes, None]
    """Each of several keys."""


@lru_cache(4096)
def _caller(context: Row, auid: str | None, uid: str | None, euid: str | None) -> _Caller:
    """Make the common part of a context's calls; its users' names are given."""
    users = {context["auid"]: auid, context["uid"]: uid, context["euid"]: euid}
    parts = [
        framed(CALL_FIELDS[column].encode() + b"=" + _bytes(context[column]))
        for column in _CONTEXT
        if column != "key" and context[column] is not None
    ]
    keys: dict[bytes, None] = {}
    if (key := context["key"]) is not None:
        several = _KEY_SEPARATOR in key
        name = b"AUDITSVC_KEYS=" if several else b"AUDIT_FIELD_KEY="
        parts.append(framed(name + key.encode()))
        if several:
            each = key.split(_KEY_SEPARATOR)
            keys = dict.fromkeys(framed(b"AUDIT_FIELD_KEY=" + one.encode()) for one in each)
    number = None if context["arch"] is None else names.arch_number(context["arch"])
    if number is not None:
        parts.append(b"AUDIT_FIELD_ARCH_NR=%x\n" % number)
    _user_names(parts, context, users.get)
    parts.append(_CALL_TYPE)
    return _Caller(caller(context, users.get), b"".join(parts), keys)


def _type(
    parts: list[bytes],
    more: dict[bytes, None],
    event: Event,
    row: Mapping[str, Any],
    user: UserName,
) -> None:
    values = row["fields"] or {}
    kind = kinds.kind_of_type(row["type"])
    priority = kinds.priority_of_type(kind, row["type"], values)
    parts.append(head(kind, priority, message_of_type(event, user)))
    parts += [
        framed(name + _bytes(value))
        for column, name in _EVENT_TEXT
        if (value := row[column]) is not None
    ]
    if row["fields"] is not None:
        parts.append(b"AUDITSVC_FIELDS=" + _json(values) + b"\n")
    _user_names(parts, row, user)
    more[framed(b"AUDIT_TYPE_NAME=" + _bytes(row["type"]))] = None
    more.update(_each(values))


def _user_names(parts: list[bytes], row: Mapping[str, Any], user: UserName) -> None:
    for column, start in _USERS:
        number = row.get(column)
        if number is not None and (name := user(number)):
            parts.append(framed(start + name.encode()))


class _Attached(NamedTuple):
    """The rows that belong to an event: their JSON, and their values as fields."""

    block: bytes
    more: dict[bytes, None]
    joined: bytes | None
    """The same as `more`, if there are few."""


def _attached(event: Event) -> _Attached:
    has_call = event.call is not None
    rows = tuple(event.paths), tuple(event.sockaddrs), tuple(event.records)
    try:
        return _shared(has_call, *rows)
    except TypeError:  # a row that only this event has cannot be a key
        return _shared.__wrapped__(has_call, *rows)


@lru_cache(4096)
def _shared(
    has_call: bool,
    paths: tuple[Mapping[str, Any], ...],
    sockaddrs: tuple[Mapping[str, Any], ...],
    records: tuple[Mapping[str, Any], ...],
) -> _Attached:
    block = b""
    more: dict[bytes, None] = {}
    for name, rows, make in (
        (b"AUDITSVC_PATHS=", paths, _path),
        (b"AUDITSVC_SOCKADDRS=", sockaddrs, _address),
        (b"AUDITSVC_RECORDS=", records, _record),
    ):
        if rows:
            parts = [make(row) if row.__class__ is Row else make.__wrapped__(row) for row in rows]
            block += b"%b[%b]\n" % (name, b",".join([text for text, _ in parts]))
            for _, found in parts:
                more.update(found)
    if has_call:
        more.pop(_CALL_TYPE, None)  # it is there already
    return _Attached(block, more, b"".join(more) if len(more) <= _FEW else None)


_RowFields = tuple[bytes, dict[bytes, None]]
"""A row as JSON, and its values as fields."""


@lru_cache(4096)
def _path(row: Mapping[str, Any]) -> _RowFields:
    return _json(row), {b"AUDIT_TYPE_NAME=PATH\n": None} | _columns(row, _PATH_TEXT)


@lru_cache(1024)
def _address(row: Mapping[str, Any]) -> _RowFields:
    return _json(row), _columns(row, _ADDRESS_TEXT)


@lru_cache(1024)
def _record(row: Mapping[str, Any]) -> _RowFields:
    kind = framed(b"AUDIT_TYPE_NAME=" + _bytes(row["type"]))
    return _json(row), {kind: None} | _each(row["fields"] or {})


def _columns(row: Mapping[str, Any], starts: Iterable[tuple[str, bytes]]) -> dict[bytes, None]:
    return {
        framed(start + _bytes(value)): None
        for column, start in starts
        if (value := row[column]) is not None
    }


def _each(fields: Mapping[str, Any]) -> dict[bytes, None]:
    parts: dict[bytes, None] = {}
    for name, value in fields.items():
        start = field_name(name)
        if start in _OURS:
            continue
        for each in value if isinstance(value, list) else (value,):
            if each is not None:
                parts[framed(start + _bytes(each))] = None
    return parts


@lru_cache(4096)
def field_name(name: str) -> bytes:
    """Give the journal's name of a record's field, with its `=`; names may be anything."""
    return (_PREFIX + _NOT_A_NAME.sub("_", name.upper()))[:_NAME_MOST].encode() + b"="


def _object_pid(event: Event) -> int | None:
    """Give the other process that a call acted on, if there is exactly one."""
    pids = {
        record["fields"].get("opid")
        for record in event.records
        if record["type"] == "OBJ_PID" and record["fields"]
    }
    pid = pids.pop() if len(pids) == 1 else None
    return int(pid) if isinstance(pid, str) and _PID.fullmatch(pid) else None


def _limited(parts: list[bytes], more: list[bytes]) -> list[bytes]:
    """Give as many of the framed fields `more` as fit into the entry."""
    room = MOST_PIECES - sum(map(_pieces, fields(b"".join(parts))))
    for kept, each in enumerate(more):
        room -= 5 if each.count(b"\n") > 1 else 2
        if room < 0:
            return [*more[:kept], b"AUDITSVC_LEFT_OUT=%d\n" % (len(more) - kept)]
    return more


def _pieces(each: bytes) -> int:
    return 5 if b"\n" in each else 2


def _bytes(value: object) -> bytes:
    return value.encode() if isinstance(value, str) else str(value).encode()


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _json(value: object) -> bytes:
    return _encode(value).encode()
