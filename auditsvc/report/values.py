"""What the raw values of `columns` mean: words and numbers for people and programs."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.host.accounts import user_name
from auditsvc.report.tty import keystrokes
from auditsvc.store.read.events import second_text
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Callable

Value = str | int | None
"""None is not known; it is shown as `?`."""

UNSET: Final = "unset"
_WITH_PORT: Final = re.compile(r"(\d+\.\d+\.\d+\.\d+):\d+")
_SUCCESS: Final = {1: "yes", 0: "no", None: UNSET}


def shower(source: str, *, interpret: bool) -> Callable[[Any], Value]:
    """Give the function that makes a column's value of the raw one; `interpret`: names of users."""
    if source in ("auid", "auid_named", "who", "who_counted", "account"):
        return user if interpret else unset
    return _SHOWERS.get(source, _itself)


def _itself(raw: Any) -> Value:
    return raw  # type: ignore[no-any-return]


def success(raw: int | None) -> str:
    """Give the outcome of an event; without one it is `unset`."""
    return _SUCCESS[raw]


def unset(raw: int | str | None) -> Value:
    """Give a user's number, or `unset`."""
    if raw is None:
        return None
    if isinstance(raw, str):
        return UNSET if raw == "-1" else raw
    return UNSET if raw == -1 else raw


@lru_cache(maxsize=4096)
def user(raw: int | str | None) -> Value:
    """Give the name of a number's user on this host, `unknown(NUMBER)` without one."""
    plain = unset(raw)
    if isinstance(plain, str) and not plain.isdecimal():
        return plain
    if plain is None:
        return None
    return user_name(int(plain)) or f"unknown({plain})"


@lru_cache(maxsize=4096)
def syscall_name(raw: str | None) -> Value:
    """Give the name of a call; `ARCH NUMBER` is of a SECCOMP record."""
    if raw is None or " " not in raw:
        return raw
    arch, _, number = raw.partition(" ")
    with suppress(ValueError):
        return names.syscall_name(int(arch, 16), int(number)) or number
    return number


@lru_cache(maxsize=4096)
def host(raw: str | None) -> Value:
    """Give a host; without the port that some versions of auditd log with its address."""
    found = _WITH_PORT.fullmatch(raw) if raw else None
    return found[1] if found else raw


def time_of(event_id: int, ms: int) -> str:
    """Give an event's time as the views of SQLite show it (UTC)."""
    return f"{second_text(event_id >> SERIAL_BITS)}.{ms:03d}"


def day(number: int) -> str:
    """Give a day by its number since 1970."""
    return second_text(number * 86400)[:10]


def hour(number: int) -> str:
    """Give an hour by its number since 1970."""
    return second_text(number * 3600)[:16]


_SHOWERS: Final[dict[str, Callable[[Any], Value]]] = {
    "success": success,
    "type": names.record_type_name,
    "syscall": syscall_name,
    "host": host,
    "data": keystrokes,
}
