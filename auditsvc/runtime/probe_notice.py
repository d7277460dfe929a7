"""Notice to the guard of the rules that `on` and `off` add for their probes.

These rules are loaded for a few seconds and log a few calls of one task. The record of
such a change has only the rule's list and key, so the notice also says who makes the
change, and when.
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
"""How long a notice is valid: a change of the switch waits 2 s for each of two probes, and 5 s."""


@dataclass(frozen=True, slots=True)
class ProbeNotice:
    """The probe rules of the last `on` or `off`; `time` is in seconds since 1970."""

    rules: frozenset[Rule] = frozenset()
    who: Actor = Actor()  # noqa: RUF009 - frozen
    time: float = 0.0


def write_notice(directory: Path, rules: Collection[Rule], who: Actor, time: float) -> None:
    """Write the notice, before the rules are added; AuditsvcError if that fails."""
    values: dict[str, Any] = {"rules": boot_file.as_hex(rules), "who": asdict(who), "time": time}
    boot_file.remember(directory / boot_file.PROBES, values)


def read_notice(directory: Path) -> ProbeNotice:
    """Read the notice of this boot, empty if there is none; AuditsvcError if that fails."""
    path = directory / boot_file.PROBES
    values = boot_file.recall(path)
    if values is None:
        return ProbeNotice()
    try:
        who, time = Actor(**values["who"]), float(values["time"])
    except (KeyError, TypeError, ValueError) as error:
        raise boot_file.DamagedError(f"{path} is damaged", "delete it") from error
    return ProbeNotice(boot_file.recall_rules(path, "rules"), who, time)
