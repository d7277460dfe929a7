"""Changes that administrators make with auditsvc itself are sanctioned: no tampering.

`auditsvc off` and `on` write who asked for it, `off` before the flip and `on` after it
(`auditsvc.runtime.switch_requests`). `auditsvc rules load` writes first which rules it
adds, and then what it deleted, moved and set (`auditsvc.kernel.load_rules`): those changes
are reported like any other, but not undone. The rules that `on` and `off` load for a short
time to measure themselves (`auditsvc.runtime.probe_notice`) are neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from auditsvc.errors import AuditsvcError
from auditsvc.runtime import boot_file, switch_requests
from auditsvc.runtime.lock import is_locked
from auditsvc.runtime.probe_notice import ProbeNotice, read_notices

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from auditsvc.rule import Rule

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Loads:
    """Changes made by `rules load`."""

    rules: frozenset[Rule] = frozenset()
    """Loaded by a load."""
    gone: frozenset[Rule] = frozenset()
    """Deleted by a load since the last call."""
    placed: frozenset[Rule] = frozenset()
    """Put in order by a load since the last call."""
    settings: Mapping[str, int] = field(default_factory=dict)
    """Set by a load since the last call."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What the last load wrote; `load` distinguishes loads that wanted the same."""

    load: object = None
    rules: frozenset[Rule] = frozenset()
    wanted: frozenset[Rule] = frozenset()
    settings: Mapping[str, int] = field(default_factory=dict)


class Sanctioned:
    """Reads the runtime directory; requests made before are known."""

    def __init__(self, runtime: Path) -> None:
        self._runtime = runtime
        self._switch = switch_requests.Watch(runtime)
        self._loaded = self._recall()

    def on(self) -> bool:
        """Whether audit should be on."""
        return switch_requests.wanted_on(self._runtime)

    def switched(self) -> bool:
        """Whether somebody asked for off or on since the last call."""
        return bool(self._switch.new())

    def busy(self) -> bool:
        """Whether `rules load`, `on` or `off` runs now."""
        return is_locked(self._runtime)

    def probed(self) -> tuple[ProbeNotice, ...]:
        """Give the rules that `on` and `off` load for a short time, to measure themselves."""
        try:
            return read_notices(self._runtime)
        except AuditsvcError as error:
            log.error("the rules of probes are unknown", why=str(error))  # noqa: TRY400 - no traceback
            return ()

    def loads(self) -> Loads:
        """Give what loads changed, up to now and since the last call."""
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
                dict(values.get("settings", {})),
            )
        except (AuditsvcError, TypeError, ValueError) as error:
            log.error("the rules of the last load are unknown", why=str(error))  # noqa: TRY400 - no traceback
            return _Loaded()
