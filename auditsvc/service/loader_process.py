"""The loader's process: what parses attackers' bytes, without capabilities and in a filter.

    run (socket, registration, spool, rules, key) --socket pair--> this process (decoder, store)

It has the user and the groups of `run` but no capability, and most calls that would help an
attacker are closed (`auditsvc.kernel.syscall_filter`). It does what `auditsvc.service.loading`
makes, tells `run` how that goes (`auditsvc.service.loader_reports`), and does what `run` says:

    begin                              settings, and what the spool had: open the store and load
    arrived, busy, head, opened        news
    answer                             a file of the log that is followed (`source_files`)
    late, retention, seal              what to do besides
    finish, leave                      load the rest and end, or end now

Invariants:

* It opens no store before `begin`: `run` has excluded it from auditing by then.
* One process loads a spool at a time, also in the moment in which an earlier one is killed: it
  holds a lock on a file in the spool's folder. Rows and checkpoint commit together, so it may be
  killed at any moment.
* It ends when `run` does: the kernel kills it (PR_SET_PDEATHSIG), and the socket pair ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from auditsvc.config import settings_of
from auditsvc.enrich.cgroup_watch import processes_of
from auditsvc.enrich.names import GROUP, USER, ids_of
from auditsvc.enrich.names import MOST as MOST_NAMES
from auditsvc.errors import AuditsvcError, StoreError
from auditsvc.evidence.sealing import Sealing
from auditsvc.host.capabilities import keep_only
from auditsvc.host.files import make_folder, open_file
from auditsvc.host.processes import end_with_parent, set_name
from auditsvc.host.signals import OF_RUN
from auditsvc.kernel.syscall_filter import close_calls
from auditsvc.runtime.forward_state import CONSUMER
from auditsvc.service.frames import Channel
from auditsvc.service.loader_reports import (
    MOST_IDS,
    MOST_TEXT,
    MOST_TEXTS,
    Bound,
    Facts,
    Failed,
    Note,
    Opened,
    Sealed,
    Seen,
    State,
)
from auditsvc.service.loading import SPOOLED, Before, Hooks, Loading
from auditsvc.service.local_server import Server, local_server
from auditsvc.service.source_files import AskedFiles
from auditsvc.spool.segments import Place
from auditsvc.store.databases import sqlite_file
from auditsvc.store.read.feed import Feed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

    from auditsvc.config import Settings
    from auditsvc.decode.batch import Batch
    from auditsvc.service.frames import Message
    from auditsvc.store import Store

log = structlog.get_logger()

NAME: Final = "auditsvc-loader"
"""Of the process, in ps(1)."""
LOCK: Final = "loader-lock"
"""In the spool's folder, or, without a spool, in that of the run."""
_TELL_SECONDS: Final = 0.1
_TELL_FIRST_SECONDS: Final = 0.02
_PROGRESS_SECONDS: Final = 0.5
"""Between two reports that tell progress alone: `run` looks as often. At a steady rate there is
some with each transaction, and to tell each of them costs a fifth of what storing the rows does."""
_PROGRESS: Final = frozenset({"segment", "position", "asks", "quiet", "gaps", "commits"})
_ALIVE_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 30.0
_FOR_EVER: Final = 1e6  # seconds
_OOM_FIRST: Final = "500"


def serve(end: socket.socket, parent: int) -> None:
    """Be the loader's process of `parent`; ends this process."""
    status = 1
    try:
        _prepare(parent, end.fileno())
        _Process(Channel(end)).run()
        status = 0
    except AuditsvcError as error:
        log.error("the loader's process ended", why=str(error))  # noqa: TRY400 - no traceback
    except Exception as error:  # noqa: BLE001 - as above
        log.error("the loader's process ended", why=f"{type(error).__name__}: {error}")  # noqa: TRY400
    finally:
        os._exit(status)


def _prepare(parent: int, end: int) -> None:
    """Give up all that loading does not need; before threads are made."""
    end_with_parent(parent)
    # Under systemd also the record sockets of an earlier run, which must end with their takeover.
    for number in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 - names alone
        if number not in (0, 1, 2, end):
            with suppress(OSError):
                os.close(number)
    for number in OF_RUN:  # to `run` they say what to do, and it tells us
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)  # the input of `--source stdin` is not ours
    os.close(nothing)
    set_name(NAME)
    with suppress(OSError):  # if memory is short, collecting goes on
        Path("/proc/self/oom_score_adj").write_text(_OOM_FIRST)
    keep_only(())


