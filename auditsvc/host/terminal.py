"""Text that others chose, as a terminal may show it."""

from __future__ import annotations

import re
from typing import Final

# Bytes that a terminal would act on, and marks that turn the direction of text.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    r"""Show control bytes as \xHH, so that no audited program writes to the reader's terminal."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
