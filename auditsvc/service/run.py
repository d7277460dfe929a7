"""One run: starts its parts, monitors them, and ends them in order.

    source --collector thread--> spool --loader's process--> store
              main thread: signals, the kernel's state, the rules, what `status` shows

Collecting needs no store: the spool and the kernel come first, and the loader opens the store
when it answers. Only a store that is refused for what it is (another program's, another than
the one that was known) ends the run before it begins, if it answers at once.

Two processes: this one collects, and what parses attackers' bytes has no capabilities
(docs/decisions/0033). The kernel excludes only the registered tgid from auditing, so the other
one has rules that exclude it, or it would be fed with its own calls.

On SIGTERM, SIGINT, the end of --duration or of the input, and on an error: the service's rules are
deleted, the enabled flag and the limits are restored, and all received records are stored; of much
that waits in the spool when the service is stopped, the next run loads the rest.
"""

from __future__ import annotations

import math
import os
import signal
import time
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

import structlog
from systemd import daemon as systemd

from auditsvc.alert.watch import AlertWatch
from auditsvc.decode import decoder_in_use
from auditsvc.errors import AuditsvcError, StoreError, of_system
from auditsvc.forward.process import Child
from auditsvc.host.signals import OF_RUN, Signals
from auditsvc.record.daemon import DaemonRecords, actor
from auditsvc.record.fields import UNSET
from auditsvc.runtime import switch_requests
from auditsvc.runtime.forward_state import CONSUMER
from auditsvc.runtime.service_state import has_left
from auditsvc.runtime.verify_results import ResultWatch
from auditsvc.service.alerts import Noted
from auditsvc.service.discard import Discard
from auditsvc.service.exclusions import Exclusions
from auditsvc.service.health import Health
from auditsvc.service.last_head import DELIVER_SECONDS, sign_last, sign_lines
from auditsvc.service.progress import standing_still
from auditsvc.service.reload import LIVE, changed, merged
from auditsvc.service.space import SpaceWatch
from auditsvc.service.wiring import Wiring
from auditsvc.store.databases import sqlite_file
from auditsvc.store.read.feed import Feed
from auditsvc.store.sharing import share_with

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from auditsvc.config import Settings
    from auditsvc.evidence.key_file import KeyFile
    from auditsvc.kernel.session import Session
    from auditsvc.record.daemon import Actor
    from auditsvc.rule import Add
    from auditsvc.service.metrics import Metrics
    from auditsvc.service.reload import Read
    from auditsvc.store import Store

log = structlog.get_logger()

_LEAVE_SECONDS = 5.0
"""How long a current transaction is waited for when the next run takes over."""
_TICK = 0.5
_SYNC_EVERY = 1.0
_DISCARD_EVERY = 5.0
_LOADS_ALL = ("end-of-input", "duration")
"""Ends of a run that was asked for a certain input: all of it is loaded first."""
_STORE_SECONDS = 5.0
"""How long a store may take to answer before collecting begins without it."""


