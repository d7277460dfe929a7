"""Numbers in an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def number_in(params: Mapping[str, str], name: str) -> int | None:
    """Read a number of at most 63 bits, as an id of an event is; None if there is none."""
    word = params.get(name)
    if word is None:
        return None
    if not (word.isascii() and word.isdecimal() and len(word) < 20 and int(word) < 1 << 63):
        raise UsageError(f"{name}={word}: not an id or a number")
    return int(word)