class _Process:
    """What runs in it: a thread that receives, the loader's, and this one, which reports."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._wake = threading.Event()
        self._made: Loading | None = None
        self._head = ""
        self._busy = False
        self._arrived = threading.Event()
        self._answered = threading.Event()
        self._asked: dict[str, set[int]] = {USER: set(), GROUP: set()}
        self._sealing: Sealing | None = None
        self._lock = -1
        self._files = AskedFiles(self._send)
        self._settings: Settings | None = None

    def run(self) -> None:
        """Load until it is told to end, and report."""
        messages = iter(self._channel)
        first = next(messages, None)
        if first is None:  # `run` has ended
            return
        given = json.loads(first.content)
        self._settings = settings = settings_of(given["settings"])
        if why := close_calls(_families(settings)):  # before there is another thread
            log.warning("the loader's process is not confined", why=why)
        before = given["before"]
        found, skip_to = before["found"], before["skip_to"]
        self._made = made = Loading(
            settings,
            Hooks(
                opened=self._opened,
                note=lambda what: self._send(Note(what=what)),  # type: ignore[arg-type]
                seen=self._seen if given["seen"] else None,
                newest=lambda: self._head,
                busy=lambda: self._busy,
                arrived=self._arrived,
                is_apart=True,
                files=self._files,
            ),
            Before(
                found=None if found is None else {int(name): size for name, size in found.items()},
                size=before["size"],
                skip_to=None if skip_to is None else Place(*skip_to),
                from_now=before["from_now"],
            ),
        )
        threading.Thread(target=self._receive, args=(messages,), name="link", daemon=True).start()
        made.loader.start()
        passes = [each for each in (made.archiving, made.shipping) if each is not None]
        for each in passes:
            each.start()
        self._report(made)
        for each in passes:
            each.finish()

    # --- what `run` says ---------------------------------------------------------------

    def _receive(self, messages: Iterator[Message]) -> None:
        with suppress(AuditsvcError, OSError):
            for message in messages:
                content = json.loads(message.content)
                if content["kind"] == "answer":
                    self._files.take(content, message.descriptor)
                else:
                    self._do(content)
        os._exit(1)  # `run` has ended

    def _do(self, message: dict[str, Any]) -> None:
        kind, made = message["kind"], self._made
        assert made is not None
        if kind == "arrived":
            self._arrived.set()
            return  # there is nothing to report yet
        if kind == "busy":
            self._busy = message["on"]
            return
        if kind == "head":
            self._head = message["head"]
            return
        if kind == "opened":
            self._answered.set()
        elif kind == "late":
            with suppress(BaseException):  # it is reported
                made.loader.await_store(0)
        elif kind == "retention":
            made.upkeep.retention = settings_of(message["settings"]).retention
        elif kind == "seal":
            assert self._settings is not None
            self._sealing = Sealing(self._settings, message["last"])
            self._sealing.start()
        else:
            # Not waited for: this thread must see that `run` ends.
            end = made.loader.finish if kind == "finish" else made.loader.leave
            threading.Thread(target=end, args=(_FOR_EVER,), daemon=True).start()
        self._wake.set()

    # --- what it reports ---------------------------------------------------------------

    def _send(self, report: BaseModel, descriptor: int = -1) -> None:
        with suppress(OSError):  # `run` has ended
            self._channel.send(report.model_dump(by_alias=True, exclude_none=True), descriptor)

    def _report(self, made: Loading) -> None:
        """Tell what changes, until the loader's thread has ended."""
        loader, last, told_at = made.loader, None, 0.0
        bound: dict[str, Any] = {}
        while True:
            ends = not loader.is_alive()
            side = made.store_side
            if side is not None and side.bound and side.bound is not bound:
                bound = side.bound
                self._send(Bound(facts=Facts.model_validate(_tuples(bound))))
            state, now = _state(made), time.monotonic()
            if ends or _is_due(last, state, now - told_at):
                last, told_at = state, now
                self._send(state)
            self._report_sealing()
            if ends:
                break
            self._wake.wait(_TELL_SECONDS if state.tried else _TELL_FIRST_SECONDS)
            self._wake.clear()
        if loader.error is not None:
            self._send(_failed(loader.error))
        self._send(state.model_copy(update={"ended": True}))

    def _report_sealing(self) -> None:
        sealing = self._sealing
        if sealing is None or sealing.is_alive():
            return
        self._sealing = None
        altered = [_text(each) for each in sealing.altered[:MOST_TEXTS]]
        self._send(
            Sealed(
                last=sealing.last,
                digest=sealing.digest,
                altered=altered,
                problem=_text(sealing.problem),
            )
        )

    # --- hooks of the loader's thread --------------------------------------------------

    def _opened(self, store: Store) -> None:
        """Lock the spool for this process, and have `run` see to what is its part."""
        settings = self._settings
        assert settings is not None
        is_spool = settings.source in SPOOLED
        folder = settings.spool_directory if is_spool else settings.runtime_directory
        self._take_lock(make_folder(folder) / LOCK)
        if settings.forward.enabled:
            Feed(store, CONSUMER)  # so that it begins with the first event of this run

        def prove(ours: socket.socket, backend: int) -> Server:
            self._ask(Opened(backend=backend), ours.fileno())
            return Server(0, 0)

        if local_server(store, prove) is None:
            self._ask(Opened())

    def _ask(self, report: Opened, descriptor: int = -1) -> None:
        self._answered.clear()
        self._send(report, descriptor)
        if not self._answered.wait(_ANSWER_SECONDS):
            raise StoreError("the service's main process does not answer", retryable=True)

    def _take_lock(self, path: Path) -> None:
        if self._lock >= 0:
            return
        try:
            lock = open_file(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}", retryable=True) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise StoreError("an earlier loader has not ended yet", retryable=True) from error
        self._lock = lock

    def _seen(self, batch: Batch) -> None:
        """Report the ids that are new."""
        found = {}
        for kind, numbers in ids_of(batch).items():
            asked = self._asked[kind]
            new = sorted(numbers - asked)[: max(0, MOST_NAMES - len(asked))]
            asked.update(new)
            found[kind] = [each for each in new if 0 <= each < 1 << 32]
        users, groups = found.get(USER, []), found.get(GROUP, [])
        processes = [
            (each.pid, each.ppid, each.ses, each.exe)
            for each in processes_of(batch)
            if 0 < each.pid < 1 << 31
        ]
        for at in range(0, max(len(users), len(groups), len(processes)), MOST_IDS):
            part = slice(at, at + MOST_IDS)
            self._send(Seen(users=users[part], groups=groups[part], processes=processes[part]))