class Service:
    """One run. `run` returns when it has ended without an error, else raises AuditsvcError."""

    def __init__(
        self,
        settings: Settings,
        rules: Sequence[Add],
        notes: Sequence[str] = (),
        read: Read | None = None,
        *,
        from_now: bool = False,
        key_file: KeyFile | None = None,
    ) -> None:
        """Open and change nothing before `run`; `notes` go to the log, `read` is for a reload.

        `from_now`: a store that is new to the spool gets only what this run collects.
        `key_file`: of the signing keys, opened before privileges were dropped.
        """
        self._settings = settings
        self._read = read
        self._daemon = DaemonRecords()
        self._forwarder = Child(settings) if settings.forward.enabled else None
        self._exclusions = Exclusions(rules, self._forwarder, settings.store_server_user)
        self._health = Health(settings, self._daemon, notes)
        self._wiring = Wiring(
            settings,
            self._daemon,
            self._store_opened,
            self._store_opened_elsewhere,
            from_now=from_now,
            key_file=key_file,
        )
        self._parts = self._wiring.parts
        self._switch = switch_requests.Watch(settings.runtime_directory)
        self._discard = Discard(self._parts, self._daemon)
        self._space = self._health.space = SpaceWatch(settings, self._parts)
        self._noted = Noted(settings)
        self._alerts: AlertWatch | None = None
        self._verified = ResultWatch(settings.runtime_directory)
        self._discarded_at = self._synced_at = 0.0
        self._metrics: Metrics | None = None

    def run(self, duration: float | None) -> None:
        """Collect and load until a signal, an error, the end of the input or of `duration` (s)."""
        self._wiring.prepare()
        try:
            self._run(duration)
        finally:
            self._wiring.close()

    def _run(self, duration: float | None) -> None:
        signals = Signals(OF_RUN)
        ends = None if duration is None else time.monotonic() + duration
        try:
            self._begin()
            self._health.report_errors(self._parts)
            self._health.show_state(self._parts)  # before READY, so that it can be read then
            log.info(
                "ready",
                source=self._settings.source,
                store=self._health.place,
                decoder=decoder_in_use(self._settings.decoder_name),
            )
            systemd.notify("READY=1")
            reason, who = self._wait(signals, ends)
        except BaseException as error:
            self._end_after(error)
            raise
        systemd.notify("STOPPING=1")
        last = self._daemon.end(who, reason)
        if reason == "restart":
            self._leave(last)
        else:
            self._end(last, loads_all=reason in _LOADS_ALL)
        log.info("stopped", reason=reason)

    # --- beginning ---------------------------------------------------------------------

    def _begin(self) -> None:
        settings, parts = self._settings, self._parts
        self._exclusions.start()
        self._health.place = self._wiring.known.place
        loader = self._wiring.make_loader()
        self._exclusions.set_loader(self._wiring.process)
        is_urgent = self._wiring.find_left()  # the kernel fills what an earlier run left
        if is_urgent:
            self._start_source()
        self._wiring.start_notary()
        if is_urgent:
            self._begin_session()
        loader.start()
        for passes in (parts.archiving, parts.shipping):
            if passes is not None:
                passes.start()
        loader.await_store(_STORE_SECONDS)
        self._wiring.make_listener()
        if not is_urgent:
            self._start_source()
            self._begin_session()
        self._health.report_notes(parts)
        self._alerts = AlertWatch(settings, crashes=has_left(settings.runtime_directory))
        self._alerts.start()
        self._watch_helpers()
        self._exclusions.warn(parts.session)
        if parts.watch is not None:
            parts.watch.go()
        for each in parts.lookers:
            each.start()
        if settings.metrics.is_on:  # imports what no other run needs
            self._metrics = import_module("auditsvc.service.metrics").Metrics(settings)
            self._metrics.start()

    def _begin_session(self) -> None:
        """Load the rules; those that exclude the loader's process are among them."""
        settings, parts = self._settings, self._parts
        if parts.session is not None:
            parts.note(self._daemon.start(actor(os.getppid())))
            switch_requests.forget(settings.runtime_directory)
            parts.session.begin(self._exclusions.begin(), settings.kernel.backlog_limit)
            if parts.guard is not None:
                parts.guard.begin()

    def _start_source(self) -> None:
        self._wiring.make_source()
        if self._parts.collector is not None:
            self._parts.collector.start()

    def _store_opened(self, store: Store) -> None:
        """See to what needs the store, before anything is written; the loader's thread."""
        if self._settings.forward.enabled:
            Feed(store, CONSUMER)  # so that it begins with the first event of this run
        self._share()
        self._exclusions.look(store)

    def _store_opened_elsewhere(self, connection: socket.socket | None, backend: int) -> None:
        """See to what is our part when the loader's process opens a store."""
        self._share()
        self._exclusions.look_at(connection, backend)

    def _share(self) -> None:
        if (file := sqlite_file(self._settings.store)) is not None:
            self._health.errors["readers' group"] = share_with(self._settings.access.readers, file)

    # --- running -----------------------------------------------------------------------

    def _wait(self, signals: Signals, ends: float | None) -> tuple[str, Actor]:
        """Monitor all parts until there is a reason to stop; gives it, and who caused it."""
        ourselves = actor(os.getpid())
        while True:
            left = _TICK if ends is None else max(0.0, min(_TICK, ends - time.monotonic()))
            got = signals.wait(left)
            if got is not None:
                who = self._who_signalled(got)
                keeper = self._parts.keeper
                if got.si_signo == signal.SIGUSR1:
                    return "restart" if keeper and keeper.outlives else "terminate", who
                if got.si_signo != signal.SIGHUP:
                    return "terminate", who
                self._reload(who)
                if self._parts.sink is not None:
                    self._parts.sink.rotate()
            if ends is not None and time.monotonic() >= ends:
                return "duration", ourselves
            self._tick()
            if self._space.stops:
                return "space", ourselves
            if self._parts.collector is not None and self._parts.collector.ended:
                return "end-of-input", ourselves

    def _reload(self, who: Actor) -> None:
        """Use the rules and settings as they are now; on an error keep the old ones, and say so."""
        try:
            state, later = self._use_new() if self._read is not None else ("no-change", [])
        except (AuditsvcError, OSError) as error:
            log.error("reload failed: the old rules and settings stay", why=str(error))  # noqa: TRY400 - no traceback
            systemd.notify("STATUS=reload failed: the old rules and settings stay")
            self._parts.note(
                self._daemon.config(who, "reconfigure", "state=no-change", success=False)
            )
            return
        waits = f"these settings change at the next restart: {', '.join(later)}" if later else ""
        systemd.notify(f"STATUS={waits}")
        self._parts.note(self._daemon.config(who, "reconfigure", f"state={state}"))

    def _use_new(self) -> tuple[str, list[str]]:
        """Read everything again and use it; AuditsvcError before anything was changed.

        Gives the evidence's state, and the changed settings that need a restart.
        """
        assert self._read is not None
        settings, rules, notes = self._read()
        differing = changed(self._settings, settings)
        session = self._parts.session
        before = session.control.rules() if session is not None else []
        if session is not None:
            self._exclusions.change(rules, session)
        rules_changed = session is not None and session.control.rules() != before
        used = [name for name in differing if name in LIVE]
        self._settings = merged(self._settings, settings)
        if self._forwarder is not None and any(name.startswith("forward.") for name in used):
            self._forwarder.reload(self._settings)
        self._space.keep_bytes = self._settings.spool.keep_bytes
        if self._parts.upkeep is not None:
            self._parts.upkeep.retention = self._settings.retention
        for note in notes:
            log.warning(note)
        self._health.report_notes(self._parts)
        if later := [name for name in differing if name not in LIVE]:
            log.warning("these settings change at the next restart", settings=", ".join(later))
        log.info("reloaded", settings=", ".join(used) or "none", rules=len(rules))
        return ("changed" if used or rules_changed else "no-change"), later

    def _tick(self) -> None:
        parts = self._parts
        for part in (parts.collector, parts.loader, parts.watch, *parts.lookers):
            if part is not None and part.error is not None:
                raise part.error
        now = time.monotonic()
        if still := standing_still(parts, now):
            self._health.errors["threads"] = f"the {still} stands still: systemd will end this run"
        else:
            self._health.errors["threads"] = ""
            systemd.notify("WATCHDOG=1")
        self._watch_switch()
        self._watch_verify()
        self._watch_kernel()
        self._watch_helpers()
        if parts.sink is not None and now - self._synced_at >= _SYNC_EVERY:
            self._synced_at = now
            parts.sink.sync()
        self._health.errors["metrics"] = self._metrics.problem if self._metrics else ""
        self._health.errors["alert"] = self._alerts.problem if self._alerts else ""
        self._space.look(now)
        self._health.report_errors(parts)
        place = parts.committed
        if place and now - self._discarded_at >= _DISCARD_EVERY:
            self._discarded_at = now
            self._remember_place()
            self._health.errors["discard"] = self._discard.step(
                self._settings, place, self._space.keep
            )
        self._health.show_state(parts)
        if self._alerts is not None and self._health.state is not None:
            self._alerts.note(self._noted.facts(parts, self._health.state, self._space))

    def _remember_place(self) -> None:
        """Record in the spool's folder up to which place the store has it."""
        place, loader = self._parts.committed, self._parts.loader
        errors = self._health.errors
        errors["store's place"] = ""
        try:
            if place and loader is not None and not loader.store_error:
                self._wiring.known.reached(place.segment, place.position)
        except OSError as error:
            errors["store's place"] = of_system(error)
        except StoreError as error:
            errors["store's place"] = str(error)

    def _watch_switch(self) -> None:
        """Record who requested `off` or `on`: the kernel's records have less, or nothing."""
        for request in self._switch.new():
            state = "on" if request.on else "off"
            log.warning("audit was switched", state=state, auid=request.who.auid)
            self._parts.note(self._daemon.config(request.who, "switch", f"state={state}"))

    def _watch_verify(self) -> None:
        """Record the result of `auditsvc verify`."""
        result = self._verified.new()
        if result is None:
            return
        if not result.proved:
            log.error("verify: not proved", findings=result.findings, auid=result.who.auid)
        self._noted.verify = "" if result.proved else "`auditsvc verify`: not proved"
        what = result.fields()
        self._parts.note(self._daemon.config(result.who, "verify", what, success=result.proved))

    def _watch_kernel(self) -> None:
        """Record what the kernel lost, and check that it still sends its records to us."""
        session, guard = self._parts.session, self._parts.guard
        self._health.note_lost(self._parts)
        if guard is not None:
            guard.look()
            return
        if session is None or session.registered:
            return
        # The kernel drops a daemon that did not read for too long (auditd_reset in kernel/audit.c).
        log.error("the kernel stopped sending records to this service: registering again")
        self._parts.note(self._daemon.config(actor(os.getpid()), "register", "state=given-up"))
        session.register_again()

    def _watch_helpers(self) -> None:
        """Keep the forwarder running; exclude it and a local server from the rules."""
        if self._parts.keeper is not None:
            self._parts.keeper.watch()
        if self._parts.overflow is not None:
            self._parts.overflow.look(time.monotonic())
        if self._exclusions.watch(self._parts.session):
            self._health.report_notes(self._parts)

    def _who_signalled(self, got: signal.struct_siginfo) -> Actor:
        session = self._parts.session
        who = actor(got.si_pid, got.si_uid)
        known = session.signalled_by() if session is not None else None
        # Of a sender that has ended, the kernel knows the login uid (or, without one, the uid).
        if known is None or known.pid != got.si_pid or known.uid == got.si_uid:
            return who
        return replace(who, auid=known.uid) if who.auid == UNSET else who

    # --- ending ------------------------------------------------------------------------

    def _end(self, last: bytes, *, loads_all: bool = False) -> None:
        """Stop the sources of records, read the last ones, restore the kernel, load the rest.

        Without `loads_all` within `loader.patience`: who stops a service does not wait for ever.
        """
        parts, health = self._parts, self._health
        # These steps run from the last to the first, each even if an earlier one failed.
        with ExitStack() as steps:
            steps.callback(health.raise_failures, parts)
            steps.callback(health.remove_state)
            if self._forwarder is not None:
                steps.callback(self._forwarder.stop)
            # A place that did not get the last head is named, however short the run was.
            steps.callback(health.report_last_head, parts)
            steps.callback(sign_last, parts, DELIVER_SECONDS)
            steps.callback(self._remember_place)
            if parts.loader is not None and parts.loader.is_alive():
                patience = self._settings.loader.patience
                longest = math.inf if loads_all else patience
                steps.callback(health.report_rest, parts)
                steps.callback(parts.loader.finish, patience, longest)
            if parts.sink is not None:
                steps.callback(health.report_errors, parts)
                steps.callback(sign_lines, parts)  # loading the rest takes time, and may be killed
                steps.callback(parts.sink.close)
            steps.callback(self._end_keeper)
            if parts.session is not None:
                steps.callback(health.report_notes, parts)
                steps.callback(parts.session.close)
                steps.callback(parts.note, last)
            if parts.collector is not None and parts.collector.is_alive():
                steps.callback(parts.collector.stop)
            if parts.session is not None:
                steps.callback(health.note_lost, parts)
                steps.callback(self._restore, parts.session)
                steps.callback(self._watch_switch)
            if parts.guard is not None:
                steps.callback(parts.guard.last_look)
            watches = (parts.watch, self._metrics, parts.listener, parts.archiving, parts.shipping)
            for part in (*parts.lookers, *watches, self._space, self._alerts):
                if part is not None:
                    steps.callback(part.finish)

    def _end_keeper(self) -> None:
        """Keep the socket no longer; without one of our own, what is kept is for the next run."""
        keeper = self._parts.keeper
        if keeper is None:
            return
        if self._parts.session is not None:
            keeper.end()
        else:
            self._wiring.release()
            keeper.leave()

    def _leave(self, last: bytes) -> None:
        """End for a restart: the kernel goes on logging into the socket, which is kept."""
        parts, health = self._parts, self._health
        assert parts.session is not None
        assert parts.keeper is not None
        with ExitStack() as steps:
            steps.callback(health.remove_state)
            steps.callback(sign_last, parts, 0.0)
            steps.callback(sign_lines, parts)
            steps.callback(parts.keeper.leave)
            steps.callback(parts.session.leave)
            if parts.sink is not None:
                steps.callback(parts.sink.close)
            # What takes time comes before this: from here on nobody reads the socket.
            if parts.collector is not None and parts.collector.is_alive():
                steps.callback(parts.collector.stop, 0.0)
            steps.callback(parts.note, last)
            steps.callback(self._remember_place)
            if parts.loader is not None and parts.loader.is_alive():
                steps.callback(parts.loader.leave, _LEAVE_SECONDS)
            if self._forwarder is not None:
                steps.callback(self._forwarder.stop)
            steps.callback(health.report_notes, parts)
            steps.callback(health.note_lost, parts)
            steps.callback(self._watch_switch)
            if parts.guard is not None:
                steps.callback(parts.guard.last_look)
            watches = (parts.watch, self._metrics, parts.listener, parts.archiving, parts.shipping)
            for part in (*parts.lookers, *watches, self._space, self._alerts):
                if part is not None:
                    steps.callback(part.finish)

    def _restore(self, session: Session) -> None:
        """Restore the kernel; a request of `off` stays in effect, even if audit was on before."""
        session.restore(stay_off=not switch_requests.wanted_on(self._settings.runtime_directory))

    def _end_after(self, error: BaseException) -> None:
        """End the run after an error; that error is the one that is reported."""
        try:
            self._end(self._daemon.abort(str(error)))
        except (AuditsvcError, OSError) as second:
            if str(second) != str(error):  # the same error again is not logged
                log.error("while stopping", why=str(second))  # noqa: TRY400 - no traceback
