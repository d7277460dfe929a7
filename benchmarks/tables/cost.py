"""What the audit path costs a task that makes cheap calls, and what each rule adds.

Processes make the same calls by turns: some were forked while a rule `never,task` stood
for their login uid and have no audit context, one has it. A ratio is made of two
measurements that follow each other, and the median of all ratios is shown: what else the
machine does falls on both.

The rules that stand meanwhile are the table's own; those that were there come back.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from callers import READS_ALONE, Caller, Spent, caller, stopped_at_calls, straced
from fixtures.audit import RefusedError, alone
from live.programs import Programs, fresh_auid
from plot import Lines
from readers import auditsvc, nothing_kept, null_reader
from report import Table, ratio, seconds

from auditsvc.rule import Add, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from readers import Running

    from auditsvc.kernel import Control

CALLS: Final = ("getppid", "open")
_NOBODY: Final = 3_000_000_000
"""From here on, login uids that no process has."""

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
"""Rules that do not match what is measured, told apart by `{n}` or `{nobody}`."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How often calls are made."""

    turns: dict[str, int]
    """In a chunk, without a context: below a millisecond, so that most see nothing else run."""
    chunks: int
    ratios: int
    """How many are made, one after the other."""
    mean: bool = False
    """Of all chunks, not the median one: where the kernel makes an audited task wait."""


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


@contextmanager
def _loaded(control: Control, texts: Sequence[str], *, first: bool = False) -> Iterator[None]:
    """Load rules, at the head of the list or at its end, and delete them afterwards."""
    commands = [line.command for line in parse("\n".join(texts), "benchmark")]
    rules = [command.rule for command in commands if isinstance(command, Add)]
    assert len(rules) == len(texts)
    control.set(enabled=0)  # or each change is a record
    for rule in rules:
        control.add_rule(rule, prepend=first)
    control.set(enabled=1)
    try:
        yield
    finally:
        control.set(enabled=0)
        for rule in rules:
            control.delete_rule(rule)
        control.set(enabled=1)


def _many(kind: str, count: int) -> str:
    return f"{kind} x {count}"


