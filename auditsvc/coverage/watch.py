"""The running service's looks, written into the log: what was known of each process, and when.

A thread. Once a second, and at once when the kernel reports a changed rule, it notes
the switch and the task list (`Periods`), which costs two requests to the kernel. At
the start, soon after it, every `coverage.every` seconds and at the end it looks at all
processes, and writes a DAEMON_CONFIG line

    op=coverage began= comm= exe= state= reason= threads= covered= pid= ...

for each that is new or whose judgement changed, then one line `op=coverage-look`.
It is a thread of its own because it may wait for the store; nothing waits for it.
"""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Final

from auditsvc.coverage import history, proofs
from auditsvc.coverage.judge import CoverageState, Evidence, Judgement
from auditsvc.coverage.rule_effect import read_rules
from auditsvc.coverage.snapshot import KernelFacts, Look, epoch, judge_all
from auditsvc.errors import AuditsvcError, KernelError, of_system
from auditsvc.host.priority import give_way
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
_SECOND_LOOK: Final = 5.0  # by then the processes found at the start have made calls
_STOP_SECONDS: Final = 5.0
_CHANGES: Final = re.compile(rb"^type=CONFIG_CHANGE .*$", re.MULTILINE)
_TASK, _EXCLUDE = b"1", b"5"
_STAMPED: Final = 0.1  # a record's time may be this much later than the change itself
_STEP: Final = 0.01  # if the clock was set by more than this, times of records are wrong
_MOST_CHANGES: Final = 1000
_MOST_SILENT: Final = 10_000
_SETTLE_SECONDS: Final = 3.0
_SETTLE_STEP: Final = 0.1


