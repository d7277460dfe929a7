"""The store's side of a run: opens the store and the log, and makes what loads one into the other.

    made = Loading(settings, hooks, before)
    made.loader.start()

It is the same in the loader's process (`auditsvc.service.loader_process`), and, where audit is
locked or a journal is closed to that, in a thread of `run`. What it needs of the rest of the run
are its `Hooks`. The signing key, the record socket and the spool's writer are not among them.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from auditsvc.access import pending
from auditsvc.collect.journald.source import JournalSource
from auditsvc.collect.log_files import OWN_FILES
from auditsvc.collect.logfile import FollowedFile
from auditsvc.decode import make_decoder
from auditsvc.evidence import pruned_days
from auditsvc.evidence.stored import StoreSide
from auditsvc.host.capabilities import Capability
from auditsvc.ingest.known_store import KnownStore
from auditsvc.ingest.load import Load, Route
from auditsvc.ingest.loader import Loader
from auditsvc.retention.upkeep import Upkeep
from auditsvc.service.archiving import Archiving
from auditsvc.service.shipping import Shipping
from auditsvc.spool.identity import source_name
from auditsvc.spool.reader import SpoolReader
from auditsvc.spool.segments import Place, backlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.collect.log_files import LogFiles
    from auditsvc.config import Settings
    from auditsvc.decode.batch import Batch
    from auditsvc.decode.contract import Decoder
    from auditsvc.ingest.load import Log
    from auditsvc.store import Store

log = structlog.get_logger()

SPOOLED: Final = frozenset({"netlink", "multicast", "stdin"})
"""Sources whose records go through the spool."""

LOST_ROWS: Final = "lost-rows"
FROM_NOW: Final = "from-now"
NOTES: Final = (LOST_ROWS, FROM_NOW)
"""What is noted of a store in the log."""

_KEEPS: Final[dict[str, tuple[Capability, ...]]] = {
    "spool": (),
    "journal": (Capability.DAC_READ_SEARCH, Capability.SYS_PTRACE),
}
"""Capabilities of the loader's thread, by what it reads: logs and journals of others may be closed
to the service's user, and journald's own sockets are seen in /proc by who may trace it."""


@dataclass(slots=True)
class Before:
    """What the spool had when the run began."""

    found: dict[int, int] | None = None
    """Its segments and their bytes; None once a store was opened."""
    size: int = 0
    """Bytes that it had; 0 once it was logged what happens to them."""
    skip_to: Place | None = None
    """Where a store that is new to the spool begins; None: at the spool's beginning."""
    from_now: bool = False
    """Whether the spool's content is to be left out (`run --from now`)."""


@dataclass(slots=True)
class Hooks:
    """What the rest of the run does for its loader; called by the loader's thread."""

    opened: Callable[[Store], None]
    """Called with each store that is opened, before anything is written."""
    note: Callable[[str], None]
    """Writes one of `NOTES` into the log."""
    seen: Callable[[Batch], None] | None
    """Called with each batch before it is written."""
    newest: Callable[[], str]
    """Gives the head that is to be stored, "" without one."""
    busy: Callable[[], bool]
    """Whether records come in at a high rate."""
    arrived: threading.Event = field(default_factory=threading.Event)
    """Set when there are new lines."""
    is_apart: bool = False
    """Whether this is a process of its own, without capabilities."""
    files: LogFiles = OWN_FILES
    """How the files of a log that is followed are opened."""


