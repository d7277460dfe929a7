"""Which parts a run has, by its source, and how they are connected.

    source --collector thread--> spool --loader thread--> store

Nothing is started here but what a part does when it is made: the session is registered as
the kernel's audit daemon, the loader opens the store.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from auditsvc.collect.collector import Collector, LineCollector, make_collector
from auditsvc.collect.journald.source import JournalSource
from auditsvc.collect.logfile import FollowedFile
from auditsvc.coverage.watch import CoverageWatch
from auditsvc.decode import make_decoder
from auditsvc.errors import AuditsvcError
from auditsvc.guard import Guard, Meant
from auditsvc.ingest.known_store import KnownStore
from auditsvc.ingest.load import Load, Route
from auditsvc.ingest.loader import Loader
from auditsvc.kernel.netlink import RecordSocket
from auditsvc.kernel.session import Session
from auditsvc.record.daemon import actor
from auditsvc.spool.reader import SpoolReader
from auditsvc.spool.segments import Place, backlog
from auditsvc.spool.sink import Sink
from auditsvc.spool.writer import SpoolWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.config import Settings
    from auditsvc.decode.contract import Decoder
    from auditsvc.ingest.load import Log
    from auditsvc.record.daemon import DaemonRecords
    from auditsvc.store import Store

log = structlog.get_logger()


@dataclass(slots=True)
class Parts:
    """What a run is made of; a part is None where the source has no use for it."""

    directory: Path
    """Of the spool."""
    session: Session | None = None
    sink: Sink | None = None
    collector: Collector | LineCollector | None = None
    guard: Guard | None = None
    loader: Loader | None = None
    watch: CoverageWatch | None = None

    def note(self, line: bytes) -> None:
        """Write a DAEMON_* record into the spool, if there is one."""
        if self.sink is not None:
            self.sink.put(line, 1)

    @property
    def busy(self) -> bool:
        """Whether records come in at a high rate."""
        return self.sink is not None and self.sink.busy

    @property
    def committed(self) -> Place | None:
        """Up to where the spool is in the store; None without a spool."""
        if self.sink is None or self.loader is None:
            return None
        segment, position = self.loader.committed
        return Place(int(segment or 0), position)

    @property
    def waiting(self) -> int:
        """Bytes of spool that are not in the store."""
        place = self.committed
        return backlog(self.directory, place) if place else 0


class Wiring:
    """Makes the parts of a run."""

    def __init__(
        self, settings: Settings, daemon: DaemonRecords, opened: Callable[[Store], None]
    ) -> None:
        """`opened` is called, by the loader's thread, with each store that it opens."""
        self._settings = settings
        self._daemon = daemon
        self._opened = opened
        self.parts = Parts(settings.spool_directory)
        self.known = KnownStore(settings.spool_directory, settings.store)

    def make(self) -> Parts:
        """Make them all; AuditsvcError if one cannot be made."""
        settings = self._settings
        if settings.source in {"netlink", "multicast", "stdin"}:
            self._make_spooled()
        elif settings.source == "journal":
            journal = JournalSource(None, settings.host, lambda what: log.error("lost", what=what))
            self._make_loader("journal", journal.name, journal.open)
        else:
            path = Path(settings.source)
            self._make_loader("followed", str(path), lambda *place: FollowedFile(path, *place))
        self._make_watch()
        return self.parts

    def _make_spooled(self) -> None:
        settings, parts = self._settings, self.parts
        writer = SpoolWriter(
            settings.spool_directory,
            segment_bytes=settings.spool.segment_bytes,
            fsync=settings.spool.fsync,
        )
        parts.sink = sink = Sink(writer, self._daemon)
        # The reader before anything is appended (`SpoolReader.at`), and before we register:
        # from then on the kernel waits for us.
        directory = settings.spool_directory
        self._make_loader("spool", str(directory), lambda *place: SpoolReader.at(directory, *place))
        if writer.torn:
            parts.note(self._daemon.lost(spool=1, torn=writer.torn))
        buffer = settings.kernel.receive_buffer
        if settings.source == "netlink":
            parts.session = session = Session(settings.runtime_directory)
            records = RecordSocket.unicast(buffer)
            session.register(records)
            parts.collector = collector = make_collector(settings.decoder, records, sink)
            if settings.guard != "off":
                restore = settings.guard == "restore"
                meant = Meant(settings.runtime_directory)
                parts.guard = Guard(session, collector, sink, meant, restore=restore)
        elif settings.source == "multicast":
            log.warning("multicast: what does not fit the socket is dropped and is not in `lost`")
            records = RecordSocket.multicast(buffer)
            parts.collector = make_collector(settings.decoder, records, sink)
        else:
            parts.collector = LineCollector(0, sink)

    def _make_loader(self, kind: str, name: str, open_log: Callable[[str, int], Log]) -> None:
        settings, parts = self._settings, self.parts

        def make(secret: bytes) -> Decoder:
            idle = settings.loader.idle
            return make_decoder(settings.decoder_name, secret=secret, host=settings.host, idle=idle)

        def begin() -> Load:
            store = self.known.open(remember=True)
            try:
                self._opened(store)  # it may be another server than before
                load = Load(store, Route(kind, name, open_log, make))
                if kind == "spool":
                    self._report_lost_rows(self.known.compare(store.source(kind, name)))
            except BaseException:
                store.close()
                raise
            return load

        parts.loader = Loader(
            begin,
            batch_bytes=settings.loader.batch_bytes,
            latency=settings.loader.latency,
            arrived=parts.sink.arrived if parts.sink else threading.Event(),
            busy=lambda: parts.busy,
            waiting=lambda: parts.waiting,
        )

    def _report_lost_rows(self, what: str) -> None:
        """Put into the log and into the evidence that rows which were stored are gone."""
        if what:
            log.error(what)
            ourselves = actor(os.getpid())
            self.parts.note(self._daemon.config(ourselves, "store", "state=lost-rows"))

    def _make_watch(self) -> None:
        """See how the kernel is found, before it is changed."""
        session, collector = self.parts.session, self.parts.collector
        if session is None or collector is None:  # elsewhere it is not known what was lost
            return
        watch = CoverageWatch(
            self._settings,
            self._daemon,
            self.parts.note,
            ours=lambda: session.own_rules,
            known_to=lambda: collector.known_to,
        )
        try:
            watch.begin()
        except (AuditsvcError, OSError) as error:
            log.warning("which tasks are covered cannot be seen", why=str(error))
        else:
            self.parts.watch = watch
            collector.receive = watch.receive  # it has not started yet
