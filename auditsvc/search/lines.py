r"""Records -> lines of a log, as auditd writes them.

A line is made again of a record's fields, with the quotes and the hex of the kernel's and
libaudit's own functions, so that the same fields are read from it. What follows auditd's
separator (names for ids) stands there again. The bytes of a text that the store shows in
another way (a key with several parts, a title, bytes that are no text) are looked up.
"""

from __future__ import annotations

import re
from json.encoder import encode_basestring as encode_text
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, literal_column, select

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.record import types
from auditsvc.record.fields import ENRICHED, is_encoded
from auditsvc.record.line import ESCAPED, format_line, untrusted
from auditsvc.search.records import halves
from auditsvc.store.schema import HEAD, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from auditsvc.search.records import Record, Value
    from auditsvc.store.read.events import Event

SEPARATOR: Final = b"\x1d"
"""auditd's, before the names that it adds."""

_ENRICHED: Final = re.compile(ENRICHED.decode())
_OTHERWISE: Final = re.compile(r"\\x[0-9A-F]{2}")
_ALWAYS: Final = ("proctitle",)
_LABELS: Final = re.compile(r"(?:subj|obj)(?:_[a-z]+)?")
_AVCS: Final = (types.AVC, types.USER_AVC)
_NUMBER: Final = re.compile(rb"-?[0-9]+")
_UNQUOTED: Final = ("ARCH", "SYSCALL")
_MOST: Final = 4096


class Bytes:
    """The bytes of texts that are shown in another way; caches what it has looked up."""

    def __init__(self) -> None:
        self._known: dict[str, bytes | None] = {}

    def look_up(self, connection: Connection | None, records: Iterable[Record]) -> None:
        """Read the bytes of all values of these records that need it.

        Without a connection none is known: texts are written as they are shown.
        """
        if connection is None:
            return
        if len(self._known) > _MOST:
            self._known.clear()
        wanted = {
            value
            for record in records
            for name, value in _looked_up(record)
            if value not in self._known and _may_differ(name, value)
        }
        if not wanted:
            return
        self._known.update(dict.fromkeys(wanted))
        values = list(wanted)
        rows = select(text.c.value, text.c.raw).where(
            text.c.raw.is_not(None), text.c.value.in_(bindparam("values", expanding=True))
        )
        given: dict[str, list[str]] = {"values": values}
        if connection.dialect.name == "sqlite":  # its index has the beginnings
            rows = rows.where(literal_column("head").in_(bindparam("heads", expanding=True)))
            given["heads"] = [value[:HEAD] for value in values]
        for value, raw in connection.execute(rows, given):
            self._known[value] = bytes(raw)

    def of(self, name: str, value: str) -> bytes:
        """Give the bytes of a value."""
        if _may_differ(name, value):
            known = self._known.get(value)
            if known is not None:
                return known
        return value.encode(errors="surrogateescape")

    def arguments(self, record: Record) -> list[bytes] | None:
        """Give the bytes of the arguments of an EXECVE, if their text is not exact."""
        known = self._known.get(_arguments_text(record) or "")
        return None if known is None else known.split(b"\0")


def _looked_up(record: Record) -> Iterator[tuple[str, str]]:
    if record.number == types.EXECVE:
        text = _arguments_text(record)
        if text is not None:
            yield "argv", text
        return
    for name, value in record.fields:
        if value is not None:
            yield name, value


def _arguments_text(record: Record) -> str | None:
    """Give the list of arguments as the store has it, if a byte may be shown in another way."""
    if record.number != types.EXECVE or not record.fields or record.fields[0][0] != "argc":
        return None
    values = [value or "" for _, value in record.fields[1:]]
    if not any("\\x" in value or "?" in value for value in values):
        return None
    return f"[{','.join(map(encode_text, values))}]"


def _may_differ(name: str, value: str) -> bool:
    if name == "argv":
        return True
    if name in _ALWAYS:
        return " " in value or _OTHERWISE.search(value) is not None
    return (name == "key" and "," in value) or _OTHERWISE.search(value) is not None


