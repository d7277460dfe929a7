r"""The grammar of a log line, for writing lines (the spool) and for reading them.

A line is one record, as auditd writes it:

    [node=NAME ]type=TYPE msg=audit(SECOND.MMM:SERIAL): BODY

NAME may hold spaces, and at most 255 bytes: it ends before the first ` type=`. TYPE is a
name of at most 64 letters, a number or UNKNOWN[number]. The colon behind the stamp may lack
(DAEMON_CONFIG of old auditds), and the body may stand in quotes: msg='audit(...): BODY'.
A CR at the end is no part of the line, nor are blanks before the body (` cwd=` of kernels
before 4.18). Before the line may stand what a program that relays lines writes there (a
priority, a time in whatever form, a host, a program), if that is blank, or has at most 256 bytes
and ends, but for blanks, tabs and a byte-order mark, with one of `: ] > ; |`, with the word `-`
(RFC 5424 without structured data) or with `F` (whole lines in the log of a container). Also
read: the kernel's own printing (dmesg, kmsg, a syslog file, logcat),

    [[LENGTH ]<PRIORITY>][TIME HOST kernel[[PID]]: ][FACILITY :LEVEL: ][[TIME][[CPU]] ][audit: ]
    type=NUMBER audit(SECOND.MMM:SERIAL): BODY

where the name before the first `: ` must be the kernel's, for any program may write the rest;
in RFC 5424 it is the name of the program, and `- - ` or what stands there takes the colon's place.

A record's text is untrusted (USER_* messages) and may contain newlines and other control
bytes. Such a line is written with every byte below 0x20, 0x7f and the backslash as \xHH
(upper-case hex) and ends with 0x1d `ESCAPED=1`; a line without control bytes is written
unchanged. So no text can forge a line, and the reader restores every byte.
"""

from __future__ import annotations

import codecs
import re
from typing import Final, NamedTuple

ESCAPED: Final = b"\x1dESCAPED=1"
"""Ends a line whose body is escaped. A body that contains 0x1d is escaped, so it cannot end so."""

FOREIGN: Final = b"FOREIGN"
"""Name of the field at the end of a DAEMON_* line in the spool that we did not write: it was
handed to us on standard input, and does not speak for this host."""

# audit_serial() is an unsigned int; ids hold 33 bits of the second.
MAX_SERIAL: Final = (1 << 32) - 1
MAX_SECOND: Final = (1 << 33) - 1

STAMP: Final = rb"audit\((([0-9]{1,10})\.([0-9]{3}):([0-9]{1,10}))\)"
"""Pattern of the part that all records of an event share; groups: all, second, millisecond,
serial."""

_BODY: Final = rb":?(?: (.*))?"  # one of the two is there
_LINE: Final = re.compile(
    rb"(?:node=((?:(?! type=).){0,255}) )?"
    rb"type=([A-Z][A-Z0-9_]{0,63}(?:\[[0-9]{1,10}\])?|[0-9]{1,10}) msg=('?)" + STAMP + _BODY,
    re.DOTALL,
)
# Android's logd leaves the time out: audit(0.0:SERIAL).
_PRINTK: Final = re.compile(
    rb"type=([0-9]{1,10}) " + STAMP.replace(rb"[0-9]{3}", rb"[0-9]{3}|(?<=\(0\.)0") + _BODY,
    re.DOTALL,
)
_MOST_PREFIX: Final = 256
_MOST_NODE: Final = 255
_BLANK: Final = b" \t"
_PREFIX_ENDS: Final = b":]>;|"
_PREFIX_WORDS: Final = (b" -", b" F")
_MARK: Final = codecs.BOM_UTF8
_PRIORITY: Final = re.compile(
    rb"[ \t]*(?:(?:[0-9]{1,5} )?<[0-9]{1,3}>|[0-9]+,[0-9]+,[0-9]+,[^; ]*;)?"
)
_KERNEL: Final = re.compile(
    rb"(?!1 [-0-9])(?:(?:(?!: ).)* )?(?:kernel|klogd)(?:\[[0-9]{1,10}\])? *: "
    rb"|1 (?:[^ ]+ ){2}kernel (?:[^ ]+ ){2}(?:-|(?:\[[^]]*\])+) (?:\xef\xbb\xbf)?",
    re.DOTALL,
)
_CLOCK: Final = re.compile(
    rb"(?:[a-z]+ *:[a-z]+ *: )?(?:\[[^]]{1,64}\](?:\[[^]]{1,16}\])? )?(?:audit: )?"
)
_LOSS: Final = re.compile(
    rb"kauditd_printk_skb: ([0-9]{1,9}) callbacks suppressed|audit_lost=([0-9]{1,10}) .*", re.DOTALL
)
_SPECIAL: Final = re.compile(rb"[\x00-\x1f\x7f\\]")
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
_ESCAPE: Final = re.compile(rb"\\x([0-9A-F]{2})")


class Line(NamedTuple):
    """The parts of a record's line. `stamp` is `SECOND.MMM:SERIAL` as written in the line.

    `is_printk`: it is written as the kernel prints it, or behind what a relay puts before a
    line. Any program can write such a line into the kernel's log or a syslog file.
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


def begin_of_record(line: bytes) -> int:
    """Find where a record begins behind what was put before it; -1 if none does."""
    start = line.find(b"type=", 0, _MOST_PREFIX + _MOST_NODE + 11)
    if start < 0:
        return -1
    node = line.find(b"node=", 0, start)
    if node >= 0 and _is_prefix(line[:node]):
        return node
    return start if _is_prefix(line[:start]) else -1


def _is_prefix(text: bytes) -> bool:
    stripped = text.removesuffix(_MARK).rstrip(_BLANK)
    return not stripped or (
        len(text) <= _MOST_PREFIX
        and (stripped[-1] in _PREFIX_ENDS or stripped.endswith(_PREFIX_WORDS))
    )


def _kernel_text(line: bytes) -> int:
    """Find where the kernel's own text begins behind its prefix, `audit: ` included in that."""
    at = 0
    for pattern in (_PRIORITY, _KERNEL, _CLOCK):
        if match := pattern.match(line, at, _MOST_PREFIX):
            at = match.end()
    return at


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
    elif (start := begin_of_record(line)) < 0:
        return "not a record"
    elif match := _LINE.fullmatch(line, start):
        node, type_name, quote, stamp, second, ms, serial, body = match.groups()
        is_printk = True  # behind a prefix
    elif _kernel_text(line) == start and (match := _PRINTK.fullmatch(line, start)):
        type_name, stamp, second, ms, serial, body = match.groups()
        node, quote, is_printk = None, b"", True
    else:
        return "not a record"
    if body is None and line[-1:] != b":":
        return "not a record"
    body = (body or b"").lstrip(b" ")
    when, number = int(second), int(serial)
    if when > MAX_SECOND:
        return "time out of range"
    if number > MAX_SERIAL:
        return "serial out of range"
    if body.endswith(ESCAPED):
        body = unescape(body.removesuffix(ESCAPED))
    if quote:
        body = body.removesuffix(b"'")
    return Line(node, type_name, stamp, when, int(ms), number, body, is_printk)


def parse_loss(line: bytes) -> tuple[int, int | None] | None:
    """Read what the kernel's log says of records that it does not have; None for other lines.

    How many were suppressed here, and the kernel's count of all that it lost, if that is said
    (audit_log_lost and the rate limit of printk).
    """
    line = line.removesuffix(b"\r")
    match = _LOSS.fullmatch(line, _kernel_text(line))
    if match is None:
        return None
    suppressed, lost = match.groups()
    return int(suppressed or 0), None if lost is None else int(lost)
