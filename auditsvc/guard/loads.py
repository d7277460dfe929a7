"""What an administrator loads with `auditsvc rules load` while the service runs is meant.

It is reported like any other change, but not undone: a load writes down beforehand which
rules it adds, and afterwards which ones it took out (`auditsvc.rule_load`).
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import structlog

from auditsvc.errors import AuditsvcError
from auditsvc.kernel import memory

if TYPE_CHECKING:
    from pathlib import Path

    from auditsvc.rule import Rule

log = structlog.get_logger()


class Loads:
    """Looks into the runtime directory."""

    def __init__(self, runtime: Path) -> None:
        """The rules of loads up to now are known."""
        self._runtime = runtime
        self._known = self._recall()

    def underway(self) -> bool:
        """Whether a load is changing rules just now (it holds the folder's lock)."""
        try:
            descriptor = os.open(self._runtime, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def changed(self) -> tuple[frozenset[Rule], frozenset[Rule]]:
        """Give the rules that loads added, and those that they took out since the last call."""
        before, self._known = self._known, self._recall()
        return self._known, before - self._known

    def _recall(self) -> frozenset[Rule]:
        try:
            return memory.recall_rules(self._runtime / memory.LOADED, "rules")
        except AuditsvcError as error:
            log.error("what was loaded is not known", why=str(error))  # noqa: TRY400 - no traceback
            return frozenset()
