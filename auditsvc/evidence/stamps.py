"""The stamps of lines: SECONDS.MILLISECONDS:SERIAL."""

from __future__ import annotations

import re
from typing import Final

_STAMP: Final = re.compile(rb"msg=audit\(([0-9]{1,12}\.[0-9]{3}:[0-9]{1,20})\):")
_BEGIN: Final = 200
"""A line's stamp stands among its first bytes."""


def first_stamp(lines: bytes) -> str:
    """Give the stamp of the first line; "" if it has none."""
    found = _STAMP.search(lines, 0, min(_BEGIN, lines.find(b"\n") + 1))
    return found[1].decode() if found else ""


def last_stamp(lines: bytes) -> str:
    """Give the stamp of the last line; "" if it has none."""
    start = lines.rfind(b"\n", 0, -1) + 1
    found = _STAMP.search(lines, start, start + _BEGIN)
    return found[1].decode() if found else ""
