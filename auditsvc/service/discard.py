"""Deletes segments of the spool that are in the store, when their rows and heads are signed.

Order: the rows are sealed (`auditsvc.evidence.sealing`); a head binds the seal and says which
segments go; they are deleted. While that is not possible, segments are kept, up to twice
`spool.keep_bytes` and as long as there is room; then they go unsigned, which is told.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import structlog

from auditsvc.errors import AuditsvcError, of_system
from auditsvc.evidence.seal import forget_seals
from auditsvc.record.daemon import actor
from auditsvc.spool import retention
from auditsvc.spool.segments import Place

if TYPE_CHECKING:
    from auditsvc.config import Settings
    from auditsvc.evidence.notary import Notary
    from auditsvc.evidence.sealing import Sealing
    from auditsvc.record.daemon import DaemonRecords
    from auditsvc.service.remote_parts import RemoteSealing
    from auditsvc.service.wiring import Parts

log = structlog.get_logger()

_MORE: Final = 2
"""How many times `spool.keep_bytes` are kept while nothing can be signed."""


class Discard:
    """Deletes old segments, one step at a time."""

    def __init__(self, parts: Parts, daemon: DaemonRecords) -> None:
        self._parts = parts
        self._daemon = daemon
        self._sealing: Sealing | RemoteSealing | None = None

    def step(self, settings: Settings, place: Place, keep: int) -> str:
        """Delete what ends before `place`, or do what must be done before; gives what fails.

        `keep`: bytes of newest segments that stay.
        """
        try:
            return self._step(settings, place, keep)
        except AuditsvcError as error:
            return str(error)
        except OSError as error:
            return of_system(error)

    def _step(self, settings: Settings, place: Place, keep: int) -> str:
        directory = settings.spool_directory
        notary, sealing = self._parts.notary, self._sealing
        if notary is None:
            retention.discard(directory, place, keep)
            return ""
        if sealing is None:
            before = Place(notary.sealed_before()) if not notary.problem else place
            old = retention.surplus(directory, min(place, before), keep)
            if old and not notary.problem:
                self._sealing = self._parts.sealing(settings, old[-1])
                self._sealing.start()
                return ""
            return self._give_up(settings, notary, place, keep, notary.problem) if old else ""
        if sealing.is_alive():
            return ""
        self._sealing = None
        for what in sealing.altered:
            log.error("rows of a segment that is deleted were altered", what=what)
        if sealing.altered:
            finding = f"op=tamper what=rows_altered findings={len(sealing.altered)} restored=no"
            self._parts.note(self._daemon.line("DAEMON_CONFIG", f"{finding} res=success"))
        if not sealing.digest:
            return self._give_up(settings, notary, place, keep, sealing.problem)
        if not notary.sign_now(kept_from=sealing.last + 1, sealed=sealing.digest):
            return self._give_up(settings, notary, place, keep, notary.problem)
        self._delete(settings, notary, sealing.last)
        forget_seals(directory, sealing.last)
        return ""

    def _give_up(
        self, settings: Settings, notary: Notary, place: Place, keep: int, why: str
    ) -> str:
        """Delete what would not go otherwise, without a signature."""
        sink = self._parts.sink
        is_short = sink is not None and bool(sink.short)
        old = retention.surplus(settings.spool_directory, place, keep if is_short else keep * _MORE)
        if not old:
            return f"segments are kept until their rows can be signed: {why}"
        log.error("segments are deleted unsigned", last=old[-1], why=why)
        what = f"state=unsigned segment={old[-1]}"
        self._parts.note(self._daemon.config(actor(os.getpid()), "discard", what, success=False))
        notary.gone_unsigned(old[-1] + 1)
        self._delete(settings, notary, old[-1])
        return f"segments were deleted unsigned: {why}"

    @staticmethod
    def _delete(settings: Settings, notary: Notary, last: int) -> None:
        directory = settings.spool_directory
        retention.delete(directory, retention.up_to(directory, last))
        notary.dropped()
