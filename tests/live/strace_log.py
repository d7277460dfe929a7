"""What `strace -f -o FILE` wrote, as calls in the order in which they ended.

In: the lines of a log that was made with `FLAGS`. Out: a `Log` of `Call`s, with
the thread group of every task. Raw arguments are the registers, as audit prints
them; only clone3 is decoded, because its flags, which tell a thread from a
process, stand in memory and not in a register.

Every line must be understood: one that is not raises `StraceLogError` with its
number. The format is strace 6.1's (strace.c, syscall.c: `print_syscall_resume`,
`print_event_exit`, `printleader`).
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FLAGS = ("-f", "-n", "-X", "raw", "-e", "raw=!clone3", "-e", "quiet=attach", "-e", "signal=all")
"""Options that make strace print registers, the call's number and every mode switch."""

RESTARTS = {"ERESTARTSYS": 512, "ERESTARTNOINTR": 513, "ERESTARTNOHAND": 514} | {
    "ERESTART_RESTARTBLOCK": 516
}
"""Results that a program never sees: the kernel turns them into EINTR or runs the call again."""

CLONE_THREAD = 0x10000
CREATORS = frozenset({"clone", "clone3", "fork", "vfork"})
MODES = {"64": "x86_64", "32": "i386", "x32": "x32"}

# All spellings: errorcode knows one for each number, and strace may write the other.
_ERRNO = {name: number for name, number in vars(errno).items() if name.startswith("E")}
_ERRNO |= RESTARTS | {"ENOTSUPP": 524}

_LINE = re.compile(r"(\d+) +(?:\d+\.\d+ )?\[ *(\d+|\?+)\] (.*)", re.DOTALL)
_MODE = re.compile(r"\[ Process PID=(\d+) runs in (64|32|x32) bit mode\. \]")
_END = re.compile(r"\+\+\+ (exited with \d+|killed by \w+(?: \(core dumped\))?) \+\+\+")
_SUPERSEDED = re.compile(r"\+\+\+ superseded by execve in pid (\d+) \+\+\+")
_SIGNAL = re.compile(r"--- (?:SIG\w+ \{.*\}|stopped by SIG\w+|SIG\w+) ---", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)", re.DOTALL)
_UNFINISHED = re.compile(r"(\w+)\((.*?),? ?<(?:unfinished|pid changed to \d+) \.\.\.>", re.DOTALL)
_CALL = re.compile(r"(\w+)\((.*)\) += (.*)", re.DOTALL)
_TAIL = re.compile(r"(.*)\) += (.*)", re.DOTALL)
_RESULT = re.compile(
    r"(\?)(?: <unavailable>| (E\w+) \(.*\))?|-1 (E\w+) \(.*\)|(-?(?:0x[0-9a-f]+|\d+))"
)
_NUMBER = re.compile(r"-?(?:0x[0-9a-f]+|\d+)")
_CLONE3_FLAGS = re.compile(r"\{flags=(0x[0-9a-f]+|0)\b")


class StraceLogError(ValueError):
    """A line that this parser does not know."""


@dataclass(slots=True)
class Call:
    """One system call of one task."""

    tid: int
    arch: str
    """x86_64, i386 or x32: the mode in which the call began."""
    nr: int | None
    """Number of the call; None where it does not fit strace's column (`???`)."""
    name: str
    args: tuple[int | None, ...]
    """As many registers as the call has arguments; None for what strace decoded."""
    result: int | None = None
    """What it returned, errors as -errno; None if the task never came back from it."""
    finished: bool = False
    """Whether strace saw the end of the call, even without a result (`= ?`)."""
    line: int = 0
    """Line of the log where it began."""
    text: str = ""
    """The arguments as strace wrote them."""


@dataclass(slots=True)
class Log:
    """A whole log."""

    calls: list[Call] = field(default_factory=list)
    """In the order in which they ended; those that never ended stand last."""
    tgids: dict[int, int] = field(default_factory=dict)
    """Thread group (audit's `pid`) of every task (strace's)."""
    parents: dict[int, int] = field(default_factory=dict)
    """The task that made each task that was made while strace watched."""
    ends: dict[int, str] = field(default_factory=dict)
    """`exited with N` or `killed by SIGNAL`, for every task that ended."""


