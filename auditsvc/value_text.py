"""Values of a database, as text and as JSON.

In: any value of SQLite's or psycopg's. Out: text for a cell, or JSON that every parser
accepts (RFC 8259). No value raises an error. Numbers that JSON does not have are written as
by PostgreSQL's to_json: "NaN", "Infinity", "-Infinity". Times are UTC, bytes hex.
"""

from __future__ import annotations

import json
import re
import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite, isnan
from typing import Any, Final

DEEPEST: Final = 100
"""Levels of a JSON document that are read; one that has more stays text."""
_MOST_DIGITS: Final = 4000
"""Of an integer that is written as a number: Python's own readers take 4,300."""
_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')


def as_text(value: object) -> str:
    """Write a value as text; NULL as empty text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, float):
        return repr(value) if isfinite(value) else _not_finite(value)
    if isinstance(value, dict | list | tuple):
        return to_json(value)
    return hex(value) if isinstance(value, int) and _is_endless(value) else str(value)


def to_json(value: object, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """Write a value as JSON. `ascii_only`: every other character as an escape of JSON's own."""
    try:
        return _dump(value, indent, ascii_only)
    except (ValueError, TypeError, RecursionError):  # the usual value needs no walk through it
        return _dump(_sound(value), indent, ascii_only)


def _dump(value: object, indent: int | None, ascii_only: bool) -> str:
    return json.dumps(
        value, indent=indent, ensure_ascii=ascii_only, allow_nan=False, default=_default
    )


def _default(value: object) -> object:
    """Give what JSON has for a value that it does not know."""
    return _number(value) if isinstance(value, Decimal) else as_text(value)


def _sound(value: object, level: int = 0) -> object:
    """Give the value; everything in it that JSON has no form for is text."""
    if isinstance(value, dict | list | tuple) and level > DEEPEST:
        return "..."  # no driver gives one; without an end it would not be JSON
    if isinstance(value, dict):
        return {as_text(name): _sound(each, level + 1) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_sound(each, level + 1) for each in value]
    if isinstance(value, float):
        return value if isfinite(value) else _not_finite(value)
    return hex(value) if isinstance(value, int) and _is_endless(value) else value


def _is_endless(value: int) -> bool:
    """Whether Python does not write it in decimal (sys.get_int_max_str_digits)."""
    return value.bit_length() > _MOST_DIGITS * 3


def _number(value: Decimal) -> int | float | str:
    """Give the number that JSON has for it, or its digits where it would be another one."""
    if not value.is_finite():
        return _not_finite(float("nan") if value.is_nan() else float(value))
    if value.adjusted() < _MOST_DIGITS and value == value.to_integral_value():
        return int(value)
    near = float(value)
    return near if isfinite(near) and bool(near) == bool(value) else str(value)


def _not_finite(value: float) -> str:
    return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _time(value: datetime) -> str:
    if value.tzinfo is not None:
        try:
            value = value.astimezone(UTC).replace(tzinfo=None)
        except OverflowError:  # in the first or last year that Python knows
            return str(value)
    return value.isoformat(sep=" ", timespec="milliseconds")


def parse_json(text: str | bytes) -> Any:
    """Read a JSON document of which we trust that it is one; ValueError if it is not sound.

    That is also: a name twice, a number that no float can hold, too many levels or digits.
    """
    try:
        return _DECODER.decode(text if isinstance(text, str) else text.decode())
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def parse_toml(text: bytes) -> dict[str, Any]:
    """Read a TOML document; ValueError (TOMLDecodeError, UnicodeDecodeError) if it is not sound."""
    try:
        return tomllib.loads(text.decode())
    except RecursionError:
        raise tomllib.TOMLDecodeError("it is nested too deep") from None


def read_json(text: str | bytes) -> Any:
    """Read a JSON document; gives its text if Python's reader would change it.

    That is: no valid JSON, a name twice in an object, a number that no float can hold, or too
    many levels or digits.
    """
    try:
        value = _DECODER.decode(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError):
        return text if isinstance(text, str) else text.decode(errors="backslashreplace")
    if isinstance(value, dict | list):
        words = text if isinstance(text, str) else text.decode()
        if words.count("[") + words.count("{") > DEEPEST and _levels(words) > DEEPEST:
            return words
    return value


def _levels(text: str) -> int:
    """Give how deep a document goes that is known to be JSON."""
    level = deepest = 0
    for sign in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        level += 1 if sign in "[{" else -1
        deepest = max(deepest, level)
    return deepest


def _finite(digits: str) -> float:
    value = float(digits)
    if not isfinite(value):
        raise ValueError(digits)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_number(word: str) -> float:
    raise ValueError(word)


_DECODER: Final = json.JSONDecoder(
    parse_float=_finite, parse_constant=_no_number, object_pairs_hook=_object
)
