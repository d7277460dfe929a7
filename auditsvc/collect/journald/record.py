"""An audit entry of journald -> the record's line, byte for byte as in a log.

journald (process_audit_string in src/journal/journald-audit.c) takes a record

    audit(SECOND.MMM:SERIAL): BODY

apart into these fields, from which the line is made again:

    _AUDIT_TYPE                  number of the type
    _AUDIT_ID                    SERIAL
    _SOURCE_REALTIME_TIMESTAMP   SECOND and MMM, in microseconds
    MESSAGE                      name of the type, a space, BODY

White space before BODY is not kept: of the kernel's records only EXECVE has some, where
one continues another (audit_log_execve_info). journald drops a record without a BODY
(EOE), with a NUL in it, or of a type below 1100 other than USER (LOGIN).

No I/O. An entry of another form becomes a line that the decoder keeps raw, never a record.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from auditsvc.record.line import escape, format_line
from auditsvc.tables.names import record_type_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    Value = bytes | list[bytes]
    """A field's value, or its values in order where it is repeated."""

TRANSPORT: Final = "_TRANSPORT=audit"
"""Match for audit entries. Fields with `_` are journald's own: no program can send them."""

_FIELDS: Final = ("_HOSTNAME", "_AUDIT_TYPE", "_AUDIT_ID", "_SOURCE_REALTIME_TIMESTAMP", "MESSAGE")
_NUMBERS: Final = re.compile(rb"[0-9]{1,10} [0-9]{1,10} [0-9]{7,17}")
_MOST: Final = 1 << 16
"""Bytes of a MESSAGE; the kernel's records have at most 8970 (MAX_AUDIT_MESSAGE_LENGTH)."""
_EXECVE: Final = b"1309"
_UNSAFE: Final = re.compile(rb"[^!-\[\]-~]")


class Lines:
    """Makes lines from the journal of one machine or of several."""

    def __init__(self, machine_id: bytes, host: bytes) -> None:
        """Entries of this machine or host get no `node=`; all others do."""
        self._machine_id = machine_id
        self._host = host
        self._names: dict[bytes, bytes] = {}
        """Names of record types by their digits."""

    def line(self, entry: Mapping[str, Value]) -> bytes:
        """Give the line, with its newline."""
        kind, serial = entry.get("_AUDIT_TYPE"), entry.get("_AUDIT_ID")
        time, message = entry.get("_SOURCE_REALTIME_TIMESTAMP"), entry.get("MESSAGE")
        if not (
            isinstance(kind, bytes)
            and isinstance(serial, bytes)
            and isinstance(time, bytes)
            and isinstance(message, bytes)
            and len(message) <= _MOST
            and _NUMBERS.fullmatch(b"%b %b %b" % (kind, serial, time))
        ):
            return _raw(entry)
        name = self._names.get(kind)
        if name is None:
            name = self._names[kind] = record_type_name(int(kind)).encode()
        _, space, body = message.partition(b" ")
        if not space:
            return _raw(entry)
        if kind == _EXECVE and not body.startswith(b"argc="):
            body = b" " + body
        # The last three digits are 000: the kernel's time has milliseconds.
        payload = b"audit(%b.%b:%b): %b" % (time[:-6], time[-6:-3], serial, body)
        return self._node(entry) + format_line(name, payload) + b"\n"

    def _node(self, entry: Mapping[str, Value]) -> bytes:
        host = entry.get("_HOSTNAME")
        if entry.get("_MACHINE_ID") == self._machine_id or host == self._host or not host:
            return b""
        name = host if isinstance(host, bytes) else host[0]
        # A name with a space or a newline must not look like the beginning of a record.
        return b"node=%b " % _UNSAFE.sub(lambda match: b"\\x%02X" % match[0][0], name)


def _raw(entry: Mapping[str, Value]) -> bytes:
    """Make a raw line of an entry that is no record."""
    parts = []
    for name in _FIELDS:
        values = entry.get(name, [])
        several = [values] if isinstance(values, bytes) else values
        parts += [b"%b=%b" % (name.encode(), escape(value[:_MOST])) for value in several]
    return b"journal entry: %b\n" % b" ".join(parts)
