"""Makes the parts of a run, by its source, and connects them.

    source --collector thread--> spool --loader thread--> store

Nothing is started here, except that the session is registered as the kernel's audit daemon
when it is made. No part needs the store when it is made: the loader's thread opens it.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from auditsvc.access import pending
from auditsvc.access.listener import Listener
from auditsvc.collect.collector import Collector, LineCollector, make_collector
from auditsvc.collect.journald.source import JournalSource
from auditsvc.collect.logfile import FollowedFile
from auditsvc.coverage.watch import CoverageWatch
from auditsvc.decode import make_decoder
from auditsvc.enrich.cgroup_watch import CgroupWatch, words_of
from auditsvc.enrich.names import NameWatch
from auditsvc.errors import AuditsvcError
from auditsvc.evidence.courier import Courier
from auditsvc.evidence.notary import Notary
from auditsvc.evidence.stored import StoreSide
from auditsvc.guard import Guard, Sanctioned
from auditsvc.guard.finding import quotable
from auditsvc.holder.keeper import open_keeper
from auditsvc.host.capabilities import Capability
from auditsvc.ingest.known_store import KnownStore
from auditsvc.ingest.load import Load, Route
from auditsvc.ingest.loader import Loader
from auditsvc.kernel.netlink import RecordSocket
from auditsvc.kernel.session import Session
from auditsvc.record.daemon import actor
from auditsvc.retention.upkeep import Upkeep
from auditsvc.service.archiving import Archiving
from auditsvc.service.record_sockets import RecordSockets
from auditsvc.service.shipping import Shipping
from auditsvc.spool.identity import source_name
from auditsvc.spool.reader import SpoolReader
from auditsvc.spool.room import Room
from auditsvc.spool.segments import Place, backlog, sizes
from auditsvc.spool.sink import Sink
from auditsvc.spool.writer import SpoolWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from auditsvc.config import Settings
    from auditsvc.decode.batch import Batch
    from auditsvc.decode.contract import Decoder
    from auditsvc.enrich.looker import Looker
    from auditsvc.holder.keeper import Keeper
    from auditsvc.ingest.load import Log
    from auditsvc.record.daemon import DaemonRecords
    from auditsvc.store import Store

log = structlog.get_logger()

_KEEPS: Final[dict[str, tuple[Capability, ...]]] = {
    "spool": (),
    "journal": (Capability.DAC_READ_SEARCH, Capability.SYS_PTRACE),
}
"""Capabilities of the loader's thread, by what it reads: logs and journals of others may be closed
to the service's user, and journald's own sockets are seen in /proc by who may trace it."""

SPOOLED: Final = frozenset({"netlink", "multicast", "stdin"})
"""Sources whose records go through the spool."""


_OF_THIS_HOST: Final = frozenset({"netlink", "multicast"})
"""Those whose records are all of this host's kernel: its users and processes are theirs."""


@dataclass(slots=True)
class Parts:
    """The parts of a run; a part that the source does not need is None."""

    directory: Path
    """Of the spool."""
    session: Session | None = None
    sink: Sink | None = None
    collector: Collector | LineCollector | None = None
    guard: Guard | None = None
    keeper: Keeper | None = None
    loader: Loader | None = None
    watch: CoverageWatch | None = None
    names: NameWatch | None = None
    cgroups: CgroupWatch | None = None
    upkeep: Upkeep | None = None
    archiving: Archiving | None = None
    shipping: Shipping | None = None
    notary: Notary | None = None
    courier: Courier | None = None
    store_side: StoreSide | None = None
    listener: Listener | None = None
    reached: Place = field(default_factory=Place)
    """Up to where the spool was in the store when an earlier run ended."""

    @property
    def lookers(self) -> list[Looker]:
        """What looks up what the records of a batch do not say."""
        return [each for each in (self.names, self.cgroups) if each is not None]

    def seen(self, batch: Batch) -> None:
        """Hand a batch to all of these."""
        for each in self.lookers:
            each.seen(batch)

    def note(self, line: bytes) -> None:
        """Write a DAEMON_* record to the spool, if there is one."""
        if self.sink is not None:
            self.sink.put(line, 1)

    @property
    def busy(self) -> bool:
        """Whether records come in at a high rate."""
        return self.sink is not None and self.sink.busy

    @property
    def committed(self) -> Place | None:
        """Up to where the spool is in the store; None without a spool, or before it was opened."""
        if self.sink is None or self.loader is None or not self.loader.open:
            return None
        segment, position = self.loader.committed
        return Place(int(segment or 0), position)

    @property
    def waiting(self) -> int:
        """Bytes of spool that are not in the store, as far as that is known."""
        place = self.committed or self.reached
        return backlog(self.directory, place) if self.sink is not None else 0