class CoverageWatch(threading.Thread):
    """Looks until `finish` is called.

    `begin` comes first, before audit is switched on, and `go` after that.
    """

    def __init__(
        self,
        settings: Settings,
        daemon: DaemonRecords,
        put: Callable[[bytes], None],
        ours: Callable[[], Collection[bytes]],
        known_to: Callable[[], float],
    ) -> None:
        """`put` takes lines for the log; `ours` gives the structs of the service's own rules.

        `known_to`: the time, in seconds since boot, up to which `receive` got every record.
        """
        super().__init__(name="coverage", daemon=True)
        self.error: BaseException | None = None
        """The unexpected error that ended the thread."""
        self.last: dict[str, float] = {}
        """Tasks by state at the last look, and `at`, its time; replaced as a whole."""
        # All keys from the beginning: another thread iterates over it.
        self._problems = dict.fromkeys(("tick", "look", "store"), "")
        self._settings = settings
        self._daemon = daemon
        self._put = put
        self._ours = ours
        self._known_to = known_to
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._silence = _Silence()
        self._reported: dict[tuple[int, int], tuple[CoverageState, str, bytes]] = {}
        self._proven: set[tuple[int, int]] = set()
        self._threads: set[tuple[int, int]] = set()
        self._lock = threading.Lock()
        self._changes: list[tuple[float, float]] = []
        self._missed = True
        """Whether a change of the task list may have been missed since the last tick."""
        self._epoch = epoch()
        self._read: tuple[int, list[bytes], Collection[bytes]] | None = None

    @property
    def problem(self) -> str:
        """Why the kernel, the store or the file cannot be used at present; "" if they can."""
        return next((words for words in self._problems.values() if words), "")

    def begin(self) -> None:
        """Take the first look at the switch and the task list; KernelError if it is refused."""
        self._control = Control()
        self._periods = history.load(self._settings.runtime_directory)
        self._kernel = self._ask()
        self._tick()

    def go(self) -> None:
        """Note that audit is on now, and start the thread; call it when the rules are loaded."""
        self._try("tick", self._tick)
        self.start()

    def receive(self, lines: bytes) -> None:
        """Take lines with CONFIG_CHANGE records; may be called by any thread, returns quickly."""
        now = boottime()
        for text in _CHANGES.findall(lines):
            line = parse_line(text)
            if isinstance(line, str):
                with self._lock:
                    self._missed = True
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
                    self._missed = True
            if known.get(b"list") == _TASK:
                self._wake.set()

    def finish(self) -> None:
        """Look once more, without the store, and end; waits 5 s at most."""
        self._stopping.set()
        self._wake.set()
        if self.is_alive():
            self.join(_STOP_SECONDS)
        self._put = lambda line: None  # noqa: ARG005 - the log is about to be closed

    def run(self) -> None:
        """Look until `finish`; an unexpected error ends the thread and is kept in `error`."""
        try:
            give_way()
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
        """Do a step; a refusal by the kernel, the store or the disk is a problem, not an error."""
        problem = ""
        try:
            step()
        except AuditsvcError as error:
            problem = str(error)
        except OSError as error:
            problem = of_system(error)
        self._problems[part] = problem

    def _ask(self) -> KernelFacts:
        status, raw, ours = self._control.status(), self._control.raw_rules(), self._ours()
        if self._read != (status.enabled, raw, ours):
            self._read = (status.enabled, raw, ours)
            rules = [Rule.from_bytes(data) for data in raw]
            self._logged = read_rules(bool(status.enabled), rules, ours)
        return KernelFacts(self._logged, status.pid, status.lost)

    def _tick(self) -> None:
        """Note the current state, with the changes received since the last tick.

        The received changes are taken before the kernel is asked. A change that is received
        between the two may be older or newer than the answer, and is part of the next note.
        """
        before, asked = self._kernel, boottime()
        known_to, set_to = self._known_to(), epoch()  # before `_changes`, which it describes
        with self._lock:
            changes, self._changes = self._changes, []
            missed, self._missed = self._missed, False
        try:
            self._kernel = kernel = self._ask()
        except KernelError:
            with self._lock:
                self._changes = changes + self._changes
                self._missed = True
            raise
        stepped, self._epoch = abs(set_to - self._epoch) > _STEP, set_to
        on = before.logged.enabled and kernel.logged.enabled
        ours = before.daemon == kernel.daemon != 0
        complete = (
            before.logged.logs_changes and kernel.logged.logs_changes and not missed and not stepped
        )
        self._periods.note(
            boottime(),
            kernel.logged.enabled,
            kernel.logged.task_list,
            asked=asked,
            watched=on and ours and complete and before.lost == kernel.lost,
            changes=changes,
            known_to=known_to,
        )
        if before.lost != kernel.lost:
            self._silence.reset()
        history.save(self._settings.runtime_directory, self._periods)

    def _look(self, *, last: bool = False) -> None:
        now = epoch()
        processes = snapshot().processes
        self._settle(boottime())
        running = {process.key for process in processes}
        self._proven &= running
        self._threads &= {thread.key for process in processes for thread in process.threads}
        self._reported = {key: was for key, was in self._reported.items() if key in running}
        if not last:
            self._try("store", lambda: self._gather(processes, now))
        found = Evidence({pid for pid, _ in self._proven}, self._threads, set(self._periods.silent))
        look = Look(self._kernel, judge_all(processes, self._periods, found, self._kernel), now)
        for judgement in look.judgements:
            self._report(judgement, now)
        self._put(self._daemon.coverage_look(_summary(look)))
        if look.kernel.known:
            self.last = {"at": time.time()} | {state: look.tasks[state] for state in CoverageState}

    def _settle(self, when: float) -> None:
        """Tick until all changes up to `when` are known, for 3 s at most."""
        ends = time.monotonic() + _SETTLE_SECONDS
        self._tick()
        while self._periods.known_to < when and time.monotonic() < ends:
            if self._stopping.wait(_SETTLE_STEP):
                break
            self._tick()

    def _gather(self, processes: list[Process], now: float) -> None:
        """Find the processes with calls in the store, and those that make calls without records."""
        url, host = self._settings.store, self._settings.host
        ask = [process for process in processes if process.key not in self._proven]
        newest = questions.newest_call(url, host)  # before the rows are asked for
        pids = proofs.proven(url, host, ask, now)
        self._proven |= {process.key for process in ask if process.pid in pids}
        self._threads |= proofs.of_threads(ask, pids)
        unproven = [process for process in ask if process.pid not in pids]
        silent = self._silence.look(unproven, self._kernel, newest)
        self._periods.silent = silent[:_MOST_SILENT]

    def _report(self, judgement: Judgement, now: float) -> None:
        process = judgement.process
        report = (judgement.state, judgement.reason, process.comm)
        if self._reported.get(process.key) == report:
            return
        self._reported[process.key] = report
        self._put(
            self._daemon.coverage(
                process.pid,
                began=now + process.began,
                comm=process.comm,
                exe=exe(process.pid),
                state=judgement.state,
                reason=judgement.reason,
                threads=len(process.threads),
                covered=judgement.tasks[CoverageState.COVERED],
            )
        )


class _Silence:
    """Finds threads that make calls without records.

    The kernel counts a thread's reads and writes. If the count grew between two looks, and
    again between two others, a call began after the first of them: one single call in flight
    (which is not logged) cannot do both. If the store then has events that were logged later,
    and no row of that process, its calls are not logged.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[int, int], tuple[int, int, float]] = {}
        """(tid, ticks) -> count, how often it grew, and when it did for the second time."""

    def reset(self) -> None:
        """Start again: records were lost, or the rules did not log every call."""
        self._counts = {}

    def look(
        self, processes: list[Process], kernel: KernelFacts, newest: int
    ) -> list[tuple[int, int]]:
        """Give the silent threads of `processes`, none of which has a row.

        `newest`: the second (since 1970) of the newest call in the store.
        """
        if not kernel.logged.complete:
            self.reset()
            return []
        before, self._counts = self._counts, {}
        silent = []
        for process in processes:
            if process.pid == kernel.daemon or kernel.logged.excluded(process) is not None:
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
        f"enabled={int(logged.enabled)} logs={logged.logs} stand={logged.task_list}"
        f" processes={len(look.judgements)}"
        f" covered={count[CoverageState.COVERED]} not_covered={count[CoverageState.NOT_COVERED]}"
        f" unknown={count[CoverageState.UNKNOWN]} exempt={count[CoverageState.EXEMPT]}"
        f" share={share}"
    )
