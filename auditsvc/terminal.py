"""Text that others chose, as a terminal may show it."""

from __future__ import annotations

import re
from typing import Final

# Bytes that a terminal would act on, marks that turn the direction of text, and bytes
# that are not UTF-8 (surrogateescape).
_CONTROL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""Show control bytes as \xHH, so that no audited program writes to the reader's terminal.

    So are bytes that are not UTF-8.
    """
    return _CONTROL.sub(lambda found: f"\\x{_byte(ord(found[0])):02x}", text)


def _byte(sign: int) -> int:
    return sign - 0xDC00 if 0xDC80 <= sign <= 0xDCFF else sign