class Wiring:
    """Makes the parts of a run."""

    def __init__(
        self,
        settings: Settings,
        daemon: DaemonRecords,
        opened: Callable[[Store], None],
        *,
        from_now: bool = False,
    ) -> None:
        """`opened` is called, by the loader's thread, with each store that it opens.

        `from_now`: what the spool has already is not loaded into a store that is new to it.
        """
        self._settings = settings
        self._daemon = daemon
        self._opened = opened
        self.parts = Parts(settings.spool_directory)
        self._found: dict[int, int] | None = None
        """The spool's segments and their bytes when we came, until the store was opened."""
        self._old_bytes = 0
        """Bytes that the spool had when we came."""
        self._skip_to: Place | None = None
        """Where a store that is new to the spool begins; None: at the spool's beginning."""
        self._from_now = from_now
        self._sockets: RecordSockets | None = None
        self._torn = b""
        """The incomplete line that a crash left in the spool, until it was recorded."""
        self.known = KnownStore(settings.spool_directory, settings.store)

    @property
    def _spools(self) -> bool:
        return self._settings.source in SPOOLED

    def make_loader(self) -> Loader:
        """Make the spool, where there is one, and what loads it; AuditsvcError."""
        settings = self._settings
        if self._spools:
            self._make_spool()
        elif settings.source == "journal":
            journal = JournalSource(None, settings.host, lambda what: log.error("lost", what=what))
            self._make_loader("journal", journal.name, journal.open)
        else:
            path = Path(settings.source)
            self._make_loader("followed", str(path), lambda *place: FollowedFile(path, *place))
        assert self.parts.loader is not None
        return self.parts.loader

    def find_left(self) -> bool:
        """See what an earlier run left, which must be read soon; gives whether there is any."""
        settings, parts = self._settings, self.parts
        if settings.source != "netlink" or parts.sink is None:
            self._note_torn()
            return False
        parts.keeper = keeper = open_keeper(settings.kernel.holder, settings.runtime_directory)
        self._sockets = RecordSockets(keeper, parts.sink, self._daemon, settings.decoder)
        recovered = self._sockets.recover()
        self._note_torn(recovered)
        return bool(keeper.found)

    def _note_torn(self, recovered: Sequence[bytes] = ()) -> None:
        """Record the incomplete line that a crash left, unless the whole line was recovered."""
        torn, self._torn = self._torn, b""
        if torn and not any(line.startswith(torn) for line in recovered):
            self.parts.note(self._daemon.lost(spool=1, torn=torn))

    def release(self) -> None:
        """End without having registered: what an earlier run left stays for the next one."""
        if self._sockets is not None and self.parts.session is None:
            self._sockets.release_full()

    def make_source(self) -> None:
        """Make what fills the spool, and watches over it; AuditsvcError."""
        if self._spools:
            self._make_collector()
        self._make_watch()

    def make_listener(self) -> None:
        """Begin to take notes of who reads the store; without a spool there is no place for them.

        What hinders that is no reason not to collect.
        """
        if self.parts.sink is None:
            return
        try:
            directory = self._settings.runtime_directory
            listener = Listener(directory, self.known.place, self._daemon, self.parts.note)
        except OSError as error:
            log.warning("who reads the store is not recorded", why=f"{error}")
            return
        listener.start()
        self.parts.listener = listener

    def _make_spool(self) -> None:
        settings, parts = self._settings, self.parts
        notary = parts.notary = self._make_notary()
        writer = SpoolWriter(
            settings.spool_directory,
            segment_bytes=settings.spool.segment_bytes,
            fsync=settings.spool.fsync,
            room=Room(settings.spool.reserve_bytes, settings.spool.limit_bytes),
            last_known=notary.last_segment() if notary is not None else 0,
        )
        parts.sink = Sink(writer, self._daemon)
        if notary is not None:
            notary.begin(writer)
            writer.appended = notary.receive
        directory = settings.spool_directory
        parts.reached = Place(*self.known.last_place())
        # Before anything is appended: a store that comes later may have more of the spool than
        # a crash has left of it (`SpoolReader.at`).
        self._found = found = sizes(directory)
        self._old_bytes = sum(found.values())
        if notary is not None:
            self._make_store_side(notary)
        # A store that has rows of this spool is not new, whatever its checkpoint is called.
        if self._from_now and found and not parts.reached.segment:
            self._skip_to = Place(max(found), found[max(found)])

        def open_log(segment: str, position: int) -> SpoolReader:
            if not segment and self._skip_to is not None:
                return SpoolReader(directory, self._skip_to)
            return SpoolReader.at(directory, segment, position, self._found)

        if settings.source in _OF_THIS_HOST:
            parts.names = NameWatch(lambda *told: parts.note(self._daemon.account(*told)))
            parts.cgroups = CgroupWatch(
                lambda pid, *told: parts.note(self._daemon.cgroup(pid, *words_of(*told)))
            )
        self._make_loader("spool", source_name(directory), open_log)
        self._torn = writer.torn

    def _make_notary(self) -> Notary | None:
        settings = self._settings
        if not settings.evidence.enabled:
            return None
        return Notary(
            settings.spool_directory,
            host=settings.host,
            every=settings.evidence.every,
            synced=settings.spool.fsync != "none",
            choice=settings.decoder,
        )

    def _make_store_side(self, notary: Notary) -> None:
        parts, evidence = self.parts, self._settings.evidence
        courier = parts.courier = Courier(evidence)
        side = parts.store_side = StoreSide(
            source_name(parts.directory),
            every=evidence.every,
            newest=lambda: courier.newest,
            keeps_heads=evidence.store,
        )
        notary.store = lambda: side.bound

    def _beside(self, store: Store, is_last: bool) -> None:
        side = self.parts.store_side
        if side is not None:
            if side.began is None and self._skip_to is not None:
                side.began = self._skip_to
            side.step(store, at_once=is_last)

    def start_notary(self) -> None:
        """Begin to sign; after what an earlier run left was recorded."""
        parts, sink, notary = self.parts, self.parts.sink, self.parts.notary
        if sink is None or notary is None:
            return

        def counts() -> dict[str, int]:
            return {"records": sink.records, "missing": sink.missing, "dropped": sink.dropped}

        def tell(what: str) -> None:
            log.error("the log was altered", what=what)
            finding = f'op=tamper what=log_altered detail="{quotable(what)}" restored=no'
            parts.note(self._daemon.line("DAEMON_CONFIG", f"{finding} res=success"))

        assert parts.courier is not None
        notary.counts, notary.told, notary.signed = counts, tell, parts.courier.take
        if notary.altered:
            tell(notary.altered)
        parts.courier.start()
        notary.start()

    def _make_collector(self) -> None:
        settings, parts, sink = self._settings, self.parts, self.parts.sink
        assert sink is not None
        buffer = settings.kernel.buffer
        if settings.source == "netlink":
            session = Session(settings.runtime_directory)
            records = RecordSocket.unicast(buffer)
            assert self._sockets is not None
            collector = make_collector(settings.decoder, records, sink, self._sockets.landing)
            guard = None
            if settings.guard != "off":
                restore = settings.guard == "restore"
                sanctioned = Sanctioned(settings.runtime_directory)
                guard = Guard(session, collector, sink, sanctioned, restore=restore)
            self._sockets.register(session, records)
            parts.session, parts.collector, parts.guard = session, collector, guard
        elif settings.source == "multicast":
            log.warning("multicast: records are dropped if the socket is full; `lost` has no count")
            records = RecordSocket.multicast(buffer)
            parts.collector = make_collector(settings.decoder, records, sink)
        else:
            parts.collector = LineCollector(0, sink)

    def _make_loader(self, kind: str, name: str, open_log: Callable[[str, int], Log]) -> None:
        settings, parts = self._settings, self.parts

        def make(secret: bytes) -> Decoder:
            return make_decoder(
                settings.decoder_name,
                secret=secret,
                host=settings.host,
                idle=settings.loader.idle,
                trust_kernel_log=settings.ingest.trust_kernel_log,
            )

        def begin() -> Load:
            store = self.known.open(remember=True)
            try:
                self._opened(store)  # it may be another server than before
                is_again = kind == "spool" and not self._rename(store, name)
                seen = parts.seen if parts.lookers else None
                load = Load(store, Route(kind, name, open_log, make), settles=False, seen=seen)
                if kind == "spool":
                    self._remember_place()
                    source = store.source(kind, name)
                    if not is_again:
                        self._report_lost_rows(self.known.compare(source))
                    self._report_beginning(is_new=not source.segment and not is_again)
                self._found = None  # from now on the store has what this run appends
                if problem := pending.load(store, settings.store):
                    log.warning("accesses are not loaded", why=problem)
            except BaseException:
                store.close()
                raise
            return load

        parts.upkeep = Upkeep(settings.retention)
        if settings.archive.to is not None:
            parts.archiving = Archiving(settings)
        if settings.fleet.bucket is not None:
            parts.shipping = Shipping(settings)
        parts.loader = Loader(
            begin,
            batch_bytes=settings.loader.batch_bytes,
            latency=settings.loader.latency,
            arrived=parts.sink.arrived if parts.sink else threading.Event(),
            busy=lambda: parts.busy,
            waiting=lambda: parts.waiting,
            upkeep=parts.upkeep,
            beside=self._beside,
            keeps=_KEEPS.get(kind, (Capability.DAC_READ_SEARCH,)),
        )

    def _rename(self, store: Store, name: str) -> bool:
        """Give this spool's checkpoint its name, if an older program has left it without.

        That program named a spool by its path, which other hosts have too: the checkpoint is this
        spool's only if it is at the position up to which this spool was committed. Otherwise the
        spool is read again, which loses and doubles nothing; then gives False.
        """
        segment, position = self.known.last_place()
        if not segment:
            return True
        old = str(self._settings.spool_directory)
        store.rename_source("spool", old, name, (str(segment), position))
        return store.find("spool", name) is not None or store.find("spool", old) is None

    def _remember_place(self) -> None:
        """Note the position that was committed before, to find out whether the store lost rows."""
        if place := self.parts.committed:
            with suppress(OSError):  # said when it is noted again (`Service`)
                self.known.reached(place.segment, place.position)

    def _report_lost_rows(self, what: str) -> None:
        """Write to the log and to the evidence that the store has lost rows."""
        if what:
            log.error(what)
            ourselves = actor(os.getpid())
            self.parts.note(self._daemon.config(ourselves, "store", "state=lost-rows"))

    def _report_beginning(self, *, is_new: bool) -> None:
        """Log, once, what happens to the records that the spool had before this run."""
        old, self._old_bytes = self._old_bytes, 0
        if not old:
            return
        if self._from_now and not is_new:
            log.warning("--from now has no effect: the store has records of this spool already")
        elif self._from_now:
            log.warning("not loaded into the new store: what the spool had before", bytes=old)
            self.parts.note(self._daemon.config(actor(os.getpid()), "store", "state=from-now"))
        elif is_new:
            log.warning(
                "the store is new to this spool: all that the spool has is loaded into it; "
                "`run --from now` leaves that out",
                bytes=old,
            )

    def _make_watch(self) -> None:
        """Begin the coverage watch, before the kernel's state is changed."""
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
            log.warning("coverage of tasks is unknown", why=str(error))
        else:
            self.parts.watch = watch
            collector.receive = watch.receive  # it has not started yet
