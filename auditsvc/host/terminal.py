r"""Makes untrusted text safe to show on a terminal.

Hidden characters are those that a terminal interprets or that a person does not see: the
categories Cc (C0, DEL, C1), Cf (bidirectional controls, zero-width characters, tags), Zl,
Zp and Cs (lone surrogates) of the Unicode Character Database, and the other characters
with the property Default_Ignorable_Code_Point (variation selectors, fillers, joiners).
"""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = (
    "\x00-\x1f\x7f-\x9f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2"
    "\u115f-\u1160\u17b4-\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Characters that are not seen, as they stand within the brackets of a pattern."""
_SURROGATES: Final = "\ud800-\udfff"
_NOT_SHOWN: Final = re.compile(f"[{HIDDEN}{_SURROGATES}]")
_NOT_ENCODED: Final = re.compile(f"[{_SURROGATES}]")


def visible(text: str) -> str:
    r"""Replace hidden characters by \xHH, \uHHHH or \UHHHHHHHH; other text is unchanged."""
    if text.isascii() and text.isprintable():
        return text
    return _NOT_SHOWN.sub(_escaped, text)


def encodable(text: str) -> str:
    r"""Replace lone surrogates, which no encoding has; other text is unchanged."""
    return text if text.isascii() else _NOT_ENCODED.sub(_escaped, text)


def visible_json(line: str) -> str:
    r"""Write the hidden characters in a line of JSON as \uHHHH; its values stay the same."""
    if line.isascii() and line.isprintable():
        return line
    return _NOT_SHOWN.sub(_escaped_in_json, line)


def encodable_json(line: str) -> str:
    r"""Write the lone surrogates in a line of JSON as \uHHHH; its values stay the same."""
    return line if line.isascii() else _NOT_ENCODED.sub(_escaped_in_json, line)


def _escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is not UTF-8 (surrogateescape)
        number -= 0xDC00
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _escaped_in_json(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
