"""The rules that a flip adds for its probes, told beforehand to whoever guards the rules.

They stand for a moment and log a few calls of one task. A record of such a change has no
more of the rule than list and key, so it is told as well who makes it, and when.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from auditsvc.record.daemon import Actor
from auditsvc.runtime import boot_file

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from auditsvc.rule import Rule

SECONDS: Final = 15
"""After the telling, by when a flip has ended: it waits 2 s for each of two probes, and 5 s."""


@dataclass(frozen=True, slots=True)
class Announced:
    """The rules of the last flip that needed some; `time` is seconds since 1970."""

    rules: frozenset[Rule] = frozenset()
    who: Actor = Actor()  # noqa: RUF009 - frozen
    time: float = 0.0


def announce(directory: Path, rules: Collection[Rule], who: Actor, time: float) -> None:
    """Tell it before they are added; AuditsvcError if it cannot be written."""
    values: dict[str, Any] = {"rules": boot_file.as_hex(rules), "who": asdict(who), "time": time}
    boot_file.remember(directory / boot_file.PROBES, values)


def announced(directory: Path) -> Announced:
    """What was told since this boot; AuditsvcError if it cannot be read."""
    path = directory / boot_file.PROBES
    values = boot_file.recall(path)
    if values is None:
        return Announced()
    try:
        who, time = Actor(**values["who"]), float(values["time"])
    except (KeyError, TypeError, ValueError) as error:
        raise boot_file.DamagedError(f"{path} is damaged", "delete it") from error
    return Announced(boot_file.recall_rules(path, "rules"), who, time)
