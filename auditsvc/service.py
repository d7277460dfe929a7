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
import time
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from systemd import daemon as systemd

from auditsvc import spool
from auditsvc.collector import Collector, LineCollector, Sink
from auditsvc.daemon import Actor, DaemonRecords, actor
from auditsvc.decode import make_decoder
from auditsvc.errors import AuditsvcError, ConfigError
from auditsvc.kernel.netlink import RecordSocket
from auditsvc.kernel.session import Session
from auditsvc.loader import Load, Loader
from auditsvc.logfile import FollowedFile
from auditsvc.spool import Place, SpoolReader, SpoolWriter
from auditsvc.state import State, write_state
from auditsvc.store import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditsvc.config import Settings
    from auditsvc.decode.interface import Decoder
    from auditsvc.loader import Log
    from auditsvc.rule import Rule
    from auditsvc.store import Store

log = structlog.get_logger()

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_TICK = 1.0
_DISCARD_EVERY = 5.0


class Service:
    """One run. `run` returns when it has ended well and raises AuditsvcError otherwise."""

    def __init__(self, settings: Settings, rules: Sequence[Rule]) -> None:
        """Nothing is opened or changed before `run`."""
        self._settings = settings
        self._rules = rules
        self._daemon = DaemonRecords()
        self._session: Session | None = None
        self._sink: Sink | None = None
        self._collector: Collector | LineCollector | None = None
        self._loader: Loader
        self._began = time.time()
        self._discarded_at = 0.0

    def run(self, duration: float | None) -> None:
        """Collect and load until a signal, an error, the end of the input or of `duration` (s)."""
        # Threads inherit the mask, so that only `_wait` takes the signals.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        ends = None if duration is None else time.monotonic() + duration
        try:
            self._begin()
            log.info("ready", source=self._settings.source, store=self._shown_store())
            systemd.notify("READY=1")
            reason, who = self._wait(ends)
        except BaseException as error:
            self._end_after(error)
            raise
        systemd.notify("STOPPING=1")
        self._end(reason, who)
        log.info("stopped", reason=reason)
        self._raise_what_is_left()

    # --- beginning ---------------------------------------------------------------------

    def _begin(self) -> None:
        settings = self._settings
        source = settings.source
        if source in {"netlink", "multicast", "stdin"}:
            self._begin_spooled(source)
        else:
            self._begin_followed(Path(source))
        self._loader.start()
        if self._collector is not None:
            self._collector.start()
        if self._session is not None:
            assert self._sink is not None
            self._session.begin(self._rules, settings.kernel.backlog_limit)
            for note in self._session.notes:
                log.warning(note)

    def _begin_spooled(self, source: str) -> None:
        settings = self._settings
        # The store first: a wrong URL must show before anything else is touched.
        open_store(settings.store).close()
        writer = SpoolWriter(
            settings.spool_directory,
            segment_bytes=settings.spool.segment_bytes,
            fsync=settings.spool.fsync,
        )
        self._sink = sink = Sink(writer, self._daemon)
        if writer.torn:
            sink.put(self._daemon.lost(spool=1, torn=writer.torn), 1)
        if source == "netlink":
            self._session = Session(settings.runtime_directory / "found.json")
            records = self._session.register(settings.kernel.receive_buffer)
            self._collector = Collector(records, sink)
            sink.put(self._daemon.start(actor(os.getppid())), 1)
        elif source == "multicast":
            log.warning("multicast: records that do not fit the socket are dropped without being counted in `lost`")
            records = RecordSocket.multicast(receive_buffer=settings.kernel.receive_buffer)
            self._collector = Collector(records, sink)
        else:
            self._collector = LineCollector(0, sink)
        self._loader = self._make_loader(("spool", str(settings.spool_directory)), self._open_spool)

    def _begin_followed(self, path: Path) -> None:
        self._loader = self._make_loader(("file", str(path)), lambda s, p: FollowedFile(path, s, p))

    def _open_spool(self, segment: str, position: int) -> Log:
        return SpoolReader.at(self._settings.spool_directory, segment, position)

    def _make_loader(
        self, source: tuple[str, str], open_log: Callable[[str, int], Log]
    ) -> Loader:
        settings = self._settings

        def make(secret: bytes) -> Decoder:
            return make_decoder(
                settings.decoder, secret=secret, host=settings.host, idle=settings.loader.idle
            )

        def begin() -> Load:
            store = open_store(settings.store)
            try:
                return Load(store, source, make, open_log)
            except BaseException:
                store.close()
                raise

        return Loader(
            begin,
            batch_bytes=settings.loader.batch_bytes,
            latency=settings.loader.latency,
            arrived=self._sink.arrived if self._sink else threading.Event(),
            busy=self._busy,
            waiting=self._waiting,
        )

    def _busy(self) -> bool:
        return self._collector is not None and self._collector.busy

    def _waiting(self) -> int:
        """Bytes of spool that are not in the store."""
        if self._sink is None:
            return 0
        segment, position = self._loader.committed
        return spool.backlog(self._settings.spool_directory, Place(int(segment or 0), position))

    # --- running -----------------------------------------------------------------------

    def _wait(self, ends: float | None) -> tuple[str, Actor]:
        """Watch over everything until there is a reason to stop; returns it, and who gave it."""
        ourselves = actor(os.getpid())
        while True:
            left = _TICK if ends is None else max(0.0, min(_TICK, ends - time.monotonic()))
            got = signal.sigtimedwait(_SIGNALS, left)
            if got is not None:
                who = self._who_signalled(got)
                if got.si_signo != signal.SIGHUP:
                    return "terminate", who
                self._note(self._daemon.config(who, "reconfigure", "state=no-change"))
                if self._sink is not None:
                    self._sink.rotate()
            if ends is not None and time.monotonic() >= ends:
                return "duration", ourselves
            if isinstance(self._collector, LineCollector) and self._collector.ended:
                return "end-of-input", ourselves
            self._tick()

    def _tick(self) -> None:
        for part in (self._collector, self._loader):
            if part is not None and part.error is not None:
                raise part.error
        self._note_lost()
        self._log_troubles()
        systemd.notify("WATCHDOG=1")
        now = time.monotonic()
        if self._sink is not None and now - self._discarded_at >= _DISCARD_EVERY:
            self._discarded_at = now
            segment, position = self._loader.committed
            spool.discard(
                self._settings.spool_directory,
                Place(int(segment or 0), position),
                self._settings.spool.keep_bytes,
            )
        write_state(self._settings.runtime_directory, self._state())

    def _who_signalled(self, got: signal.struct_siginfo) -> Actor:
        # The kernel's own answer first: it is not mistaken about a process that has gone.
        known = self._session.signalled_by() if self._session is not None else None
        if known is not None and known.pid == got.si_pid:
            return known
        return actor(got.si_pid, got.si_uid)

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
        now = {"store": self._loader.trouble, "spool": self._sink.refused if self._sink else ""}
        for part, trouble in now.items():
            if trouble != self._troubles[part]:
                if trouble:
                    log.error(f"{part} takes nothing just now", why=trouble)
                else:
                    log.info(f"{part} is well again")
        self._troubles = now

    def _state(self) -> State:
        status = self._session.status() if self._session is not None else None
        return State(
            pid=os.getpid(),
            began=self._began,
            written=time.time(),
            source=self._settings.source,
            store=shown(self._settings.store),
            decoder=decoder_in_use(self._settings.decoder),
            rules=self._session.added if self._session is not None else 0,
            records=self._sink.records if self._sink else 0,
            missing=self._sink.missing if self._sink else 0,
            kernel_lost=self._kernel_lost,
            kernel_backlog=status.backlog if status else 0,
            spool_waiting=self._waiting(),
            spool_trouble=self._troubles["spool"],
            store_trouble=self._troubles["store"],
        )

    # --- ending ------------------------------------------------------------------------

    def _end(self, reason: str, who: Actor) -> None:
        """Stop what makes records, take the last ones, put the kernel back, load the rest."""
        if self._session is not None:
            self._session.quiet()
            self._note_lost()
        if self._collector is not None:
            self._collector.stop()
        if self._session is not None:
            self._note(self._daemon.end(who, reason))
            self._session.leave()
            for note in self._session.notes:
                log.warning(note)
        if self._sink is not None:
            self._sink.close()
        self._loader.finish()
        remove_state(self._settings.runtime_directory)
