r"""The grammar of a log line, for writing lines (the spool) and for reading them.

A line is one record, as auditd writes it:

    [node=NAME ]type=TYPE msg=audit(SECOND.MMM:SERIAL): BODY

NAME may contain spaces and has at most 255 bytes; it ends before the first ` type=`. TYPE is
a name of at most 64 letters, a number, or UNKNOWN[number]. Also read: lines that the kernel
printed (dmesg, a syslog file),

    [Mon DD hh:mm:ss HOST kernel: ][[seconds] ]audit: type=NUMBER audit(SECOND.MMM:SERIAL): BODY

and msg='audit(...): BODY'. A CR at the end is not part of the line.

A record's text is untrusted (USER_* messages) and may contain newlines and other control
bytes. Such a line is written with every byte below 0x20, 0x7f and the backslash as \xHH
(upper-case hex) and ends with 0x1d `ESCAPED=1`; a line without control bytes is written
unchanged. So no text can forge a line, and the reader restores every byte.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

ESCAPED: Final = b"\x1dESCAPED=1"
"""Ends a line whose body is escaped. A body that contains 0x1d is escaped, so it cannot end so."""

# audit_serial() is an unsigned int; ids hold 33 bits of the second.
MAX_SERIAL: Final = (1 << 32) - 1
MAX_SECOND: Final = (1 << 33) - 1

STAMP: Final = rb"audit\((([0-9]{1,10})\.([0-9]{3}):([0-9]{1,10}))\)"
"""Pattern of the part that all records of an event share; groups: all, second, millisecond,
serial."""

_LINE: Final = re.compile(
    rb"(?:node=((?:(?! type=).){0,255}) )?"
    rb"type=([A-Z][A-Z0-9_]{0,63}(?:\[[0-9]{1,10}\])?|[0-9]{1,10}) msg=('?)"
    + STAMP
    + rb":(?: (.*))?",
    re.DOTALL,
)
_PRINTK: Final = re.compile(
    rb"(?:(?:[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}|[0-9]{4}-[-0-9T:.+Z]+) [^ ]+ kernel: )?"
    rb"(?:\[ *[0-9]+\.[0-9]+\] )?audit: type=([0-9]{1,10}) " + STAMP + rb":(?: (.*))?",
    re.DOTALL,
)
_SPECIAL: Final = re.compile(rb"[\x00-\x1f\x7f\\]")
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
_ESCAPE: Final = re.compile(rb"\\x([0-9A-F]{2})")


class Line(NamedTuple):
    """The parts of a record's line. `stamp` is `SECOND.MMM:SERIAL` as written in the line."""

    node: bytes | None
    type_name: bytes
    stamp: bytes
    second: int
    ms: int
    serial: int
    body: bytes


def escape(text: bytes) -> bytes:
    r"""Write control bytes and backslashes as \xHH."""
    return _SPECIAL.sub(lambda match: b"\\x%02X" % match[0][0], text)


def unescape(text: bytes) -> bytes:
    r"""Undo `escape`; a backslash that does not begin \xHH is unchanged."""
    return _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), text)


def untrusted(text: bytes) -> str:
    """Write untrusted text as the kernel does (audit_log_n_untrustedstring): quoted or hex."""
    plain = all(0x21 <= byte <= 0x7E and byte != 0x22 for byte in text)
    return f'"{text.decode("ascii")}"' if plain else text.hex().upper()


def format_line(type_name: bytes | str, payload: bytes) -> bytes:
    """Write the line, without newline, of a record as the kernel sends it.

    `payload` begins with `audit(SECOND.MMM:SERIAL): `; NULs and newlines at its end are
    the sender's terminator and are removed.
    """
    name = type_name.encode() if isinstance(type_name, str) else type_name
    text = payload.rstrip(b"\0\n")
    if _CONTROL.search(text):
        text = escape(text) + ESCAPED
    return b"type=%b msg=%b" % (name, text)


def parse_line(line: bytes) -> Line | str:
    """Parse a line (without newline); for a line that is not a record, gives the reason."""
    line = line.removesuffix(b"\r")
    if match := _LINE.fullmatch(line):
        node, type_name, quote, stamp, second, ms, serial, body = match.groups()
    elif match := _PRINTK.fullmatch(line):
        type_name, stamp, second, ms, serial, body = match.groups()
        node, quote = None, b""
    else:
        return "not a record"
    when, number = int(second), int(serial)
    if when > MAX_SECOND:
        return "time out of range"
    if number > MAX_SERIAL:
        return "serial out of range"
    body = body or b""
    if body.endswith(ESCAPED):
        body = unescape(body.removesuffix(ESCAPED))
    if quote:
        body = body.removesuffix(b"'")
    return Line(node, type_name, stamp, when, int(ms), number, body)
