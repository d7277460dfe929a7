"""`auditsvc run`: one source, one spool, one store, and the kernel left as it was found.

    source --collector thread--> spool --loader thread--> store
              main thread: signals, the kernel's state, the rules, what `status` shows

One process, because the kernel exempts exactly the registered tgid from auditing: a
second one would audit itself in a loop. On SIGTERM, SIGINT, the end of --duration or of
the input, and on an error: our rules go, the enabled flag and the limits that we found
come back, and everything drained is stored.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from systemd import daemon as systemd

from auditsvc import spool, switch
from auditsvc.collector import Collector, LineCollector, make_collector
from auditsvc.coverage.watch import Watch
from auditsvc.daemon import UNSET, DaemonRecords, actor
from auditsvc.decode import decoder_in_use, make_decoder
from auditsvc.errors import AuditsvcError, SpoolError, StoreError
from auditsvc.guard import Guard, Meant
from auditsvc.journal.choice import CONSUMER
from auditsvc.journal.process import Child
from auditsvc.journal.source import JournalSource
from auditsvc.kernel.netlink import RecordSocket
from auditsvc.kernel.session import Session
from auditsvc.known_store import KnownStore
from auditsvc.loader import Load, Loader, Route
from auditsvc.logfile import FollowedFile
from auditsvc.neighbour import Server, excluded, excluded_process, local_server
from auditsvc.signals import Signals
from auditsvc.sink import Sink
from auditsvc.spool import Place, SpoolReader, SpoolWriter
from auditsvc.state import State, remove_state, write_state
from auditsvc.store.feed import Feed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from auditsvc.config import Settings
    from auditsvc.daemon import Actor
    from auditsvc.decode.interface import Decoder
    from auditsvc.loader import Log
    from auditsvc.rule import Add

log = structlog.get_logger()

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_TICK = 0.5
_SYNC_EVERY = 1.0
_DISCARD_EVERY = 5.0


class Service:
    """One run. `run` returns when it has ended well and raises AuditsvcError otherwise."""

    def __init__(self, settings: Settings, rules: Sequence[Add], notes: Sequence[str] = ()) -> None:
        """Nothing is opened or changed before `run`; `notes` go to the log."""
        self._settings = settings
        self._rules = rules
        self._notes = notes
        self._daemon = DaemonRecords()
        self._session: Session | None = None
        self._sink: Sink | None = None
        self._collector: Collector | None = None
        self._guard: Guard | None = None
        self._loader: Loader | None = None
        self._watch: Watch | None = None
        self._place = ""
        self._began = time.time()
        self._discarded_at = self._synced_at = 0.0
        self._kernel_lost = 0
        self._trouble: dict[str, str] = {}
        """What does not work just now, by part; "" if it does."""
        self._said: dict[str, str] = {}
        self._server: Server | None = None
        """The store's, if it runs on this host; the loader's thread sets it."""
        self._excluded: Server | None = None
        self._forwarder = Child(settings) if settings.forward.enabled else None
        self._forwarder_pid: int | None = None
        self._switch = switch.Watch(settings.runtime_directory)
        self._known = KnownStore(settings.spool_directory, settings.store)

    def run(self, duration: float | None) -> None:
        """Collect and load until a signal, an error, the end of the input or of `duration` (s)."""
        signals = Signals(_SIGNALS)
        ends = None if duration is None else time.monotonic() + duration
        try:
            self._begin()
            self._log_troubles()
            self._show_state()  # whoever hears of READY finds us
            log.info(
                "ready",
                source=self._settings.source,
                store=self._place,
                decoder=decoder_in_use(self._settings.decoder_name),
            )
            systemd.notify("READY=1")
            reason, who = self._wait(signals, ends)
        except BaseException as error:
            self._end_after(error)
            raise
        systemd.notify("STOPPING=1")
        self._end(self._daemon.end(who, reason))
        log.info("stopped", reason=reason)

    # --- beginning ---------------------------------------------------------------------

    def _begin(self) -> None:
        settings = self._settings
        # The store first: a wrong URL must show before anything else is touched.
        with self._known.open(remember=True) as store:
            self._place = store.place
            self._server = local_server(store)
            if settings.forward.enabled:
                Feed(store, CONSUMER)  # so that it begins with the first event of this run
        if settings.source in {"netlink", "multicast", "stdin"}:
            self._begin_spooled()
        elif settings.source == "journal":
            journal = JournalSource(None, settings.host, lambda what: log.error("lost", what=what))
            self._make_loader("journal", journal.name, journal.open)
        else:
            path = Path(settings.source)
            self._make_loader("followed", str(path), lambda *place: FollowedFile(path, *place))
        assert self._loader is not None
        self._make_watch()
        if self._collector is not None:
            self._collector.start()
        self._loader.start()
        if self._session is not None:
            self._note(self._daemon.start(actor(os.getppid())))
            self._excluded = self._server
            switch.forget(settings.runtime_directory)
            self._session.begin(self._all_rules(), settings.kernel.backlog_limit)
            if self._guard is not None:
                self._guard.begin()
            self._say_notes()
        self._watch_forwarder()
        self._say_excluded()
        if self._watch is not None:
            self._watch.go()

    def _make_watch(self) -> None:
        """See how the kernel is found, before it is changed."""
        session, collector = self._session, self._collector
        if session is None or collector is None:  # elsewhere it is not known what was lost
            return
        watch = Watch(self._settings, self._daemon, self._note, lambda: session.own_rules)
        try:
            watch.begin()
        except (AuditsvcError, OSError) as error:
            log.warning("which tasks are covered cannot be seen", why=str(error))
        else:
            self._watch = watch
            collector.hear = watch.hear  # it has not started yet

    def _begin_spooled(self) -> None:
        settings = self._settings
        writer = SpoolWriter(
            settings.spool_directory,
            segment_bytes=settings.spool.segment_bytes,
            fsync=settings.spool.fsync,
        )
        self._sink = Sink(writer, self._daemon)
        # The reader before anything is appended (`SpoolReader.at`), and before we register:
        # from then on the kernel waits for us.
        directory = settings.spool_directory
        self._make_loader("spool", str(directory), lambda *place: SpoolReader.at(directory, *place))
        if writer.torn:
            self._note(self._daemon.lost(spool=1, torn=writer.torn))
        buffer = settings.kernel.receive_buffer
        if settings.source == "netlink":
            self._session = Session(settings.runtime_directory)
            records = RecordSocket.unicast(buffer)
            self._session.register(records)
            collector = make_collector(settings.decoder, records, self._sink)
            self._collector = collector
            if settings.guard != "off":
                restore = settings.guard == "restore"
                meant = Meant(settings.runtime_directory)
                self._guard = Guard(self._session, collector, self._sink, meant, restore=restore)
        elif settings.source == "multicast":
            log.warning("multicast: what does not fit the socket is dropped and is not in `lost`")
            records = RecordSocket.multicast(buffer)
            self._collector = make_collector(settings.decoder, records, self._sink)
        else:
            self._collector = LineCollector(0, self._sink)

    def _make_loader(self, kind: str, name: str, open_log: Callable[[str, int], Log]) -> None:
        settings = self._settings

        def make(secret: bytes) -> Decoder:
            idle = settings.loader.idle
            return make_decoder(settings.decoder_name, secret=secret, host=settings.host, idle=idle)

        def begin() -> Load:
            store = self._known.open(remember=True)
            try:
                self._server = local_server(store)  # it may be another than before
                load = Load(store, Route(kind, name, open_log, make))
                if kind == "spool":
                    self._say_behind(self._known.compare(store.source(kind, name)))
            except BaseException:
                store.close()
                raise
            return load

        self._loader = Loader(
            begin,
            batch_bytes=settings.loader.batch_bytes,
            latency=settings.loader.latency,
            arrived=self._sink.arrived if self._sink else threading.Event(),
            busy=self._busy,
            waiting=self._waiting,
        )

    def _say_behind(self, what: str) -> None:
        """Put into the log and into the evidence that rows which were stored are gone."""
        if what:
            log.error(what)
            self._note(self._daemon.config(actor(os.getpid()), "store", "state=lost-rows"))

    def _busy(self) -> bool:
        return self._sink is not None and self._sink.busy

    def _waiting(self) -> int:
        """Bytes of spool that are not in the store."""
        place = self._committed()
        return spool.backlog(self._settings.spool_directory, place) if place else 0

    def _committed(self) -> Place | None:
        """Up to where the spool is in the store; None without a spool."""
        if self._sink is None or self._loader is None:
            return None
        segment, position = self._loader.committed
        return Place(int(segment or 0), position)

    # --- running -----------------------------------------------------------------------

    def _wait(self, signals: Signals, ends: float | None) -> tuple[str, Actor]:
        """Watch over everything until there is a reason to stop; returns it, and who gave it."""
        ourselves = actor(os.getpid())
        while True:
            left = _TICK if ends is None else max(0.0, min(_TICK, ends - time.monotonic()))
            got = signals.wait(left)
            if got is not None:
                who = self._who_signalled(got)
                if got.si_signo != signal.SIGHUP:
                    return "terminate", who
                self._note(self._daemon.config(who, "reconfigure", "state=no-change"))
                if self._sink is not None:
                    self._sink.rotate()
            if ends is not None and time.monotonic() >= ends:
                return "duration", ourselves
            self._tick()
            if self._collector is not None and self._collector.ended:
                return "end-of-input", ourselves

    def _tick(self) -> None:
        for part in (self._collector, self._loader, self._watch):
            if part is not None and part.error is not None:
                raise part.error
        systemd.notify("WATCHDOG=1")
        self._watch_switch()
        self._watch_kernel()
        self._watch_server()
        self._watch_forwarder()
        now = time.monotonic()
        if self._sink is not None and now - self._synced_at >= _SYNC_EVERY:
            self._synced_at = now
            self._sink.sync()
        self._log_troubles()
        place = self._committed()
        if place and now - self._discarded_at >= _DISCARD_EVERY:
            self._discarded_at = now
            self._remember_place()
            self._discard(place)
        self._show_state()

    def _remember_place(self) -> None:
        """Note beside the spool up to where the store has it."""
        place = self._committed()
        try:
            if place and self._loader is not None and not self._loader.trouble:
                self._known.reached(place.segment, place.position)
        except OSError as error:
            self._trouble["store's place"] = f"{error.filename}: {error.strerror}"
        except StoreError as error:
            self._trouble["store's place"] = str(error)
        else:
            self._trouble["store's place"] = ""

    def _discard(self, place: Place) -> None:
        keep = self._settings.spool.keep_bytes
        try:
            spool.discard(self._settings.spool_directory, place, keep)
        except SpoolError as error:
            self._trouble["discard"] = str(error)
        else:
            self._trouble["discard"] = ""

    def _show_state(self) -> None:
        """Tell `status`; that it cannot be told is no reason to stop."""
        try:
            write_state(self._settings.runtime_directory, self._state())
        except OSError as error:
            self._trouble["state"] = f"{error.filename}: {error.strerror}"
        else:
            self._trouble["state"] = ""

    def _watch_switch(self) -> None:
        """Put into the evidence who asked for `off` or `on`: the kernel says less, or nothing."""
        for request in self._switch.new():
            state = "on" if request.on else "off"
            log.warning("audit was switched", state=state, auid=request.who.auid)
            self._note(self._daemon.config(request.who, "switch", f"state={state}"))

    def _watch_kernel(self) -> None:
        """Note what the kernel lost, and see that it still sends its records to us."""
        self._note_lost()
        if self._guard is not None:
            self._guard.look()
            return
        if self._session is None or self._session.registered:
            return
        # A reader that stood still for too long is given up (auditd_reset in kernel/audit.c).
        log.error("the kernel had stopped sending records to us: asking for them again")
        self._note(self._daemon.config(actor(os.getpid()), "register", "state=given-up"))
        self._session.register_again()

    def _all_rules(self) -> list[Add]:
        own = excluded_process(self._forwarder_pid)
        return [*excluded(self._excluded), *own, *self._rules]

    def _watch_server(self) -> None:
        """Exclude a database server of this host for as long as it lives, and no longer."""
        if self._session is None:
            return
        server = self._server if self._server is not None and self._server.alive else None
        if server != self._excluded:
            self._excluded = server
            self._session.hold(self._all_rules())
            self._say_excluded()
            self._say_notes()

    def _watch_forwarder(self) -> None:
        """See that the forwarder runs, and exclude it for as long as it lives."""
        if self._forwarder is None:
            return
        self._forwarder.watch()
        if self._session is not None and self._forwarder.pid != self._forwarder_pid:
            self._forwarder_pid = self._forwarder.pid
            self._session.hold(self._all_rules())
            self._say_notes()

    def _say_excluded(self) -> None:
        if self._excluded is not None and self._session is not None:
            log.warning(
                "the store's server runs on this host: its own calls are not audited",
                pid=self._excluded.pid,
            )
        elif self._server is not None and self._session is None:
            log.warning(
                "the store's server runs on this host: leave it out of the rules, or it is fed "
                "with its own calls",
                pid=self._server.pid,
            )

    def _who_signalled(self, got: signal.struct_siginfo) -> Actor:
        who = actor(got.si_pid, got.si_uid)
        known = self._session.signalled_by() if self._session is not None else None
        # Of a sender that has gone the kernel remembers the login uid (or the uid, if it had none).
        if known is None or known.pid != got.si_pid or known.uid == got.si_uid:
            return who
        return replace(who, auid=known.uid) if who.auid == UNSET else who

    def _note(self, line: bytes) -> None:
        if self._sink is not None:
            self._sink.put(line, 1)

    def _note_lost(self) -> None:
        if self._session is None:
            return
        new = self._session.new_lost()
        if new:
            self._kernel_lost += new
            self._note(self._daemon.lost(kernel=new))
            log.error("the kernel lost records", records=new)

    def _log_troubles(self) -> None:
        """Say each trouble once, and once that it is over."""
        self._trouble["store"] = self._loader.trouble if self._loader else ""
        self._trouble["spool"] = self._sink.refused if self._sink else ""
        self._trouble["coverage"] = self._watch.trouble if self._watch else ""
        for part, trouble in self._trouble.items():
            if trouble != self._said.get(part, ""):
                if trouble:
                    log.error("takes nothing just now", part=part, why=trouble)
                else:
                    log.info("is well again", part=part)
        self._said = self._trouble.copy()

    def _state(self) -> State:
        status = self._session.status() if self._session is not None else None
        return State(
            pid=os.getpid(),
            began=self._began,
            written=time.time(),
            source=self._settings.source,
            store=self._place,
            decoder=decoder_in_use(self._settings.decoder_name),
            rules=self._session.added if self._session is not None else 0,
            records=self._sink.records if self._sink else 0,
            missing=self._sink.missing if self._sink else 0,
            kernel_lost=self._kernel_lost,
            tamper=self._guard.findings if self._guard else 0,
            kernel_backlog=status.backlog if status else 0,
            spool_waiting=self._waiting(),
            spool_trouble=self._trouble["spool"],
            store_trouble=self._trouble["store"],
        )

    # --- ending ------------------------------------------------------------------------

    def _end(self, last: bytes) -> None:
        """Stop what makes records, take the last ones, put the kernel back, load the rest."""
        # From the last line to the first, each whether or not one before it failed.
        with ExitStack() as steps:
            steps.callback(self._complain)
            steps.callback(remove_state, self._settings.runtime_directory)
            if self._forwarder is not None:
                steps.callback(self._forwarder.stop)
            steps.callback(self._remember_place)
            if self._loader is not None and self._loader.is_alive():
                steps.callback(self._loader.finish, self._settings.loader.patience)
            if self._sink is not None:
                steps.callback(self._sink.close)
            if self._session is not None:
                steps.callback(self._say_notes)
                steps.callback(self._session.leave)
                steps.callback(self._note, last)
            if self._collector is not None and self._collector.is_alive():
                steps.callback(self._collector.stop)
            if self._session is not None:
                steps.callback(self._note_lost)
                steps.callback(self._quiet, self._session)
                steps.callback(self._watch_switch)
            if self._guard is not None:
                steps.callback(self._guard.last_look)
            if self._watch is not None:
                steps.callback(self._watch.finish)

    def _quiet(self, session: Session) -> None:
        """What `off` asked for outlives us, even if audit was on when we came."""
        session.quiet(stay_off=not switch.wanted_on(self._settings.runtime_directory))

    def _end_after(self, error: BaseException) -> None:
        """The same after an error, which stays the one that is reported."""
        try:
            self._end(self._daemon.abort(str(error)))
        except (AuditsvcError, OSError) as second:
            if str(second) != str(error):  # what stopped us may hinder stopping too: say it once
                log.error("while stopping", why=str(second))  # noqa: TRY400 - no traceback

    def _complain(self) -> None:
        """Raise what must not pass as a run that ended well."""
        if self._sink is not None and self._sink.missing:
            raise SpoolError(
                f"{self._sink.missing} records could not be written: {self._sink.refused}"
            )
        for part in (self._collector, self._loader):
            if part is not None and part.error is not None:
                raise part.error
        if self._loader is not None and self._loader.trouble:
            raise StoreError(
                f"{self._waiting()} bytes of log are not in the store yet: {self._loader.trouble}",
                "the spool keeps them, and the next run loads them",
            )

    def _say_notes(self) -> None:
        for note in (*self._notes, *(self._session.notes if self._session else ())):
            log.warning(note)
        self._notes = ()
        if self._session is not None:
            self._session.notes.clear()
