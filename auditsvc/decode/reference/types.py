"""Numbers of record types by name, also of unknown types.

Names become numbers through `auditsvc.tables.names`. A type that has no number there gets
a negative one, a hash of its name, so that every decoder on every host gives it the same
number; `TypeTable.unknown` has the rows of `record_type` for these.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from auditsvc.tables.names import record_type_name, record_type_number

_INT32: Final = 1 << 31


class TypeTable:
    """Numbers of record types, and the names of unknown types."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self.unknown: list[tuple[int, str]] = []
        """Rows (number, name) of `record_type`, since the caller last emptied it."""

    def forget(self) -> None:
        """Report every unknown type again."""
        self._numbers.clear()

    def number(self, name: bytes) -> int:
        """Give the number of a type's name (or of its decimal digits)."""
        known = self._numbers.get(name)
        if known is not None:
            return known
        text = name.decode()
        number = int(text) if text.isdigit() else record_type_number(text)
        if number is None or number >= _INT32:
            digest = blake2b(name, digest_size=4).digest()
            number = -1 - (int.from_bytes(digest, "little") & (_INT32 - 1))
            self.unknown.append((number, text))
        elif (shown := record_type_name(number)).startswith("UNKNOWN["):
            self.unknown.append((number, shown))
        if len(self._numbers) >= 4096:
            self._numbers.clear()
        self._numbers[name] = number
        return number