def _shorter(turns: int, plain: Spent, busy: Spent) -> int:
    """So many turns that a chunk takes no longer than it does without a context."""
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
        """Rules among which a rule's place is tried."""
        self._places = [
            f"`{action}`, {place}"
            for action in ("never", "always")
            for place in ("first", f"behind {self._few} others")
        ]

    def run(self, say: Callable[[str], None]) -> None:
        """Measure everything; RefusedError where the kernel does not let us."""
        for turn in range(self._size.rounds):
            with tempfile.TemporaryDirectory(dir=self._folder) as name, alone() as control:
                say(f"round {turn + 1} of {self._size.rounds}")
                self._round(Path(name), control)

    # --- measuring ----------------------------------------------------------------------

    def _round(self, folder: Path, control: Control) -> None:
        folder.chmod(0o755)
        opened = folder / "opened"
        opened.touch()
        auid = fresh_auid()
        control.delete_rules()
        with ExitStack() as stack:

            def start(under: Sequence[str] = ()) -> Caller:
                return stack.enter_context(caller(self._as_auid, auid, opened, under))

            with nothing_kept():  # or the kernel would write every record to its console
                # For this login uid alone: all other tasks stay covered.
                with _loaded(control, [f"-a never,task -F auid={auid}"]):
                    plain, traced, reads = start(), start(), start(READS_ALONE)
                busy = start()
                self._no_match(control, plain, busy, folder)
                self._order(control, plain, busy, auid)
                self._compare(READS, plain, reads, self._size.cheap)
                with stopped_at_calls(traced):
                    self._compare(PTRACE, plain, traced, self._size.traced)
                with straced(traced):
                    self._compare(STRACE, plain, traced, self._size.traced)
            with null_reader(folder, auid, control) as reader:
                self._logged(NULL, plain, busy, reader)
            self._stored(control, plain, busy, auid, folder / "stored")

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
                turns = _shorter(
                    turns, plain.ask(call, turns, 3), busy.ask(call, 1 + turns // 20, 3)
                )
            for _ in range(amount.ratios):
                base = plain.ask(call, cheap.turns[call], cheap.chunks)
                spent = busy.ask(call, turns, amount.chunks)
                self._plain[call].append(base.median)
                cost = spent.mean if amount.mean else spent.median
                self._ratios[what, call].append(cost / base.median)

    def _no_match(self, control: Control, plain: Caller, busy: Caller, folder: Path) -> None:
        """Without a rule, and with more and more of each kind."""
        control.set(enabled=0)
        self._compare(OFF, plain, busy, self._size.cheap)
        control.set(enabled=1)
        self._compare(NO_RULE, plain, busy, self._size.cheap)
        most = self._size.counts[-1]
        for n in range(most):
            (folder / f"f{n}").touch()
            (folder / f"d{n}").mkdir()
        for kind, text in KINDS.items():  # most of the time goes to deleting: 13 ms a rule
            rules = [text.format(n=n, nobody=_NOBODY + n, folder=folder) for n in range(most)]
            with ExitStack() as stack:
                loaded = 0
                for count in self._size.counts:
                    stack.enter_context(_loaded(control, rules[loaded:count]))
                    loaded = count
                    ends = count in (self._size.counts[0], most)
                    calls = (*CALLS, "cold") if ends else CALLS
                    self._compare(_many(kind, count), plain, busy, self._size.cheap, calls)

    def _order(self, control: Control, plain: Caller, busy: Caller, auid: int) -> None:
        """A rule that matches, before and behind others that do not."""
        others = [KINDS[OTHER_USER].format(nobody=_NOBODY + n) for n in range(self._few)]
        with _loaded(control, others):
            for what in self._places:
                action = what.split("`")[1]
                rule = f"-a {action},exit -F arch=b64 -S getppid -F auid={auid}"
                amount = self._size.logged if action == "always" else self._size.cheap
                with _loaded(control, [rule], first=what.endswith("first")):
                    self._compare(what, plain, busy, amount, ["getppid"])

    def _logged(self, what: str, plain: Caller, busy: Caller, reader: Running) -> None:
        for call in CALLS:
            reader.settle()
            self._compare(what, plain, busy, self._size.logged, [call])
        reader.settle()

    def _stored(
        self, control: Control, plain: Caller, busy: Caller, auid: int, folder: Path
    ) -> None:
        """Stored, and traced as well; then the rows are counted, which must be right."""
        folder.mkdir()
        lost, made = control.status().lost, busy.made["getppid"]
        with auditsvc()(folder, auid, control) as reader:
            assert reader.service
            self._logged(STORED, plain, busy, reader)
            with straced(busy):
                few = replace(self._size.logged, turns={"getppid": 50, "open": 25})
                self._compare(BOTH, plain, busy, few)
            reader.catch_up()
            rows = reader.service.query(
                "SELECT pid, count(*) AS calls FROM syscalls"
                f" WHERE syscall = 'getppid' AND auid = {auid} GROUP BY pid"
            )
        lost = control.status().lost - lost
        # The rule is for all of them: who has no context must not be seen.
        found = {row["pid"]: row["calls"] for row in rows}
        right = {busy.pid: busy.made["getppid"] - made}
        if lost or found != right:
            raise SystemExit(f"cost: rows of {found} where {right} were made; lost {lost}")

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
        """What one more rule adds to a call, in nanoseconds."""
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
    """Measure; None, with the reason on stderr, where the kernel refuses audit."""
    cost = Cost(QUICK if quick else FULL, folder)
    try:
        cost.run(lambda what: print(f"cost: {what}", file=sys.stderr, flush=True))
    except RefusedError as reason:
        print(f"cost: not measured: {reason}", file=sys.stderr)
        return None
    return cost
