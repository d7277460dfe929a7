"""The running service's looks, written into the log: what was known of whom, and when.

A thread. Once a second, and at once when the kernel tells of a changed rule, it notes
the switch and the task list (`Periods`), which costs two questions to the kernel. At
the start, soon after it, every `coverage.every` seconds and at the end it looks at all
processes, and says in a DAEMON_CONFIG line

    op=coverage began= comm= exe= state= reason= threads= covered= pid= ...

of each that is new or judged otherwise than before, then one line `op=coverage-look`.
The thread may wait for the store, which is why it is one; nobody waits for it.
"""

from __future__ import annotations

import os
import re
import threading
import time
from typing import TYPE_CHECKING, Final

from auditsvc.coverage import history, proofs
from auditsvc.coverage.judge import Evidence, Judgement, State
from auditsvc.coverage.rule_effect import read_rules
from auditsvc.coverage.snapshot import Kernel, Look, epoch, judge_all
from auditsvc.errors import AuditsvcError, KernelError
from auditsvc.host.processes import boottime, exe, io_calls, snapshot
from auditsvc.kernel import Control
from auditsvc.record.fields import tokens
from auditsvc.record.line import parse_line
from auditsvc.rule import Rule
from auditsvc.store.read import questions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from auditsvc.config import Settings
    from auditsvc.host.processes import Process
    from auditsvc.record.daemon import DaemonRecords

TICK: Final = 1.0
_SECOND_LOOK: Final = 5.0  # what was found at the start makes its first calls meanwhile
_NICE: Final = 10
_STOP_SECONDS: Final = 5.0
_CHANGES: Final = re.compile(rb"^type=CONFIG_CHANGE .*$", re.MULTILINE)
_TASK, _EXCLUDE = b"1", b"5"
_STAMPED: Final = 0.1  # how much later than the change its stamp may be: its writer may not run
_STEP: Final = 0.01  # a clock that was set by more since the last tick has put stamps wrong
_MOST_CHANGES: Final = 1000
_MOST_SILENT: Final = 10_000
_SETTLE_SECONDS: Final = 3.0
_SETTLE_STEP: Final = 0.1