def _families(settings: Settings) -> tuple[int, ...]:
    """Give the address families of the sockets that loading needs."""
    is_here = sqlite_file(settings.store) is not None
    if is_here and settings.archive.to is None and settings.fleet.bucket is None:
        return (socket.AF_UNIX,)  # journald, and services of names
    return (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)


def _state(made: Loading) -> State:
    loader = made.loader
    # Only the place in a spool is of use to `run`: other sources have other words for theirs.
    segment, position = loader.committed if made.is_of_spool else ("", 0)
    return State(
        open=loader.open,
        segment=int(segment or 0),
        position=position,
        store_error=_text(loader.store_error),
        hindrance=_text(loader.hindrance),
        retention=_text(made.upkeep.problem),
        archive=_text(made.archiving.problem if made.archiving is not None else ""),
        fleet=_text(made.shipping.problem if made.shipping is not None else ""),
        asks=loader.asks,
        quiet=max(0.0, time.monotonic() - loader.beat),
        gaps=loader.gaps,
        commits=loader.commits,
        tried=loader.tried and loader.error is None,  # an error is told first (`Failed`)
    )


def _is_due(last: State | None, state: State, since: float) -> bool:
    """Whether a state is to be told, `since` seconds after the last one."""
    if last is None or since >= _ALIVE_SECONDS:
        return True
    changed = {name for name, value in state if getattr(last, name) != value}
    if changed <= _PROGRESS:
        return since >= _PROGRESS_SECONDS and bool(changed - {"quiet"})
    return True


def _failed(error: BaseException) -> Failed:
    if isinstance(error, AuditsvcError):
        return Failed(name=type(error).__name__, what=_text(error.what), hint=_text(error.hint))
    return Failed(name="", what=_text(f"{type(error).__name__}: {error}"), hint="")


def _tuples(bound: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(each) if isinstance(each, list) else each for name, each in bound.items()}


def _text(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()[:MOST_TEXT]
