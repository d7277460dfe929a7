"""Notice to the guard of the rules that `on` and `off` add for their probes.

These rules are loaded for a few seconds and log a few calls of one task. The record of
such a change has only the rule's list and key, so the notice also says who makes the
change, and when.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from auditsvc.errors import AuditsvcError
from auditsvc.record.daemon import Actor
from auditsvc.runtime import boot_file

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from auditsvc.rule import Rule

SECONDS: Final = 15
"""How long a notice is valid: a change of the switch waits 2 s for each of two probes, and 5 s."""

_KEPT_SECONDS: Final = 120
_MOST: Final = 16


@dataclass(frozen=True, slots=True)
class ProbeNotice:
    """The probe rules of one `on` or `off`; `time` is in seconds since 1970."""

    rules: frozenset[Rule] = frozenset()
    who: Actor = Actor()  # noqa: RUF009 - frozen
    time: float = 0.0


def write_notice(directory: Path, rules: Collection[Rule], who: Actor, time: float) -> None:
    """Write the notice, before the rules are added; AuditsvcError if that fails.

    Notices of others stay for a while: the guard may read their records after this. One of the
    same process is replaced.
    """
    path = directory / boot_file.PROBES
    try:
        before = read_notices(directory)
    except boot_file.DamagedError:
        before = ()
    kept = [each for each in before if each.who != who and time - each.time <= _KEPT_SECONDS]
    notices = [*kept[-_MOST + 1 :], ProbeNotice(frozenset(rules), who, time)]
    values = [
        {"rules": boot_file.as_hex(each.rules), "who": asdict(each.who), "time": each.time}
        for each in notices
    ]
    boot_file.remember(path, {"notices": values})


def read_notices(directory: Path) -> tuple[ProbeNotice, ...]:
    """Read the notices of this boot, the newest last; AuditsvcError if that fails."""
    path = directory / boot_file.PROBES
    values = boot_file.recall(path)
    if values is None:
        return ()
    try:
        return tuple(_notice(each) for each in values["notices"])
    except (AuditsvcError, KeyError, TypeError, ValueError) as error:
        raise boot_file.DamagedError(f"{path} is damaged", "delete it") from error


def _notice(values: dict[str, Any]) -> ProbeNotice:
    rules = frozenset(boot_file.from_hex(values["rules"]))
    return ProbeNotice(rules, Actor(**values["who"]), float(values["time"]))