class Watch(threading.Thread):
    """Looks until `finish` is called.

    `begin` comes first, before audit is switched on, and `go` after that.
    """

    def __init__(
        self,
        settings: Settings,
        daemon: DaemonRecords,
        put: Callable[[bytes], None],
        ours: Callable[[], Collection[bytes]],
        heard_to: Callable[[], float],
    ) -> None:
        """`put` takes lines for the log, `ours` gives the structs of the service's own rules.

        `heard_to` gives the time, in seconds since boot, up to which all was given to `hear`.
        """
        super().__init__(name="coverage", daemon=True)
        self.error: BaseException | None = None
        """What ended the thread before its time."""
        # All parts from the beginning: another thread goes through it.
        self._troubles = dict.fromkeys(("tick", "look", "store"), "")
        self._settings = settings
        self._daemon = daemon
        self._put = put
        self._ours = ours
        self._heard_to = heard_to
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._silence = _Silence()
        self._said: dict[tuple[int, int], tuple[State, str, bytes]] = {}
        self._proven: set[tuple[int, int]] = set()
        self._threads: set[tuple[int, int]] = set()
        self._lock = threading.Lock()
        self._changes: list[tuple[float, float]] = []
        self._deaf = True
        """Whether something of the task list may have gone unheard since the last tick."""
        self._epoch = epoch()
        self._read: tuple[int, list[bytes], Collection[bytes]] | None = None

    @property
    def trouble(self) -> str:
        """What cannot be asked or kept just now, "" if all can."""
        return next((words for words in self._troubles.values() if words), "")

    def begin(self) -> None:
        """Take the first look at the switch and the task list; KernelError if that is refused."""
        self._control = Control()
        self._periods = history.load(self._settings.runtime_directory)
        self._kernel = self._ask()
        self._tick()

    def go(self) -> None:
        """Note that audit is on now, and begin to look; call it when the rules are loaded."""
        self._try("tick", self._tick)
        self.start()

    def hear(self, lines: bytes) -> None:
        """Take lines with CONFIG_CHANGE records; from any thread, and quick."""
        now = boottime()
        for text in _CHANGES.findall(lines):
            line = parse_line(text)
            if isinstance(line, str):
                with self._lock:
                    self._deaf = True
                continue
            known = dict(tokens(line.body))
            happened = line.second + line.ms / 1000 - epoch() - _STAMPED
            with self._lock:
                if known.get(b"list") == _TASK:
                    self._changes.append((min(happened, now), now))
                    if len(self._changes) > _MOST_CHANGES:
                        lows, highs = zip(*self._changes, strict=True)
                        self._changes = [(min(lows), max(highs))]
                elif known.get(b"list") == _EXCLUDE or b"audit_enabled" in known:
                    self._deaf = True
            if known.get(b"list") == _TASK:
                self._wake.set()

    def finish(self) -> None:
        """Look once more, without the store, and end; what hangs is left alone after 5 s."""
        self._stopping.set()
        self._wake.set()
        if self.is_alive():
            self.join(_STOP_SECONDS)
        self._put = lambda line: None  # noqa: ARG005 - the log is about to be closed

    def run(self) -> None:
        """Look; an unforeseen error ends the thread and stands in `error`."""
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
            pause, due = _SECOND_LOOK, 0.0
            while not self._stopping.is_set():
                self._try("tick", self._tick)
                if time.monotonic() >= due:
                    self._try("look", self._look)
                    every = self._settings.coverage.every
                    due = time.monotonic() + min(pause, every)
                    pause = every
                self._wake.wait(min(TICK, max(0.0, due - time.monotonic())))
                self._wake.clear()
            self._try("look", lambda: self._look(last=True))
        except BaseException as error:  # noqa: BLE001 - handed to the service, which ends the run
            self.error = error
        finally:
            self._control.close()

    def _try(self, part: str, step: Callable[[], None]) -> None:
        """Do a step; what the kernel, the store or the disk refuses is a trouble and passes."""
        trouble = ""
        try:
            step()
        except AuditsvcError as error:
            trouble = str(error)
        except OSError as error:
            trouble = f"{error.filename}: {error.strerror}"
        self._troubles[part] = trouble

    def _ask(self) -> Kernel:
        status, raw, ours = self._control.status(), self._control.raw_rules(), self._ours()
        if self._read != (status.enabled, raw, ours):
            self._read = (status.enabled, raw, ours)
            rules = [Rule.from_bytes(data) for data in raw]
            self._logged = read_rules(bool(status.enabled), rules, ours)
        return Kernel(self._logged, status.pid, status.lost)

    def _tick(self) -> None:
        """Note what stands now, with what was heard since the last time.

        What was heard is taken before the kernel is asked. A change that is heard between
        the two may be older or younger than the answer, and comes with the next note.
        """
        before, asked = self._kernel, boottime()
        heard_to, set_to = self._heard_to(), epoch()  # before `_changes`: it is about them
        with self._lock:
            changes, self._changes = self._changes, []
            deaf, self._deaf = self._deaf, False
        try:
            self._kernel = kernel = self._ask()
        except KernelError:
            with self._lock:
                self._changes = changes + self._changes
                self._deaf = True
            raise
        stepped, self._epoch = abs(set_to - self._epoch) > _STEP, set_to
        on = before.logged.enabled and kernel.logged.enabled
        ours = before.daemon == kernel.daemon != 0
        heard = before.logged.heard and kernel.logged.heard and not deaf and not stepped
        self._periods.note(
            boottime(),
            kernel.logged.enabled,
            kernel.logged.stand,
            asked=asked,
            watched=on and ours and heard and before.lost == kernel.lost,
            changes=changes,
            heard_to=heard_to,
        )
        if before.lost != kernel.lost:
            self._silence.forget()
        history.save(self._settings.runtime_directory, self._periods)

    def _look(self, *, last: bool = False) -> None:
        now = epoch()
        processes = snapshot().processes
        self._settle(boottime())
        there = {process.key for process in processes}
        self._proven &= there
        self._threads &= {thread.key for process in processes for thread in process.threads}
        self._said = {key: said for key, said in self._said.items() if key in there}
        if not last:
            self._try("store", lambda: self._gather(processes, now))
        found = Evidence({pid for pid, _ in self._proven}, self._threads, set(self._periods.silent))
        look = Look(self._kernel, judge_all(processes, self._periods, found, self._kernel), now)
        for judgement in look.judgements:
            self._say(judgement, now)
        self._put(self._daemon.coverage_look(_summary(look)))

    def _settle(self, when: float) -> None:
        """Tick until all changes up to `when` are known; give up when that takes too long."""
        ends = time.monotonic() + _SETTLE_SECONDS
        self._tick()
        while self._periods.heard_to < when and time.monotonic() < ends:
            if self._stopping.wait(_SETTLE_STEP):
                break
            self._tick()

    def _gather(self, processes: list[Process], now: float) -> None:
        """Ask the store whose calls it has, and who makes calls that it has not."""
        url, host = self._settings.store, self._settings.host
        ask = [process for process in processes if process.key not in self._proven]
        newest = questions.newest_call(url, host)  # before the rows are asked for
        pids = proofs.proven(url, host, ask, now)
        self._proven |= {process.key for process in ask if process.pid in pids}
        self._threads |= proofs.of_threads(ask, pids)
        quiet = [process for process in ask if process.pid not in pids]
        silent = self._silence.look(quiet, self._kernel, newest)
        self._periods.silent = silent[:_MOST_SILENT]

    def _say(self, judgement: Judgement, now: float) -> None:
        process = judgement.process
        word = (judgement.state, judgement.reason, process.comm)
        if self._said.get(process.key) == word:
            return
        self._said[process.key] = word
        self._put(
            self._daemon.coverage(
                process.pid,
                began=now + process.began,
                comm=process.comm,
                exe=exe(process.pid),
                state=judgement.state,
                reason=judgement.reason,
                threads=len(process.threads),
                covered=judgement.tasks[State.COVERED],
            )
        )


