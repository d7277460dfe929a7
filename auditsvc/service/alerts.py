"""What the service notes for its alerts: the facts of `auditsvc.alert`, from its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.alert.transitions import Facts
from auditsvc.kernel.messages import OFF
from auditsvc.runtime.switch_requests import wanted_on

if TYPE_CHECKING:
    from auditsvc.config import Settings
    from auditsvc.runtime.service_state import ServiceState
    from auditsvc.service.space import SpaceWatch
    from auditsvc.service.wiring import Parts


class Noted:
    """Gathers the facts; keeps what the first look at the tasks was."""

    def __init__(self, settings: Settings) -> None:
        self.verify = ""
        """Why the last `auditsvc verify` was not proved, "" if it was; set by the service."""
        self._directory = settings.runtime_directory
        self._uncovered: float | None = None

    def facts(self, parts: Parts, state: ServiceState, space: SpaceWatch) -> Facts:
        """Give the facts as they are now."""
        return Facts(
            lost=state.kernel_lost + state.dropped + (parts.sink.lost if parts.sink else 0),
            gaps=parts.loader.gaps if parts.loader else 0,
            tamper=state.tamper,
            space=state.spool_trouble or state.spool_room or space.text,
            store=state.store_trouble,
            coverage=self._coverage(parts, state),
            verify=self.verify,
        )

    def _coverage(self, parts: Parts, state: ServiceState) -> str:
        """Say what is not covered any more: audit is off, or more tasks than at the first look."""
        session = parts.session
        if session is None:
            return ""
        if session.status().enabled == OFF and wanted_on(self._directory):
            return "audit is off, and no `auditsvc off` requested it"
        now = state.coverage.get("not_covered")
        if now is None:
            return ""
        if self._uncovered is None:
            self._uncovered = now
        more = int(now - self._uncovered)
        return f"{more} tasks more than at the start are not covered" if more > 0 else ""
