"""The record socket of this run, and those that an earlier run left.

    sockets = RecordSockets(keeper, sink, daemon, choice)
    sockets.register(session, records)

It is kept before it is registered, so that there is no moment at which a crash loses what is
in it. Those that an earlier run left are read into the spool first; then they are closed.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

import structlog

from auditsvc.collect.collector import make_collector
from auditsvc.collect.landing import Landing, recover
from auditsvc.errors import KernelError
from auditsvc.kernel.control import Control
from auditsvc.kernel.netlink import RecordSocket
from auditsvc.kernel.takeover import make_record
from auditsvc.native import native_core
from auditsvc.record.daemon import actor

if TYPE_CHECKING:
    from auditsvc.collect.collector import RecordCollector
    from auditsvc.holder.keeper import Keeper
    from auditsvc.kernel.session import Session
    from auditsvc.native import Choice
    from auditsvc.record.daemon import DaemonRecords
    from auditsvc.spool.sink import Sink

log = structlog.get_logger()

_LANDING: Final = "landing"
_SOON: Final = 0.3
"""Seconds of reading before the new socket is registered: the old one need not be empty."""
_REST: Final = 60.0
"""Seconds of reading afterwards, when nothing comes any more: it ends by itself."""


class RecordSockets:
    """Takes over what an earlier run left, and has our socket kept for the next one."""

    def __init__(self, keeper: Keeper, sink: Sink, daemon: DaemonRecords, choice: Choice) -> None:
        self.landing: Landing | None = None
        """Where records land, if that is kept too."""
        self._keeper = keeper
        self._sink = sink
        self._daemon = daemon
        self._choice = choice
        self._open: dict[str, RecordSocket] | None = None

    def recover(self) -> list[bytes]:
        """Write what a crash left in the landing into the spool; gives these lines."""
        core = native_core(self._choice)
        if core is None or not self._keeper.outlives:
            return []
        number = self._keeper.found.get(_LANDING)
        if number is not None:
            self.landing = Landing.left(number)
        if self.landing is not None:
            return recover(self.landing, core, self._sink)
        try:
            self.landing = Landing.new()
        except OSError as error:
            log.warning("records in transit are lost in a crash", why=error.strerror)
        else:
            self._keeper.keep(_LANDING, self.landing.number)
        return []

    def register(self, session: Session, records: RecordSocket) -> None:
        """Register `records` as the socket of the audit daemon; IncumbentError, KernelError."""
        name = f"records-{os.getpid()}-{time.time_ns()}"
        self._keeper.keep(name, records.fileno())
        try:
            self._register(session, records)
        except BaseException:
            self._keeper.drop(name)
            records.close()
            session.control.close()
            raise

    def _register(self, session: Session, records: RecordSocket) -> None:
        left = self._left()
        if not left:
            session.register(records)
            return
        pid, before = session.status().pid, self._sink.records
        collectors = {name: self._collector(each) for name, each in left.items()}
        was_refused = any(each.refused for each in left.values())

        def drain(seconds: float = _SOON) -> None:
            for each in collectors.values():
                each.drain(seconds)

        try:
            is_certain = session.register(records, list(left.values()), drain)
        finally:
            drain(_REST)
            for name, each in left.items():
                self._keeper.drop(name)
                each.close()
                collectors[name].close()
            self._open = {}
        self._say(pid, self._sink.records - before, is_complete=is_certain and not was_refused)

    def release_full(self) -> None:
        """Before an end without registering: do not let the host wait for sockets that are full.

        Then one record is made, so that the kernel sees at once that it is refused: a task may
        have missed kauditd's wake-up. Not a user message, which needs a further capability.
        """
        full = [each for each in self._left().values() if each.is_full]
        for each in full:
            each.refuse()
        if full:
            with Control() as control:
                make_record(control, control.status().rate_limit)

    def _left(self) -> dict[str, RecordSocket]:
        """Give the sockets that an earlier run left; each call gives the same ones."""
        if self._open is not None:
            return self._open
        left = self._open = {}
        for name, number in self._keeper.found.items():
            try:
                if name != _LANDING:
                    left[name] = RecordSocket.left(number)
            except (KernelError, OSError) as error:
                log.warning("what an earlier run left cannot be used", name=name, why=str(error))
                self._keeper.drop(name)
        return left

    def _collector(self, left: RecordSocket) -> RecordCollector:
        return make_collector(self._choice, left, self._sink, self.landing)

    def _say(self, pid: int, records: int, *, is_complete: bool) -> None:
        """Write to the log and to the evidence what was taken over."""
        log.info("took over from an earlier run", pid=pid, records=records, complete=is_complete)
        if not is_complete:
            log.warning("between the earlier run and this one records may be missing")
        state = "complete" if is_complete else "incomplete"
        what = f"from={pid} records={records} state={state}"
        self._sink.put(self._daemon.config(actor(os.getpid()), "takeover", what), 1)