def read(path: Path) -> Log:
    """Parse the log at `path`."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        return parse(lines)


def parse(lines: Iterable[str]) -> Log:
    """Parse the lines of a log."""
    parser = _Parser()
    for number, line in enumerate(lines, 1):
        parser.take(line.rstrip("\n"), number)
    return parser.finish()


class _Parser:
    def __init__(self) -> None:
        self.log = Log()
        self.open: dict[int, Call] = {}
        self.modes: dict[int, str] = {}
        # A child can be seen before its parent's call returns and says who made it.
        self.early: dict[int, list[Call]] = {}

    def take(self, line: str, number: int) -> None:
        match = _LINE.fullmatch(line)
        if not match:
            raise StraceLogError(f"line {number} has no pid and call number: {line!r}")
        tid, nr, rest = int(match[1]), match[2], match[3]
        if match := _CALL.fullmatch(rest):
            call = self._begin(tid, nr, match[1], match[2], number)
            self._end(call, match[3], number)
        elif match := _UNFINISHED.fullmatch(rest):
            self.open[tid] = self._begin(tid, nr, match[1], match[2], number)
        elif match := _RESUMED.fullmatch(rest):
            self._resume(tid, match[1], match[2], number)
        elif match := _MODE.fullmatch(rest):
            self.modes[int(match[1])] = MODES[match[2]]
        elif match := _END.fullmatch(rest):
            self.log.ends[tid] = match[1]
        elif match := _SUPERSEDED.fullmatch(rest):
            # The thread that called execve goes on under the leader's id.
            call = self.open.pop(int(match[1]))
            call.tid = tid
            self.open[tid] = call
        elif not _SIGNAL.fullmatch(rest):
            raise StraceLogError(f"line {number} is of no known kind: {line!r}")

    def finish(self) -> Log:
        for call in self.open.values():
            self._keep(call, call.line)
        roots = {call.tid for call in self.log.calls} - self.log.parents.keys()
        if len(roots) > 1:
            raise StraceLogError(
                f"no call made the tasks {sorted(roots)}, and only one can be first"
            )
        for tid in roots:
            self.log.tgids[tid] = tid
        return self.log

    def _begin(self, tid: int, nr: str, name: str, text: str, number: int) -> Call:
        if tid in self.open:
            raise StraceLogError(f"line {number}: task {tid} begins {name} inside another call")
        known = tid in self.modes
        call = Call(
            tid=tid,
            arch=self.modes.get(tid, "x86_64"),
            nr=int(nr) if nr.isdigit() else None,
            name=name,
            args=(),
            line=number,
            text=text,
        )
        if not known:
            self.early.setdefault(tid, []).append(call)
        return call

    def _resume(self, tid: int, name: str, rest: str, number: int) -> None:
        call = self.open.pop(tid, None)
        match = _TAIL.fullmatch(rest)
        if call is None or call.name != name or match is None:
            raise StraceLogError(f"line {number}: task {tid} resumes {name}, which it is not in")
        call.text += match[1]
        self._end(call, match[2], number)

    def _end(self, call: Call, result: str, number: int) -> None:
        match = _RESULT.fullmatch(result.strip())
        if not match:
            raise StraceLogError(f"line {number}: unknown result {result!r}")
        question, pending, failed, value = match.groups()
        call.finished = True
        if error := pending or failed:
            if error not in _ERRNO:
                raise StraceLogError(f"line {number}: unknown error {error}")
            call.result = -_ERRNO[error]
        elif not question:
            call.result = int(value, 0)
        self._keep(call, number)
        if call.name in CREATORS and call.result is not None and call.result > 0:
            self._created(call, call.result)

    def _keep(self, call: Call, number: int) -> None:
        if call.name == "clone3" and call.text.startswith("{"):
            size = _NUMBER.search(call.text.rpartition(",")[2])
            call.args = (None, int(size[0], 0)) if size else (None,)
        elif call.text:
            words = call.text.split(", ")
            if not all(_NUMBER.fullmatch(word) for word in words):
                raise StraceLogError(f"line {number}: arguments are not raw: {call.text!r}")
            call.args = tuple(int(word, 0) for word in words)
        self.log.calls.append(call)

    def _created(self, call: Call, child: int) -> None:
        flags = 0
        if call.name == "clone" and call.args[0] is not None:
            flags = call.args[0]
        elif call.name == "clone3":
            match = _CLONE3_FLAGS.match(call.text)
            if not match:
                raise StraceLogError(f"line {call.line}: clone3 shows no flags: {call.text!r}")
            flags = int(match[1], 0)
        creator = self.log.tgids.setdefault(call.tid, call.tid)
        self.log.tgids[child] = creator if flags & CLONE_THREAD else child
        self.log.parents[child] = call.tid
        # strace says nothing of the mode of a new task, which is its creator's.
        if child not in self.modes:
            self.modes[child] = call.arch
            for early in self.early.pop(child, ()):
                early.arch = call.arch
