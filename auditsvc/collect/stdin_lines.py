"""Bytes from standard input -> lines for the spool. No I/O.

What must hold:

* A DAEMON_* line from the input gets the field FOREIGN, so that it is never taken for one of
  the collector's own, which are in the same spool.
* After the first MiB of a line no record begins: the rest is written as lines without records.
"""

from __future__ import annotations

import re
from typing import Final

from auditsvc.record.line import mark_foreign, parse_line
from auditsvc.record.types import DAEMON
from auditsvc.tables.names import record_type_number

MAX_LINE: Final = 1 << 20
_REST: Final = b"(rest of a longer line) "
# Possible types of such a line; parse_line then decides. One pattern for both would be looked for
# at each byte: three times as long.
_NAME: Final = b"DAEMON_"
_NUMBER: Final = re.compile(rb"type=[A-Z0-9_]*\[?0*12[0-9][0-9]")


class StdinLines:
    """Collects complete lines."""

    def __init__(self) -> None:
        self._tail = b""
        self._in_rest = False

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; give complete lines, each with its newline."""
        tail = self._tail + data
        end = tail.rfind(b"\n") + 1
        lines, self._tail = tail[:end], tail[end:]
        output = self._lines(lines) if lines else b""
        if len(self._tail) > MAX_LINE:
            output += self._lines(self._tail + b"\n")
            self._tail, self._in_rest = b"", True
        return output

    def finish(self) -> bytes:
        """Give the last, incomplete line."""
        tail, self._tail = self._tail, b""
        return self._lines(tail + b"\n") if tail else b""

    def _lines(self, lines: bytes) -> bytes:
        if self._in_rest:
            self._in_rest = False
            return _REST + self._lines_of(lines)
        return self._lines_of(lines)

    def _lines_of(self, lines: bytes) -> bytes:
        if _NAME not in lines and not _NUMBER.search(lines):
            return lines
        return b"\n".join(map(_marked, lines[:-1].split(b"\n"))) + b"\n"


def _marked(text: bytes) -> bytes:
    if not _is_ours(text):
        return text
    marked = mark_foreign(text)
    # In a longer line the field at the end would not be part of the record.
    return marked if len(marked) <= MAX_LINE else _REST + text


def _is_ours(text: bytes) -> bool:
    """Whether a line has a type that only the audit daemon writes."""
    line = parse_line(text)
    if isinstance(line, str):
        return False
    name = line.type_name.decode()
    number = int(name) if name.isdigit() else record_type_number(name)
    return number in DAEMON
