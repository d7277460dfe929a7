"""The loader's process from the side of `run`: starts it, tells it news, hears how it goes.

    spare = fork_loader()                      # before `run` has threads
    loader = RemoteLoader(settings, spare, before, callbacks)
    loader.start()
    ...
    loader.watch(); loader.release()           # twice a second, the main thread
    loader.finish(patience); loader.close()

It has what `auditsvc.ingest.loader.Loader` has, so that the rest of the run asks the one like the
other.

Invariants:

* Nothing but the sender's thread waits for the process: neither collecting nor the main thread.
* What it says is checked and taken at a bounded rate (`auditsvc.service.loader_link`). A message
  that is none is the end of the process.
* If it ends by itself, or stands still, another one is started after 1, 2, 4 ... 60 seconds; until
  then `store_error` says why. Its pid is not used again before `watch` has waited for it, and the
  one that comes opens no store before `release`: in between it is excluded from auditing.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from auditsvc import errors
from auditsvc.enrich.cgroup_watch import Seen as SeenProcess
from auditsvc.enrich.names import GROUP, USER
from auditsvc.errors import AuditsvcError
from auditsvc.ingest.loader import STALLED_SECONDS
from auditsvc.service.loader_child import Child, start_loader
from auditsvc.service.loader_link import answer, read_reports, send_news, take_note, take_opened
from auditsvc.service.loader_reports import (
    Ask,
    Bound,
    Failed,
    Note,
    Opened,
    Sealed,
    Seen,
    State,
)
from auditsvc.service.remote_parts import Problems

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.config import RetentionSettings, Settings
    from auditsvc.service.loader_reports import Report
    from auditsvc.service.loading import Before
    from auditsvc.service.remote_parts import Callbacks

log = structlog.get_logger()

_AGAIN_FIRST, _AGAIN_MOST = 1.0, 60.0
_STABLE_SECONDS: Final = 60.0
_STILL_TICKS: Final = 120
"""Calls of `watch` without a sign of life after which the process is killed: about a minute. Calls
are counted, as the clock goes on while this process is stopped, too."""
_STILL_SECONDS: Final = 60.0
_PAUSE: Final = 0.02
"""Least time between two messages of news."""
_LOOK: Final = 0.5
_LOOK_BUSY: Final = 0.05
_END_SECONDS: Final = 12.0
_SOON: Final = 2.0


class RemoteLoader:
    """The loader of a spool, as a process."""

    def __init__(
        self,
        settings: Settings,
        child: Child,
        before: Before,
        callbacks: Callbacks,
        start: Callable[[], Child] = start_loader,
    ) -> None:
        """`child` has been told nothing yet; `start` makes another one."""
        self.error: BaseException | None = None
        """The error by which the loader ended for good."""
        self.bound: dict[str, Any] = {}
        """What the next head binds of the store; {} until that was read."""
        self.open = False
        self.sealed: Sealed | None = None
        self.losses = 0
        """Processes that ended by themselves."""
        self.turn = 0
        """Changes whenever a process ends or is started."""
        self._settings = settings
        self._before = before
        self._callbacks = callbacks
        self._start = start
        self._child: Child | None = child
        self._state: State | None = None
        self._failed: Failed | None = None
        self._gaps_before = 0
        self._lost = ""
        self._late = ""
        self._pause = _AGAIN_FIRST
        self._due = 0.0
        self._end: dict[str, Any] | None = None
        self._is_started = self._is_done = False
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._listen(child)

    # --- what Loader has ----------------------------------------------------------------

    @property
    def committed(self) -> tuple[str, int]:
        """Segment and position up to which rows are in the store; valid if `open`."""
        state = self._state
        return ("", 0) if state is None else (str(state.segment or ""), state.position)

    @property
    def hindrance(self) -> str:
        """Why the store's file cannot be kept small now, "" if it can."""
        return "" if self._state is None else self._state.hindrance

    @property
    def gaps(self) -> int:
        """Serials that were not seen, since the start."""
        return self._gaps_before + (0 if self._state is None else self._state.gaps)

    @property
    def store_error(self) -> str:
        """Why rows cannot be stored now, "" if they can."""
        if self._lost or self._late:
            return self._lost or self._late
        return "" if self._state is None else self._state.store_error

    @property
    def asks(self) -> bool:
        """Whether nobody needs to look after it: `watch` does."""
        return True

    @property
    def beat(self) -> float:
        """See `asks`."""
        return time.monotonic()

    def is_alive(self) -> bool:
        """Whether it was started, and has not ended for good."""
        return self._is_started and not self._is_done

    def start(self) -> None:
        """Let the process begin; the main thread."""
        self._is_started = True
        threading.Thread(target=self._tell, name="loader link", daemon=True).start()
        self.release()

    def await_store(self, patience: float) -> None:
        """Wait until the store was opened or failed to open, for at most `patience` seconds.

        Raises the error that ended the loader: up to now, a foreign store is refused.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._has_tried() or self._is_dead(), patience)
        if self.error is not None:
            raise self.error
        if self._is_dead():
            self._bury()
        elif not self._has_tried():
            self._late = "the store has not answered yet"
        self._post({"kind": "late"})

    def _has_tried(self) -> bool:
        return self._is_done or bool(self._state and self._state.tried)

    def finish(self, patience: float, longest: float = math.inf) -> None:
        """Have the rest of the log loaded, then end it; waits as `Loader.finish`."""
        self._post({"kind": "head", "head": self._callbacks.newest()})
        self._end_by({"kind": "finish"})
        ends = time.monotonic() + longest
        again, came = True, False
        while not self._is_done:
            left = ends - time.monotonic()
            with self._changed:
                news = self._news_since(self._state)
                is_news = self._changed.wait_for(news, max(0.0, min(patience, left)))
            came |= is_news
            if self._is_done:
                return
            if self._is_dead():
                self._bury()
                if self._is_done or not again:
                    return
                again = False
                self._begin_again()
                self.release()
            elif not is_news and (left >= patience or not came):
                self._late = f"the store has not answered for {patience:g} s"
                return
            elif time.monotonic() >= ends:
                last = min(patience, STALLED_SECONDS)
                self.leave(last)
                if not self._is_done:
                    self._late = f"the store has not answered for {last:g} s"
                return

    def leave(self, patience: float) -> None:
        """End it after the current transaction; what is not loaded then is for the next run."""
        self._end_by({"kind": "leave"})
        with self._changed:
            self._changed.wait_for(lambda: self._is_done or self._is_dead(), patience)
        self.close(0.0)

    def _news_since(self, before: State | None) -> Callable[[], bool]:
        """Give what says whether rows came since a state, or the process ended."""

        def has_news() -> bool:
            now = self._state
            is_more = now is not None and (before is None or now.commits != before.commits)
            return self._is_done or is_more or self._is_dead()

        return has_news

    def _end_by(self, message: dict[str, Any]) -> None:
        self._end = message
        self._post(message)

    def close(self, patience: float = _END_SECONDS) -> None:
        """See that there is no process any more."""
        self._closing.set()
        self._callbacks.arrived.set()
        child, self._child = self._child, None
        if child is None:
            return
        ends = time.monotonic() + patience
        while self._is_done and not child.has_ended() and time.monotonic() < ends:
            time.sleep(_PAUSE)
        if not child.has_ended():
            child.kill()
        child.reap()
        child.channel.close()

    # --- the process: the main thread ----------------------------------------------------

    @property
    def pid(self) -> int | None:
        """The process that loads; None while there is none."""
        child = self._child
        return None if child is None or child.has_ended() else child.pid

    def watch(self) -> None:
        """See whether the process lives; start another one when it is time."""
        if self._is_done:
            return
        child = self._child
        if child is None:
            if time.monotonic() >= self._due:
                self._begin_again()
        elif child.has_ended() or self._is_dead():
            self._bury()
        else:
            self._look_after(child)

    def release(self) -> None:
        """Let a new process open the store: it is excluded from auditing, if that is possible."""
        child = self._child
        if child is None or child.is_released:
            return
        child.is_released = True
        before = self._before
        skip_to = before.skip_to
        begin = {
            "kind": "begin",
            "settings": self._settings.model_dump(mode="json"),
            "seen": self._callbacks.sees,
            "before": {
                "found": before.found,
                "size": before.size,
                "skip_to": None if skip_to is None else [skip_to.segment, skip_to.position],
                "from_now": before.from_now,
            },
        }
        child.outbox.appendleft(begin)
        if self.losses:
            self._post({"kind": "late"})
        if self._end is not None and self.losses:
            self._post(self._end)
        self._callbacks.arrived.set()

    def _look_after(self, child: Child) -> None:
        child.silent += 1
        state = self._state
        if child.is_released and child.silent > _STILL_TICKS:
            child.kill("it was silent for a minute")
        elif state is not None and not state.asks and state.quiet > _STILL_SECONDS:
            child.kill("it stood still for a minute")

    def _is_dead(self) -> bool:
        child = self._child
        return child is None or child.has_hung_up

    def _bury(self) -> None:
        """Wait for a process that has ended, and say why it has."""
        child, self._child = self._child, None
        if child is None:
            return
        if child.reader is not None:
            child.reader.join(_SOON)
        if not child.has_ended():  # it has closed its end
            child.kill()
        status = child.reap()
        child.channel.close()
        if self._state is not None:
            self._gaps_before += self._state.gaps
            fresh = {"gaps": 0, "tried": False, "asks": True}
            self._state = self._state.model_copy(update=fresh)
        if self._is_done:
            return
        why = child.fault or (self._failed.what if self._failed is not None else "")
        self._failed = None
        why = why or child.how(status)
        lived = time.monotonic() - child.began
        self._pause = _AGAIN_FIRST if lived > _STABLE_SECONDS else self._pause
        self._due = time.monotonic() + self._pause
        self.losses += 1
        self.turn += 1
        self._lost = f"the loader's process ended ({why}), and is started again"
        log.error("the loader's process ended", why=why, again_in=self._pause)
        self._pause = min(self._pause * 2, _AGAIN_MOST)

    def _begin_again(self) -> None:
        try:
            self._child = child = self._start()
            self.turn += 1
        except OSError as error:
            log.error("the loader's process cannot be started", why=error.strerror)  # noqa: TRY400
            self._due = time.monotonic() + _AGAIN_MOST
            return
        self._listen(child)

    # --- what it is told: a thread -------------------------------------------------------

    def _post(self, message: dict[str, Any]) -> None:
        if (child := self._child) is not None:
            child.outbox.append(message)
        self._callbacks.arrived.set()

    def _tell(self) -> None:
        """Send what waits, and news, until `close`."""
        arrived = self._callbacks.arrived
        while not self._closing.is_set():
            child = self._child
            is_news = arrived.wait(_LOOK_BUSY if child is not None and child.busy else _LOOK)
            arrived.clear()
            if child is not None and child is self._child and child.is_released:
                try:
                    send_news(child, self._callbacks, is_news=is_news)
                except OSError:  # it has ended: `watch` sees it
                    time.sleep(_LOOK_BUSY)
            self._closing.wait(_PAUSE)

    # --- what it says: a thread ----------------------------------------------------------

    def _listen(self, child: Child) -> None:
        child.reader = threading.Thread(
            target=self._read, args=(child,), name="loader reports", daemon=True
        )
        child.reader.start()

    def _read(self, child: Child) -> None:
        read_reports(child, self._take)
        with self._changed:
            self._changed.notify_all()

    def _take(self, child: Child, report: Report, descriptor: int) -> None:
        calls = self._callbacks
        if isinstance(report, State):
            self._take_state(report)
        elif isinstance(report, Bound):
            self.bound = report.as_bound()
        elif isinstance(report, Seen):
            calls.ids(USER, set(report.users))
            calls.ids(GROUP, set(report.groups))
            calls.processes([SeenProcess(*each) for each in report.processes])
        elif isinstance(report, Note):
            self._before.size = 0
            take_note(child, calls, report.what)
        elif isinstance(report, Opened):
            take_opened(child, calls, report, descriptor)
        elif isinstance(report, Ask):
            answer(child, calls, report)
        elif isinstance(report, Sealed):
            self.sealed = report
        else:
            self._failed = report
            if report.name:
                self._fail(report)

    def _take_state(self, state: State) -> None:
        with self._changed:
            self._state = state
            if state.tried:
                self._lost = self._late = ""
            if state.open:
                self.open = True
                self._before.found, self._before.size = None, 0
            if state.ended and self._end is not None and self._failed is None:
                self._is_done = True
            self._changed.notify_all()

    def _fail(self, failed: Failed) -> None:
        """Keep an error that the loader means as its end."""
        kind = getattr(errors, failed.name, None)
        if not (isinstance(kind, type) and issubclass(kind, errors.StoreError)):
            kind = AuditsvcError
        with self._changed:
            self.error = kind(failed.what, failed.hint)
            self._is_done = True
            self._changed.notify_all()

    # --- what is done besides ------------------------------------------------------------

    @property
    def retention(self) -> RetentionSettings:
        """What the store keeps."""
        return self._settings.retention

    def change_retention(self, retention: RetentionSettings) -> None:
        """Use this retention from the next look on."""
        self._settings = self._settings.model_copy(update={"retention": retention})
        self._post({"kind": "retention", "settings": self._settings.model_dump(mode="json")})

    def seal(self, last: int) -> None:
        """Have the rows of all segments up to one sealed; `sealed` says what came of it."""
        self.sealed = None
        self._post({"kind": "seal", "last": last})

    @property
    def problems(self) -> Problems:
        """Why the store cannot be pruned, archived and shipped."""
        state = self._state
        return Problems(state.retention, state.archive, state.fleet) if state else Problems()