class _Silence:
    """Finds threads that make calls of which no record comes.

    The kernel counts a thread's reads and writes. One that grew between two looks, and
    again between two others, made a call that began after the first of them: a single
    call that was under way already (which is not logged) cannot do both. If by then the
    store has what was logged later, and no row of that process, its calls are not logged.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[int, int], tuple[int, int, float]] = {}
        """(tid, ticks) -> count, how often it had grown, and when it had so twice."""

    def forget(self) -> None:
        """Begin anew: records were lost, or not every call was to be logged meanwhile."""
        self._counts = {}

    def look(self, processes: list[Process], kernel: Kernel, newest: int) -> list[tuple[int, int]]:
        """Give the silent threads of `processes`, none of which has a row.

        `newest`: the second (since 1970) of the newest call in the store.
        """
        if not kernel.logged.whole:
            self.forget()
            return []
        before, self._counts = self._counts, {}
        silent = []
        for process in processes:
            if process.pid == kernel.daemon or kernel.logged.taken_out(process) is not None:
                continue
            for thread in process.threads:
                count = io_calls(process.pid, thread.tid)
                if count is None:
                    continue
                old, grown, when = before.get(thread.key, (count, 0, 0.0))
                grown += count > old
                if grown >= 2 and not when:
                    when = time.time()
                self._counts[thread.key] = (count, grown, when)
                if when and newest > when + 1:
                    silent.append(thread.key)
        return silent


def _summary(look: Look) -> str:
    logged, count = look.kernel.logged, look.tasks
    share = "?" if look.share is None else f"{look.share:.4f}"
    return (
        f"enabled={int(logged.enabled)} logs={logged.logs} stand={logged.stand}"
        f" processes={len(look.judgements)}"
        f" covered={count[State.COVERED]} not_covered={count[State.NOT_COVERED]}"
        f" unknown={count[State.UNKNOWN]} exempt={count[State.EXEMPT]} share={share}"
    )
