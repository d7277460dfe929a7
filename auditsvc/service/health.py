"""Errors of a run's parts: logged once, shown by `status`, and raised at the end of a run."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING

import structlog

from auditsvc.decode import decoder_in_use
from auditsvc.errors import SpoolError, StoreError, of_system
from auditsvc.runtime.service_state import ServiceState, remove_state, write_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditsvc.config import Settings
    from auditsvc.record.daemon import DaemonRecords
    from auditsvc.service.space import SpaceWatch
    from auditsvc.service.wiring import Parts

log = structlog.get_logger()


_RATE_SECONDS = 60.0


class Rate:
    """The mean rate of a counter over the last minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now: float, count: int) -> float:
        """Take the counter's value at a time (monotonic); gives its rate per second."""
        self._seen.append((now, count))
        while now - self._seen[0][0] > _RATE_SECONDS:
            self._seen.popleft()
        began, first = self._seen[0]
        return round((count - first) / (now - began), 1) if now > began else 0.0


class Health:
    """The errors of one run; `notes` go to the log with those of the session."""

    def __init__(self, settings: Settings, daemon: DaemonRecords, notes: Sequence[str]) -> None:
        self.place = ""
        """The store's name in messages."""
        self.errors: dict[str, str] = {}
        """The current error of each part; "" if it works."""
        self._settings = settings
        self._daemon = daemon
        self._notes = notes
        self._reported: dict[str, str] = {}
        self.space: SpaceWatch | None = None
        self.state: ServiceState | None = None
        """The state that was shown last."""
        self._began = time.time()
        self._kernel_lost = 0
        self._rate = Rate()

    def note_lost(self, parts: Parts) -> None:
        """Record what the kernel lost since the last call."""
        if parts.session is None:
            return
        new = parts.session.new_lost()
        if new:
            self._kernel_lost += new
            parts.note(self._daemon.lost(kernel=new))
            log.error("the kernel lost records", records=new)

    def report_errors(self, parts: Parts) -> None:
        """Log each error once, and its end once."""
        self.errors["store"] = parts.loader.store_error if parts.loader else ""
        self.errors["store's readers"] = parts.loader.hindrance if parts.loader else ""
        self.errors["retention"] = parts.upkeep.problem if parts.upkeep else ""
        self.errors["archive"] = parts.archiving.problem if parts.archiving else ""
        self.errors["fleet"] = parts.shipping.problem if parts.shipping else ""
        self.errors["spool"] = parts.sink.refused if parts.sink else ""
        self.errors["spool's room"] = parts.sink.short if parts.sink else ""
        self._note_heads(parts)
        self.errors["holder"] = parts.keeper.problem if parts.keeper else ""
        self.errors["coverage"] = parts.watch.problem if parts.watch else ""
        self._report()

    def report_last_head(self, parts: Parts) -> None:
        """Log why the last head was not signed, or did not come to where it should."""
        self._note_heads(parts)
        self._report()

    def _note_heads(self, parts: Parts) -> None:
        self.errors["evidence"] = parts.notary.problem if parts.notary else ""
        self.errors["heads elsewhere"] = parts.courier.problem if parts.courier else ""

    def _report(self) -> None:
        for part, error in self.errors.items():
            if error != self._reported.get(part, ""):
                if error:
                    log.error("unavailable", part=part, why=error)
                else:
                    log.info("recovered", part=part)
        self._reported = self.errors.copy()

    def report_notes(self, parts: Parts) -> None:
        """Log the new notes."""
        for note in (*self._notes, *(parts.session.notes if parts.session else ())):
            log.warning(note)
        self._notes = ()
        if parts.session is not None:
            parts.session.notes.clear()

    def show_state(self, parts: Parts) -> None:
        """Write the state for `status`; if that fails, the run continues."""
        try:
            self.state = self._state(parts)
            write_state(self._settings.runtime_directory, self.state)
        except OSError as error:
            self.errors["state"] = of_system(error)
        else:
            self.errors["state"] = ""

    def remove_state(self) -> None:
        """Delete the state when the service stops; not another run's, if this one never began."""
        if self.state is not None:
            remove_state(self._settings.runtime_directory)

    def raise_failures(self, parts: Parts) -> None:
        """Raise an error if records were not written or not stored at the end of the run."""
        if parts.sink is not None and parts.sink.missing:
            raise SpoolError(
                f"{parts.sink.missing} records could not be written: {parts.sink.refused}"
            )
        for part in (parts.collector, parts.loader):
            if part is not None and part.error is not None:
                raise part.error
        error = parts.loader.store_error if parts.loader is not None else ""
        if error:
            raise StoreError(
                f"{parts.waiting} bytes of log are not in the store yet: {error}",
                "the spool keeps them, and the next run loads them",
            )

    def report_rest(self, parts: Parts) -> None:
        """Log what a stopping service leaves in the spool."""
        loader = parts.loader
        if parts.waiting and loader is not None and not (loader.error or loader.store_error):
            log.warning("not all is in the store: the next run loads the rest", bytes=parts.waiting)

    def _state(self, parts: Parts) -> ServiceState:
        session, sink = parts.session, parts.sink
        status = session.status() if session is not None else None
        return ServiceState(
            pid=os.getpid(),
            began=self._began,
            written=time.time(),
            source=self._settings.source,
            store=self.place,
            decoder=decoder_in_use(self._settings.decoder_name),
            rules=session.added if session is not None else 0,
            records=sink.records if sink else 0,
            missing=sink.missing if sink else 0,
            dropped=sink.dropped if sink else 0,
            kernel_lost=self._kernel_lost,
            tamper=parts.guard.findings if parts.guard else 0,
            kernel_backlog=status.backlog if status else 0,
            spool_waiting=parts.waiting,
            spool_trouble=self.errors["spool"],
            spool_room=self.errors["spool's room"],
            flood=str(sink.flood) if sink and sink.flood else "",
            store_trouble=self.errors["store"],
            coverage=dict(parts.watch.last) if parts.watch else {},
            rate=self._rate.note(time.monotonic(), sink.records if sink else 0),
            store_hindrance=self.errors["store's readers"],
            space_used=round(self.space.used, 1) if self.space else 0.0,
            space_stage=self.space.stage if self.space else "enough",
            space_forecast=self.space.forecast if self.space else "",
        )