class Loading:
    """Makes the loader, and what works with the store between two commits."""

    def __init__(self, settings: Settings, hooks: Hooks, before: Before) -> None:
        """Open nothing yet."""
        self.known = KnownStore(settings.spool_directory, settings.store)
        self.before = before
        self.upkeep = Upkeep(
            settings.retention, announce=partial(pruned_days.announce, settings.spool_directory)
        )
        self.archiving = Archiving(settings) if settings.archive.to is not None else None
        self.shipping = Shipping(settings) if settings.fleet.bucket is not None else None
        self.store_side: StoreSide | None = None
        self.is_of_spool = settings.source in SPOOLED
        self._settings = settings
        self._hooks = hooks
        self._reached = Place()
        self.loader = self._make()

    def _make(self) -> Loader:
        settings = self._settings
        if self.is_of_spool:
            return self._make_of_spool()
        if settings.source == "journal":
            journal = JournalSource(
                None,
                settings.host,
                lambda what: log.error("lost", what=what),
                sees_journald=not self._hooks.is_apart,
            )
            return self._make_loader("journal", journal.name, journal.open)
        path, files = Path(settings.source), self._hooks.files
        return self._make_loader(
            "followed", str(path), lambda name, at: FollowedFile(path, name, at, files)
        )

    def _make_of_spool(self) -> Loader:
        settings, directory = self._settings, self._settings.spool_directory
        self._reached = Place(*self.known.last_place())
        if settings.evidence.enabled:
            self.store_side = StoreSide(
                source_name(directory),
                directory,
                every=settings.evidence.every,
                newest=self._hooks.newest,
                keeps_heads=settings.evidence.store,
            )

        def open_log(segment: str, position: int) -> SpoolReader:
            if not segment and self.before.skip_to is not None:
                return SpoolReader(directory, self.before.skip_to)
            return SpoolReader.at(directory, segment, position, self.before.found)

        return self._make_loader("spool", source_name(directory), open_log)

    def _make_loader(self, kind: str, name: str, open_log: Callable[[str, int], Log]) -> Loader:
        settings = self._settings

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
                return self._begin(store, Route(kind, name, open_log, make))
            except BaseException:
                store.close()
                raise

        return Loader(
            begin,
            batch_bytes=settings.loader.batch_bytes,
            latency=settings.loader.latency,
            arrived=self._hooks.arrived,
            busy=self._hooks.busy,
            waiting=self._waiting,
            upkeep=self.upkeep,
            beside=self._beside,
            keeps=() if self._hooks.is_apart else _KEEPS.get(kind, (Capability.DAC_READ_SEARCH,)),
        )

    def _begin(self, store: Store, route: Route) -> Load:
        self._hooks.opened(store)  # it may be another server than before
        is_spool = route.kind == "spool"
        is_again = is_spool and not self._rename(store, route.name)
        load = Load(store, route, settles=False, seen=self._hooks.seen)
        if is_spool:
            self._remember_place()
            source = store.source(route.kind, route.name)
            if not is_again:
                self._report_lost_rows(self.known.compare(source))
            self._report_beginning(is_new=not source.segment and not is_again)
        self.before.found = None  # from now on the store has what this run appends
        if problem := pending.load(store, self._settings.store):
            log.warning("accesses are not loaded", why=problem)
        return load

    @property
    def _committed(self) -> Place | None:
        if not self.loader.open:
            return None
        segment, position = self.loader.committed
        return Place(int(segment or 0), position)

    def _waiting(self) -> int:
        """Bytes of spool that are not in the store, as far as that is known."""
        if not self.is_of_spool:
            return 0
        return backlog(self._settings.spool_directory, self._committed or self._reached)

    def _beside(self, store: Store, is_last: bool) -> None:
        side, skip_to = self.store_side, self.before.skip_to
        if side is not None:
            if side.began is None and skip_to is not None:
                side.began = skip_to
            side.step(store, at_once=is_last)

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
        if place := self._committed:
            with suppress(OSError):  # said when it is noted again (`Service`)
                self.known.reached(place.segment, place.position)

    def _report_lost_rows(self, what: str) -> None:
        """Write to the log and to the evidence that the store has lost rows."""
        if what:
            log.error(what)
            self._hooks.note(LOST_ROWS)

    def _report_beginning(self, *, is_new: bool) -> None:
        """Log, once, what happens to the records that the spool had before this run."""
        before = self.before
        old, before.size = before.size, 0
        if not old:
            return
        if before.from_now and not is_new:
            log.warning("--from now has no effect: the store has records of this spool already")
        elif before.from_now:
            log.warning("not loaded into the new store: what the spool had before", bytes=old)
            self._hooks.note(FROM_NOW)
        elif is_new:
            log.warning(
                "the store is new to this spool: all that the spool has is loaded into it; "
                "`run --from now` leaves that out",
                bytes=old,
            )
