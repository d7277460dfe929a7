r"""The grammar of a log line, shared by who writes lines (the spool) and who reads them.

A line is one record, as auditd writes it:

    [node=NAME ]type=TYPE msg=audit(SECOND.MMM:SERIAL): BODY

NAME may hold spaces, and at most 255 bytes: it ends before the first ` type=`. TYPE is a
name of at most 64 letters, a number or UNKNOWN[number]. Also read: the kernel's own
printing (dmesg, a syslog file),

    [Mon DD hh:mm:ss HOST kernel: ][[seconds] ]audit: type=NUMBER audit(SECOND.MMM:SERIAL): BODY

and msg='audit(...): BODY'. A CR at the end is no part of the line.

A record's text comes from outside (USER_* messages), so it may hold newlines
and other control bytes. Such a line is written with every byte below 0x20, 0x7f
and the backslash as \xHH (upper-case hex) and ends with 0x1d `ESCAPED=1`; a line
without control bytes is written as it is. So no text can begin a line of its own,
and the reader gets every byte back.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

ESCAPED: Final = b"\x1dESCAPED=1"
"""Ends a line whose body is escaped; a body that held 0x1d itself is escaped, so it is ours."""

FOREIGN: Final = b"FOREIGN"
"""Name of the field at the end of a DAEMON_* line in the spool that we did not write: it was
handed to us on standard input, and does not speak for this host."""

# audit_serial() is an unsigned int; ids keep 33 bits of the second.
MAX_SERIAL: Final = (1 << 32) - 1
MAX_SECOND: Final = (1 << 33) - 1

STAMP: Final = rb"audit\((([0-9]{1,10})\.([0-9]{3}):([0-9]{1,10}))\)"
"""Pattern of what all records of an event share: the whole, second, millisecond, serial."""

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
    """A record's line, taken apart. `stamp` is `SECOND.MMM:SERIAL` as it stood there.

    `is_printk`: it stood there as the kernel prints it. Any program can write such a line
    into the kernel's log or a syslog file.
    """

    node: bytes | None
    type_name: bytes
    stamp: bytes
    second: int
    ms: int
    serial: int
    body: bytes
    is_printk: bool = False


def escape(text: bytes) -> bytes:
    r"""Write control bytes and backslashes as \xHH."""
    return _SPECIAL.sub(lambda match: b"\\x%02X" % match[0][0], text)


def unescape(text: bytes) -> bytes:
    r"""Undo `escape`; a backslash that does not begin \xHH stays as it is."""
    return _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), text)


def untrusted(text: bytes) -> str:
    """Write text from outside as the kernel does (audit_log_n_untrustedstring): quoted or hex."""
    plain = all(0x21 <= byte <= 0x7E and byte != 0x22 for byte in text)
    return f'"{text.decode("ascii")}"' if plain else text.hex().upper()


def format_line(type_name: bytes | str, payload: bytes) -> bytes:
    """Write the line, without newline, of a record as the kernel sends it.

    `payload` begins with `audit(SECOND.MMM:SERIAL): `; NULs and newlines at its
    end are the sender's terminator and are left out.
    """
    name = type_name.encode() if isinstance(type_name, str) else type_name
    text = payload.rstrip(b"\0\n")
    if _CONTROL.search(text):
        text = escape(text) + ESCAPED
    return b"type=%b msg=%b" % (name, text)


def mark_foreign(line: bytes) -> bytes:
    """Write a line (no newline) with the field FOREIGN at its end."""
    text = line.removesuffix(b"\r")
    body = text.removesuffix(ESCAPED)
    return b"%b\x1d%b=1%b" % (body, FOREIGN, text[len(body) :])


def is_foreign(body: bytes) -> bool:
    """Whether a record's body has that field."""
    return b"\x1d%b=" % FOREIGN in body


def parse_line(line: bytes) -> Line | str:
    """Take a line (no newline) apart; for one that is not a record, the reason."""
    line = line.removesuffix(b"\r")
    is_printk = False
    if match := _LINE.fullmatch(line):
        node, type_name, quote, stamp, second, ms, serial, body = match.groups()
    elif match := _PRINTK.fullmatch(line):
        type_name, stamp, second, ms, serial, body = match.groups()
        node, quote = None, b""
        is_printk = True
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
    return Line(node, type_name, stamp, when, int(ms), number, body, is_printk)
