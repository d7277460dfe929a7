"""What a condition of a search is made of: alternatives, each on a row of one of the views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple


class Rows(NamedTuple):
    """An alternative: the event has a row in `view` for which `where` holds."""

    view: str
    where: str
    call: str = ""
    """A condition that must also hold for the system call itself."""
    common: bool = False
    """Whether so many events have such a row that a list of them is no way to find any."""
    is_join: bool = False
    """Whether `view` is several that are joined: of these only a list can be made."""


Alternative = str | Rows


NEVER: Final[tuple[Alternative, ...]] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold for a system call, and what for another event; nothing holds of ()."""

    calls: tuple[Alternative, ...]
    others: tuple[Alternative, ...]
    tested: tuple[Alternative, ...] = ()
    """What is asked instead of a call that another condition found; (): the same."""
    led: tuple[Alternative, ...] = ()
    """The same where the other condition found few: no index is to be begun with."""


ANY: Final = "event_id IS NOT NULL"
"""The condition that each row fulfils."""


def any_of(*conditions: str) -> str:
    """Write that one of these holds."""
    return f"({' OR '.join(conditions)})"


def of_record(types: str, where: str, view: str = "records") -> Rows:
    """Give the alternative that the event has a further record of these types.

    With `type > ''`, which always holds, SQLite takes a type by its name first, and then
    reads nothing of what has other types.
    """
    last = f" AND {where}" if where else ""
    return Rows(view, f"type IN ({types}) AND type > ''{last}")


def both(condition: str) -> Condition:
    """Give what is asked of a call and of another event in the same words."""
    return Condition((condition,), (condition,))
