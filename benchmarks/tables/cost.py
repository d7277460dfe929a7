"""The cost of the audit path for a task that makes cheap calls, and of each rule.

Processes make the same calls in turn: some were forked while a rule `never,task` was loaded
for their login uid and have no audit context, one has it. A ratio is made of two consecutive
measurements, and the median of all ratios is shown, so that other load on the machine affects
both in the same way.

During the measurement only its own rules are loaded; the earlier ones are restored.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from callers import Caller, Spent, stopped_at_calls, straced
from fixtures.audit import RefusedError
from held import Held, held, loaded
from live.programs import Programs
from plot import Lines
from readers import auditsvc, nothing_kept, null_reader
from report import Table, ratio, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from readers import Running

CALLS: Final = ("getppid", "open")
_NOBODY: Final = 3_000_000_000
"""The first of the login uids that no process has."""

PLAIN = "no audit context"
OFF = "context, audit switched off"
NO_RULE = "context, no rule"
ONE_RULE = "context, one rule that does not match"
NULL = "logged, null reader"
STORED = "logged and stored by auditsvc (SQLite)"
READS = "strace with a seccomp filter that lets the call pass"
PTRACE = "ptrace that stops at each call and does no more"
STRACE = "strace -f -o /dev/null"
BOTH = "stored by auditsvc, and strace at the same time"

_TWO_RUN: Final = (NULL, STORED, PTRACE, STRACE, BOTH)

OTHER_USER = "other user"
KINDS: Final = {
    "file watch": "-w {folder}/f{n} -p wa",
    "other call": "-a always,exit -F arch=b64 -S kexec_load -F auid={nobody}",
    "folder watch": "-w {folder}/d{n} -p wa",
    "folder, calls named": "-a always,exit -F arch=b64 -S kexec_load,openat -F dir={folder}/d{n}"
    " -F perm=wa",
    "other architecture": "-a always,exit -F arch=b32 -S all -F auid={nobody}",
    OTHER_USER: "-a always,exit -S all -F auid={nobody}",
    "comparison": "-a always,exit -S all -C uid!=euid -F auid={nobody}",
    "five fields": "-a always,exit -F arch=b64 -S all -F uid=0 -F euid=0 -F success=1"
    " -F auid={nobody}",
    "other program": "-a always,exit -S all -F exe={folder}/f{n}",
}
"""Rules that do not match the measured calls; `{n}` or `{nobody}` makes each different."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How often calls are made."""

    turns: dict[str, int]
    """In a chunk, without a context: less than a millisecond, so that most are not interrupted."""
    chunks: int
    ratios: int
    """How many are made, one after the other."""
    mean: bool = False
    """The mean of all chunks, not the median: for cases where an audited task has to wait."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    counts: tuple[int, ...]
    """Numbers of rules."""
    cheap: Amount
    logged: Amount
    traced: Amount


_CHEAP: Final = {"getppid": 2000, "open": 200, "cold": 6}
QUICK = Size(
    rounds=1,
    counts=(1, 5, 20),
    cheap=Amount(_CHEAP, chunks=9, ratios=3),
    logged=Amount(_CHEAP, chunks=10, ratios=1, mean=True),
    traced=Amount(_CHEAP, chunks=9, ratios=3),
)
FULL = Size(
    rounds=2,
    counts=(1, 5, 10, 20, 50, 100, 200),
    cheap=Amount(_CHEAP, chunks=15, ratios=4),
    logged=Amount(_CHEAP, chunks=30, ratios=4, mean=True),
    traced=Amount(_CHEAP, chunks=15, ratios=8),
)


def _many(kind: str, count: int) -> str:
    return f"{kind} x {count}"


def _shorter(turns: int, plain: Spent, busy: Spent) -> int:
    """Give the turns for which a chunk takes no longer than without a context."""
    return max(2, min(turns, round(turns * plain.median / busy.median)))


def _median(ratios: list[float]) -> str:
    return ratio(statistics.median(ratios))


def _with_range(ratios: list[float]) -> str:
    return f"{_median(ratios)} ({min(ratios):.0f}-{max(ratios):.0f})"


class Cost:
    """All measurements of these tables, as ratios to the cost without an audit context."""

    def __init__(self, size: Size, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self._as_auid = Programs.build(folder)["as_auid"]
        self._ratios: dict[tuple[str, str], list[float]] = defaultdict(list)
        """By what was measured, and the call."""
        self._plain: dict[str, list[float]] = defaultdict(list)
        """Nanoseconds of a turn without a context, by the call."""
        self._few = size.counts[-2]
        """Rules among which the position of a rule is measured."""
        self._places = [
            f"`{action}`, {place}"
            for action in ("never", "always")
            for place in ("first", f"behind {self._few} others")
        ]

    def run(self, say: Callable[[str], None]) -> None:
        """Measure everything; RefusedError if the kernel refuses audit."""
        for turn in range(self._size.rounds):
            say(f"round {turn + 1} of {self._size.rounds}")
            for part in (self._unruled, *map(self._growing, KINDS), self._order, self._traced):
                with held(self._as_auid, self._folder) as kernel, nothing_kept():
                    part(kernel)
            with held(self._as_auid, self._folder) as kernel:
                self._logged(kernel)

    # --- measuring ----------------------------------------------------------------------

    def _compare(
        self,
        what: str,
        plain: Caller,
        busy: Caller,
        amount: Amount,
        calls: Sequence[str] = CALLS,
    ) -> None:
        cheap = self._size.cheap
        for call in calls:
            turns = amount.turns[call]
            if not amount.mean:
                about = busy.ask(call, 1 + turns // 20, 3)
                turns = _shorter(turns, plain.ask(call, turns, 3), about)
            for _ in range(amount.ratios):
                base = plain.ask(call, cheap.turns[call], cheap.chunks)
                spent = busy.ask(call, turns, amount.chunks)
                self._plain[call].append(base.median)
                cost = spent.mean if amount.mean else spent.median
                self._ratios[what, call].append(cost / base.median)

    def _unruled(self, kernel: Held) -> None:
        kernel.control.set(enabled=0)
        self._compare(OFF, kernel.plain, kernel.busy, self._size.cheap)
        kernel.control.set(enabled=1)
        self._compare(NO_RULE, kernel.plain, kernel.busy, self._size.cheap)

    def _growing(self, kind: str) -> Callable[[Held], None]:
        """Measure an increasing number of rules of one kind."""

        def part(kernel: Held) -> None:
            most = self._size.counts[-1]
            for n in range(most):
                (kernel.folder / f"f{n}").touch()
                (kernel.folder / f"d{n}").mkdir()
            rules = [
                KINDS[kind].format(n=n, nobody=_NOBODY + n, folder=kernel.folder)
                for n in range(most)
            ]
            with ExitStack() as stack:
                there = 0
                for count in self._size.counts:
                    # Most of the time goes to deleting them again: 13 ms a rule.
                    stack.enter_context(loaded(kernel.control, rules[there:count]))
                    there = count
                    ends = count in (self._size.counts[0], most)
                    calls = (*CALLS, "cold") if ends else CALLS
                    what = _many(kind, count)
                    self._compare(what, kernel.plain, kernel.busy, self._size.cheap, calls)

        return part

    def _order(self, kernel: Held) -> None:
        """Measure a rule that matches, before and after others that do not."""
        others = [KINDS[OTHER_USER].format(nobody=_NOBODY + n) for n in range(self._few)]
        with loaded(kernel.control, others):
            for what in self._places:
                action = what.split("`")[1]
                rule = f"-a {action},exit -F arch=b64 -S getppid -F auid={kernel.auid}"
                amount = self._size.logged if action == "always" else self._size.cheap
                with loaded(kernel.control, [rule], first=what.endswith("first")):
                    self._compare(what, kernel.plain, kernel.busy, amount, ["getppid"])

    def _traced(self, kernel: Held) -> None:
        self._compare(READS, kernel.plain, kernel.reads, self._size.cheap)
        with stopped_at_calls(kernel.traced):
            self._compare(PTRACE, kernel.plain, kernel.traced, self._size.traced)
        with straced(kernel.traced):
            self._compare(STRACE, kernel.plain, kernel.traced, self._size.traced)

    def _logged(self, kernel: Held) -> None:
        """Measure calls that are logged, stored, and traced; then check the number of rows."""
        with null_reader(kernel.folder, kernel.auid, kernel.control) as reader:
            self._read(NULL, kernel, reader)
        lost, made = kernel.control.status().lost, kernel.busy.made["getppid"]
        store = kernel.folder / "stored"
        store.mkdir()
        with auditsvc()(store, kernel.auid, kernel.control) as reader:
            assert reader.service
            self._read(STORED, kernel, reader)
            with straced(kernel.busy):
                few = replace(self._size.logged, turns={"getppid": 50, "open": 25})
                self._compare(BOTH, kernel.plain, kernel.busy, few)
            reader.catch_up()
            rows = reader.service.query(
                "SELECT pid, count(*) AS calls FROM syscalls"
                f" WHERE syscall = 'getppid' AND auid = {kernel.auid} GROUP BY pid"
            )
        lost = kernel.control.status().lost - lost
        # The rule is for all of them: those without a context must not be logged.
        found = {row["pid"]: row["calls"] for row in rows}
        right = {kernel.busy.pid: kernel.busy.made["getppid"] - made}
        if lost or found != right:
            raise SystemExit(f"cost: rows of {found} where {right} were made; lost {lost}")

    def _read(self, what: str, kernel: Held, reader: Running) -> None:
        for call in CALLS:
            reader.settle()
            self._compare(what, kernel.plain, kernel.busy, self._size.logged, [call])
        reader.settle()

    # --- what is shown ------------------------------------------------------------------

    def _ratio(self, what: str, call: str = "getppid") -> float:
        return statistics.median(self._ratios[what, call])

    def _nanoseconds(self, call: str) -> float:
        return statistics.median(self._plain[call])

    def tables(self) -> list[Table]:
        """Give what was measured."""
        return [self._task(), self._rules(), self._order_table()]

    def _task(self) -> Table:
        table = Table(
            "Cost of the audit path",
            ["task", "getppid", "open, close"],
            "What a call costs a task without and with an audit context (which a task gets, or"
            " does not, when it is forked), against one without. Where calls are logged or"
            " traced, all of them are; what is traced and not logged has no context. There a second"
            " process has to run, on this processor or another: in brackets the range.",
        )
        table.add(PLAIN, *[ratio(1) for _ in CALLS])
        keys = {ONE_RULE: _many(OTHER_USER, 1)}
        for what in (OFF, NO_RULE, ONE_RULE, NULL, STORED, READS, PTRACE, STRACE, BOTH):
            costs = [self._ratios[keys.get(what, what), call] for call in CALLS]
            shown = _with_range if what in _TWO_RUN else _median
            table.add(what, *map(shown, costs))
        plain = [seconds(self._nanoseconds(call) / 1e9) for call in CALLS]
        table.notes.append(
            f"Without a context: getppid {plain[0]}; open and close {plain[1]}. The task without"
            " a context left no row in the store although the rule names it; the other left one"
            " for each of its calls."
        )
        return table

    def _rules(self) -> Table:
        counts = self._size.counts
        table = Table(
            "Cost of rules that do not match",
            ["rules", *map(str, counts), "one more", "one more, cold", "open: one more"],
            "getppid with so many rules loaded, against a task without an audit context. What"
            " one more rule adds is the slope from the fewest to the most, cold if the processor's"
            " caches are filled with other things before each call.",
        )
        for kind in KINDS:
            costs = [ratio(self._ratio(_many(kind, count))) for count in counts]
            table.add(kind, *costs, *[self._more(kind, c) for c in ("getppid", "cold", "open")])
        table.notes = [
            f"![{self.lines().title}](cost.svg)",
            "\n".join(f"* {kind}: `{text}`" for kind, text in KINDS.items()),
        ]
        return table

    def _more(self, kind: str, call: str) -> str:
        """Give the cost that one more rule adds to a call, in nanoseconds."""
        few, most = self._size.counts[0], self._size.counts[-1]
        grown = self._ratio(_many(kind, most), call) - self._ratio(_many(kind, few), call)
        return f"{grown / (most - few) * self._nanoseconds(call):.1f} ns"

    def _order_table(self) -> Table:
        table = Table(
            "Cost by a rule's place",
            ["the rule that matches", "getppid"],
            f"The first rule that matches ends the search. {self._few} rules for other users"
            " stand besides; `always` logs into the null reader.",
        )
        table.add(f"none, {self._few} others", ratio(self._ratio(_many(OTHER_USER, self._few))))
        for what in self._places:
            table.add(what, ratio(self._ratio(what)))
        return table

    def lines(self) -> Lines:
        """Give the plot: cost against the number of rules."""
        counts = self._size.counts
        start = (0.0, self._ratio(NO_RULE))
        return Lines(
            "A cheap call, by the number of rules that do not match",
            "rules",
            "times the cost without an audit context",
            {
                kind: [start, *[(float(n), self._ratio(_many(kind, n))) for n in counts]]
                for kind in KINDS
            },
        )


def measure(*, quick: bool, folder: Path) -> Cost | None:
    """Measure; None, with the reason on stderr, if the kernel refuses audit."""
    cost = Cost(QUICK if quick else FULL, folder)
    try:
        cost.run(lambda what: print(f"cost: {what}", file=sys.stderr, flush=True))
    except RefusedError as reason:
        print(f"cost: not measured: {reason}", file=sys.stderr)
        return None
    return cost