def lines_of(
    event: Event, records: Sequence[Record], known: Bytes, *, node: bool = False
) -> Iterator[bytes]:
    """Give the lines (no newline) of an event's records, in their order."""
    second, ms, serial = identity(event)
    prefix = b"node=%b " % (event.host or "").encode(errors="replace") if node else b""
    for record in records:
        plain, enriched = body_of(record, known)
        payload = b"audit(%d.%03d:%d): %b" % (second, ms, serial, plain)
        line = format_line(record.type, payload)
        if enriched and line.endswith(ESCAPED):
            line = format_line(record.type, payload + SEPARATOR + enriched)
        elif enriched:
            line += SEPARATOR + enriched
        yield prefix + line


def identity(event: Event) -> tuple[int, int, int]:
    """Give second, millisecond and serial."""
    second = event.id >> SERIAL_BITS
    if event.call is not None:
        return second, event.call.ms, event.call.serial
    assert event.event is not None
    return second, int(event.event["time"][-3:]), event.event["serial"]


def body_of(record: Record, known: Bytes) -> tuple[bytes, bytes]:
    """Give a record's text, and the names that stand behind auditd's separator."""
    own = [pair for pair in record.fields if not _is_enriched(*pair)]
    enriched = [pair for pair in record.fields if _is_enriched(*pair)]
    words = [known.of("_", value) for name, value in own if name == "_" and value]
    own = [pair for pair in own if pair[0] != "_"]
    if record.number in _AVCS and own and own[0][0] == "seresult":
        words.append(_verdict(own))
        own = [pair for pair in own if pair[0] not in ("seresult", "seperms")]
    parts = _fields(record, own, known)
    if record.number in types.CALLS:  # its fields begin with the machine
        parts += words
    elif (of := halves(record.number, own)) is None:
        parts = words + parts
    else:
        kernels, programs = ([parts[place] for place in half] for half in of)
        said = words + programs
        parts = kernels + ([b"msg='" + b" ".join(said) + b"'"] if said else [])
    return b" ".join(parts), b" ".join(_enriched(*pair, known) for pair in enriched)


def _fields(record: Record, fields: Sequence[tuple[str, Value]], known: Bytes) -> list[bytes]:
    arguments = known.arguments(record)
    if arguments is not None and len(arguments) == len(fields) - 1:
        argc = _field(record.number, *fields[0], known)
        return [argc, *(b"a%d=%b" % (n, _untrusted(each)) for n, each in enumerate(arguments))]
    if any(name == "apparmor" for name, _ in fields):
        return [_of_apparmor(record.number, *pair, known) for pair in fields]
    return [_field(record.number, *pair, known) for pair in fields]


def _of_apparmor(record_type: int, name: str, value: Value, known: Bytes) -> bytes:
    """Write a field of AppArmor's, whose words stand in quotes."""
    plain = _field(record_type, name, value, known)
    label, _, data = plain.partition(b"=")
    is_word = value is not None and not is_encoded(record_type, label) and b'"' not in data
    return b'%b="%b"' % (label, data) if is_word and not _NUMBER.fullmatch(data) else plain


def _is_enriched(name: str, value: Value) -> bool:
    return value is not None and _ENRICHED.fullmatch(name) is not None


def _enriched(name: str, value: Value, known: Bytes) -> bytes:
    data = known.of(name, value or "")
    bare = name in _UNQUOTED or data.startswith(b"{")
    return b"%b=%b" % (name.encode(), data if bare else b'"%b"' % data)


def _verdict(fields: Sequence[tuple[str, Value]]) -> bytes:
    of = dict(fields)
    perms = (of.get("seperms") or "").replace(",", " ")
    return f"avc:  {of['seresult']}  {{ {perms} }} for ".encode()


def _untrusted(data: bytes) -> bytes:
    return untrusted(data).encode()


def _field(record_type: int, name: str, value: Value, known: Bytes) -> bytes:
    label = name.encode(errors="surrogateescape")
    if value is None:
        return label + b"=(null)"
    data = known.of(name, value)
    if is_encoded(record_type, label) and not (name == "exe" and data == b"?"):
        return b"%b=%b" % (label, _untrusted(data))
    is_plain = b" " not in data or data.startswith(b"{ ") or _LABELS.fullmatch(name)
    return b"%b=%b" % (label, data if is_plain or b'"' in data else b'"%b"' % data)
