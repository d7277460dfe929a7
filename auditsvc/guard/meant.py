"""What administrators do with auditsvc itself while the service runs is meant, not tampering.

`auditsvc off` and `on` write down who asked for it, the one before the flip and the other
after it (`auditsvc.switch`). `auditsvc rules load` writes down beforehand which rules it
adds, and afterwards which ones it took out (`auditsvc.rule_load`): those changes are
reported like any other, but not undone. The rules that `on` and `off` add for a moment to
measure themselves (`auditsvc.flip.announced`) are neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from auditsvc import switch
from auditsvc.errors import AuditsvcError
from auditsvc.flip.announced import Announced, announced
from auditsvc.kernel import memory
from auditsvc.turn import is_taken

if TYPE_CHECKING:
    from pathlib import Path

    from auditsvc.rule import Rule

log = structlog.get_logger()


class Meant:
    """Looks into the runtime directory; what was meant up to now is known."""

    def __init__(self, runtime: Path) -> None:
        self._runtime = runtime
        self._switch = switch.Watch(runtime)
        self._loaded = self._recall()

    def on(self) -> bool:
        """Whether audit is meant to be on."""
        return switch.wanted_on(self._runtime)

    def switched(self) -> bool:
        """Whether somebody asked for off or on since the last call."""
        return bool(self._switch.new())

    def busy(self) -> bool:
        """Whether somebody loads rules, or switches, just now: `rules load`, `on`, `off`."""
        return is_taken(self._runtime)

    def probed(self) -> Announced:
        """Give the rules that `on` and `off` add for a moment, to measure themselves."""
        try:
            return announced(self._runtime)
        except AuditsvcError as error:
            log.error("which rules are for probes is not known", why=str(error))  # noqa: TRY400 - no traceback
            return Announced()

    def loaded(self) -> tuple[frozenset[Rule], frozenset[Rule]]:
        """Give the rules that loads added, and those that they took out since the last call."""
        before, self._loaded = self._loaded, self._recall()
        return self._loaded, before - self._loaded

    def _recall(self) -> frozenset[Rule]:
        try:
            return memory.recall_rules(self._runtime / memory.LOADED, "rules")
        except AuditsvcError as error:
            log.error("which rules were loaded is not known", why=str(error))  # noqa: TRY400 - no traceback
            return frozenset()
