"""What administrators do with auditsvc itself while the service runs is meant, not tampering.

`auditsvc off` and `on` write down who asked for it, the one before the flip and the other
after it (`auditsvc.runtime.switch_requests`). `auditsvc rules load` writes down beforehand
which rules it adds, and afterwards what it took out, moved and set
(`auditsvc.kernel.load_rules`): those changes are reported like any other, but not undone.
The rules that `on` and `off` add for a moment to measure themselves
(`auditsvc.runtime.probe_notice`) are neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from auditsvc.errors import AuditsvcError
from auditsvc.runtime import boot_file, switch_requests
from auditsvc.runtime.lock import is_locked
from auditsvc.runtime.probe_notice import ProbeNotice, read_notice

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from auditsvc.rule import Rule

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Loads:
    """What `rules load` answers for."""

    rules: frozenset[Rule] = frozenset()
    """There because a load added them."""
    gone: frozenset[Rule] = frozenset()
    """Taken out by a load since it was last asked."""
    placed: frozenset[Rule] = frozenset()
    """Put in their order by a load since then."""
    settings: Mapping[str, int] = field(default_factory=dict)
    """Made by a load since then."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What the last load wrote down; `load` tells it from one that wanted the same."""

    load: object = None
    rules: frozenset[Rule] = frozenset()
    wanted: frozenset[Rule] = frozenset()
    settings: Mapping[str, int] = field(default_factory=dict)


class Meant:
    """Looks into the runtime directory; what was meant up to now is known."""

    def __init__(self, runtime: Path) -> None:
        self._runtime = runtime
        self._switch = switch_requests.Watch(runtime)
        self._loaded = self._recall()

    def on(self) -> bool:
        """Whether audit is meant to be on."""
        return switch_requests.wanted_on(self._runtime)

    def switched(self) -> bool:
        """Whether somebody asked for off or on since the last call."""
        return bool(self._switch.new())

    def busy(self) -> bool:
        """Whether somebody loads rules, or switches, just now: `rules load`, `on`, `off`."""
        return is_locked(self._runtime)

    def probed(self) -> ProbeNotice:
        """Give the rules that `on` and `off` add for a moment, to measure themselves."""
        try:
            return read_notice(self._runtime)
        except AuditsvcError as error:
            log.error("which rules are for probes is not known", why=str(error))  # noqa: TRY400 - no traceback
            return ProbeNotice()

    def loads(self) -> Loads:
        """Give what loads made, up to now and since the last call."""
        before, self._loaded = self._loaded, self._recall()
        now, again = self._loaded, self._loaded != before
        return Loads(
            rules=now.rules,
            gone=before.rules - now.rules,
            placed=now.wanted if again else frozenset(),
            settings=now.settings if again else {},
        )

    def _recall(self) -> _Loaded:
        path = self._runtime / boot_file.LOADED
        try:
            values = boot_file.recall(path) or {}
            return _Loaded(
                values.get("load"),
                boot_file.recall_rules(path, "rules"),
                boot_file.recall_rules(path, "wanted"),
                values.get("settings", {}),
            )
        except AuditsvcError as error:
            log.error("which rules were loaded is not known", why=str(error))  # noqa: TRY400 - no traceback
            return _Loaded()
