"""Whether output is coloured, and how: marks on text that is already safe for a terminal.

`auto` colours what is shown on a terminal (a pager's too), unless NO_COLOR is set and not empty
(no-color.org) or the terminal is a dumb one; `always` and `never` are as they say.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

FAILED: Final = "31"
KIND: Final = "36"
ALARM: Final = "1;31"
FAINT: Final = "2"
"""What a mark says, as the parameters of a terminal's SGR sequence (ECMA-48, 8.3.117)."""


class When(StrEnum):
    """The values of --color."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def is_coloured(when: When, out: TextIO, environment: Mapping[str, str] | None = None) -> bool:
    """Whether to colour what is written to `out`."""
    if when is not When.AUTO:
        return when is When.ALWAYS
    known = os.environ if environment is None else environment
    return out.isatty() and not known.get("NO_COLOR") and known.get("TERM") != "dumb"


def marked(text: str, mark: str | None) -> str:
    """Give the text with a mark; unchanged without one."""
    return f"\x1b[{mark}m{text}\x1b[0m" if mark and text else text
