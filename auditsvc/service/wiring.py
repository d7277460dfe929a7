"""Makes the parts of a run, by its source, and connects them.

    source --collector thread--> spool --loader's process--> store

Nothing is started here, except that the session is registered as the kernel's audit daemon
when it is made, and that the loader's process is made before there are threads. No part needs the
store when it is made: the loader opens it.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from auditsvc.access.listener import Listener
from auditsvc.collect.collector import Collector, LineCollector, make_collector
from auditsvc.collect.journald.overflow import Overflow
from auditsvc.collect.journald.source import JournalSource
from auditsvc.collect.logfile import open_log
from auditsvc.coverage.watch import CoverageWatch
from auditsvc.enrich.cgroup_watch import CgroupWatch, words_of
from auditsvc.enrich.names import NameWatch
from auditsvc.errors import AuditsvcError, SpoolError
from auditsvc.evidence.courier import Courier
from auditsvc.evidence.notary import Notary
from auditsvc.evidence.sealing import Sealing
from auditsvc.guard import Guard, Sanctioned
from auditsvc.guard.finding import quotable
from auditsvc.holder.keeper import open_keeper
from auditsvc.host.capabilities import drop_in_thread
from auditsvc.ingest.known_store import KnownStore
from auditsvc.kernel.control import is_locked
from auditsvc.kernel.netlink import RecordSocket
from auditsvc.kernel.session import Session
from auditsvc.record.daemon import actor
from auditsvc.service.exclusions import KEYS
from auditsvc.service.loader_child import fork_loader
from auditsvc.service.loading import SPOOLED, Before, Hooks, Loading
from auditsvc.service.record_sockets import RecordSockets
from auditsvc.service.remote_loader import RemoteLoader
from auditsvc.service.remote_parts import (
    Callbacks,
    RemotePasses,
    RemoteSealing,
    RemoteUpkeep,
)
from auditsvc.service.source_files import SourceFiles
from auditsvc.spool.room import Room
from auditsvc.spool.segments import Place, backlog, sizes
from auditsvc.spool.sink import Sink
from auditsvc.spool.writer import SpoolWriter

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from auditsvc.config import Settings
    from auditsvc.decode.batch import Batch
    from auditsvc.enrich.cgroup_watch import Seen as SeenProcess
    from auditsvc.enrich.looker import Looker
    from auditsvc.evidence.key_file import KeyFile
    from auditsvc.holder.keeper import Keeper
    from auditsvc.ingest.loader import Loader
    from auditsvc.record.daemon import DaemonRecords
    from auditsvc.retention.upkeep import Upkeep
    from auditsvc.service.loader_child import Child
    from auditsvc.service.passes import Passes
    from auditsvc.store import Store

log = structlog.get_logger()

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
    loader: Loader | RemoteLoader | None = None
    watch: CoverageWatch | None = None
    names: NameWatch | None = None
    cgroups: CgroupWatch | None = None
    upkeep: Upkeep | RemoteUpkeep | None = None
    archiving: Passes | RemotePasses | None = None
    shipping: Passes | RemotePasses | None = None
    notary: Notary | None = None
    courier: Courier | None = None
    listener: Listener | None = None
    overflow: Overflow | None = None
    """Looks what journald lost, where the loader's process may not."""
    reached: Place = field(default_factory=Place)
    """Up to where the spool was in the store when an earlier run ended."""

    @property
    def lookers(self) -> list[Looker]:
        """What looks up what the records of a batch do not say."""
        return [each for each in (self.names, self.cgroups) if each is not None]

    def sealing(self, settings: Settings, last: int) -> Sealing | RemoteSealing:
        """Make what seals the rows of segments: it decodes them, so it is the loader's part."""
        if isinstance(self.loader, RemoteLoader):
            return RemoteSealing(self.loader, last)
        return Sealing(settings, last)

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
        opened_elsewhere: Callable[[socket.socket | None, int], None],
        *,
        from_now: bool = False,
        key_file: KeyFile | None = None,
    ) -> None:
        """`opened` is called, by the loader's thread, with each store that it opens.

        `opened_elsewhere`: the same of a loader's process, with the connection to the store's
        server, if it has one, and the pid that this says.
        `from_now`: what the spool has already is not loaded into a store that is new to it.
        """
        self._settings = settings
        self._key_file = key_file
        self._daemon = daemon
        self._opened = opened
        self._opened_elsewhere = opened_elsewhere
        self._spare: Child | None = None
        self.parts = Parts(settings.spool_directory)
        self._before = Before(from_now=from_now)
        self._sockets: RecordSockets | None = None
        self._torn = b""
        """The incomplete line that a crash left in the spool, until it was recorded."""
        self.known = KnownStore(settings.spool_directory, settings.store)

    @property
    def _spools(self) -> bool:
        return self._settings.source in SPOOLED

    def make_loader(self) -> Loader | RemoteLoader:
        """Make the spool, where there is one, and what loads it; AuditsvcError."""
        parts = self.parts
        if self._spools:
            self._make_spool()
        if self._spare is not None:
            loader: Loader | RemoteLoader = self._make_remote(self._spare)
        else:
            loader = self._make_thread()
        parts.loader = loader
        return loader

    def _make_thread(self) -> Loader:
        """Make the loader as a thread of this process."""
        parts = self.parts
        made = Loading(self._settings, self._hooks(), self._before)
        parts.upkeep, side = made.upkeep, made.store_side
        parts.archiving, parts.shipping = made.archiving, made.shipping
        if parts.notary is not None and side is not None:
            parts.notary.store = lambda: side.bound
        return made.loader

    def prepare(self) -> None:
        """Make the loader's process, where there is one; before this process has threads.

        SpoolError at once for a source that is not there. No process where audit is locked: there
        it could not be excluded from auditing, and would be fed with its own calls; as a thread of
        the registered process it is not audited.
        """
        settings = self._settings
        if settings.source == "netlink" and is_locked():
            log.warning("audit is locked (-e 2): the loader is a thread of this process")
            return
        if not self._spools and (why := _needs_us(settings)):
            log.warning("the loader is a thread of this process", why=why)
            return
        try:
            self._spare = fork_loader()
        except OSError as error:
            log.warning("the loader is a thread of this process", why=error.strerror)

    def close(self) -> None:
        """See that there is no process any more; the end of the run."""
        if isinstance(self.parts.loader, RemoteLoader):
            self.parts.loader.close()
        elif self._spare is not None:
            self._spare.end()
        self._spare = None

    @property
    def process(self) -> RemoteLoader | None:
        """The loader, if it is a process."""
        return self.parts.loader if isinstance(self.parts.loader, RemoteLoader) else None

    def _make_remote(self, spare: Child) -> RemoteLoader:
        """Make the loader as a process."""
        parts, names, cgroups = self.parts, self.parts.names, self.parts.cgroups
        source = self._settings.source

        def take_ids(kind: str, numbers: set[int]) -> None:
            if names is not None:
                names.take(kind, numbers)

        def take_processes(found: list[SeenProcess]) -> None:
            if cgroups is not None:
                cgroups.take(found)

        loader = RemoteLoader(
            self._settings,
            spare,
            self._before,
            Callbacks(
                opened=self._opened_elsewhere,
                note=self._note_store,
                ids=take_ids,
                processes=take_processes,
                newest=lambda: parts.courier.newest if parts.courier else "",
                busy=lambda: parts.busy,
                arrived=parts.sink.arrived if parts.sink else threading.Event(),
                sees=bool(parts.lookers),
                files=None if self._spools or source == "journal" else SourceFiles(Path(source)),
            ),
        )
        if source == "journal":
            parts.overflow = Overflow(lambda what: log.error("lost", what=what))
        parts.upkeep = RemoteUpkeep(loader)
        if self._settings.archive.to is not None:
            parts.archiving = RemotePasses(lambda: loader.problems.archive)
        if self._settings.fleet.bucket is not None:
            parts.shipping = RemotePasses(lambda: loader.problems.fleet)
        if parts.notary is not None:
            parts.notary.store = lambda: loader.bound
        return loader

    def _hooks(self) -> Hooks:
        parts = self.parts
        return Hooks(
            opened=self._opened,
            note=self._note_store,
            seen=parts.seen if parts.lookers else None,
            newest=lambda: parts.courier.newest if parts.courier else "",
            busy=lambda: parts.busy,
            arrived=parts.sink.arrived if parts.sink else threading.Event(),
        )

    def _note_store(self, state: str) -> None:
        """Write into the log what was found of the store."""
        self.parts.note(self._daemon.config(actor(os.getpid()), "store", f"state={state}"))

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
            if notary.moved:
                log.warning(
                    "the key that signs was taken out of the reach of the loader's process",
                    was=notary.moved,
                    now=str(settings.key_path),
                )
            writer.appended = notary.receive
        directory = settings.spool_directory
        parts.reached = Place(*self.known.last_place())
        # Before anything is appended: a store that comes later may have more of the spool than
        # a crash has left of it (`SpoolReader.at`).
        before = self._before
        before.found = found = sizes(directory)
        before.size = sum(found.values())
        # A store that has rows of this spool is not new, whatever its checkpoint is called.
        if before.from_now and found and not parts.reached.segment:
            before.skip_to = Place(max(found), found[max(found)])
        if notary is not None:
            parts.courier = Courier(settings.evidence)
        if settings.source in _OF_THIS_HOST:
            parts.names = NameWatch(lambda *told: parts.note(self._daemon.account(*told)))
            parts.cgroups = CgroupWatch(
                lambda pid, *told: parts.note(self._daemon.cgroup(pid, *words_of(*told)))
            )
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
            key_file=self._key_file,
        )

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
            session = Session(settings.runtime_directory, KEYS)
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


def _needs_us(settings: Settings) -> str:
    """Why a source can only be read by this process; "" if a process without capabilities can.

    SpoolError if it is not there, or not what it should be. A file is opened by us for it
    (`auditsvc.service.source_files`). The files of a journal are opened again and again, by
    libsystemd: there the group systemd-journal must be enough.
    """
    if settings.source != "journal":
        open_log(Path(settings.source)).close()
        return ""

    def look() -> None:
        JournalSource(None, settings.host, lambda _: None, sees_journald=False)

    why: list[str] = []

    def look_without() -> None:
        drop_in_thread()
        try:
            look()
        except SpoolError as error:
            why.append(error.what)

    tried = threading.Thread(target=look_without)
    tried.start()
    tried.join()
    if why:
        look()
    return "".join(why)
