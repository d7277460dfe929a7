"""Warnings about rules that are right in themselves and do not do what their writer may think.

    lines of all files, in their order -> Advice, one line each; pure

Only what is true is said: the facts are those of kernel/auditfilter.c and
kernel/auditsc.c. Rules are asked from the head of their list, and the first match decides.
A watch of a file or a `path=` is found by the inode and costs calls that do not name the
file nothing; a watch of a folder or a `dir=` is asked at every call that its `-S` has.
Measured with 100 rules on the exit list: 3 ns a rule for a call that is not among its
`-S`, 13 ns for a watched folder, 27 ns for a rule that has the call and whose next
condition does not match.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from auditsvc.rule import fields
from auditsvc.rule.commands import Add, Delete, DeleteAll, Line, Set
from auditsvc.rule.host import Host
from auditsvc.rule.model import Action, FilterList, Rule, bits
from auditsvc.ruleset import never
from auditsvc.ruleset.conflict import exclude_each_other, is_judged
from auditsvc.ruleset.cover import CALL_LISTS, asked, by_inode
from auditsvc.ruleset.cover_index import CoverIndex
from auditsvc.ruleset.plan import effective
from auditsvc.ruleset.reach import is_unconditional
from auditsvc.ruleset.wanted import has_key
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MANY: Final = 40
"""Rules on the exit list from which on their number is worth a word: some 0.1 us a call."""

_NAMED: Final = 3  # so many calls are named in a line, of the others the number

_FIRST_MATCH: Final = (*CALL_LISTS, FilterList.USER, FilterList.TASK)


@dataclass(frozen=True, slots=True)
class Advice:
    """One warning or note: the line that it is about, and what it is."""

    filename: str
    number: int
    text: str
    kind: Literal["warning", "note"] = "warning"
    """A note is about this host or who asks, and no fault of the rules."""

    def __str__(self) -> str:
        return f"{self.filename}:{self.number}: {self.kind}: {self.text}"


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A rule that is there once all lines are done, and its line."""

    line: Line
    rule: Rule
    prepend: bool

    @property
    def place(self) -> str:
        return f"{self.line.filename}:{self.line.number}"


def advise(lines: Sequence[Line], host: Host | None = None) -> list[Advice]:
    """Give the warnings in the order of files and lines; `host` is the machine rules are for."""
    host = host or Host.here()
    kept, repeated = _kept(lines)
    first: dict[Rule, _Loaded] = {each.rule: each for each in kept}
    order = [
        first[each.rule] for each in effective([Add(each.rule, each.prepend) for each in kept])
    ]
    found = [
        *((line, f"has no effect: {place} is the same rule") for line, place in repeated),
        *_never(order, host),
        *_covered(order),
        *_blinding(order),
        *_numbers(order, host),
        *_half(order, host),
        *_folders(order),
        *_mergeable(order),
        *_many(order),
        *_settings(lines),
    ]
    at = {id(line): place for place, line in enumerate(lines)}
    found.sort(key=lambda each: at[id(each[0])])
    return [Advice(line.filename, line.number, text) for line, text in found]


def _kept(lines: Sequence[Line]) -> tuple[list[_Loaded], list[tuple[Line, str]]]:
    """Give the rules that are there in the end, and lines that repeat one, with its place."""
    kept: dict[Rule, _Loaded] = {}
    repeated = []
    for line in lines:
        match line.command:
            case Add(rule, prepend) if rule in kept:
                repeated.append((line, kept[rule].place))
            case Add(rule, prepend):
                kept[rule] = _Loaded(line, rule, prepend)
            case Delete(rule):
                kept.pop(rule, None)
            case DeleteAll(key):
                kept = {rule: each for rule, each in kept.items() if not has_key(rule, key)}
            case _:
                pass
    return list(kept.values()), repeated


# -- rules that do nothing by themselves -----------------------------------------


def _never(order: Sequence[_Loaded], host: Host) -> Iterator[tuple[Line, str]]:
    for each in order:
        for text in never.warnings(each.rule, each.line.text, host):
            yield each.line, text


# -- rules that another one makes useless --------------------------------------


def _covered(order: Sequence[_Loaded]) -> Iterator[tuple[Line, str]]:
    index = CoverIndex()
    for position, each in enumerate(order):
        rule = each.rule
        if rule.filter_list not in _FIRST_MATCH or not _can_match(rule):
            continue
        before = index.first(rule)
        if before is None:  # what it takes in, a rule that takes it in does as well
            index.add(rule, position)
        else:
            yield each.line, _covered_text(order[before], each)


def _can_match(rule: Rule) -> bool:
    return is_judged(rule) and not exclude_each_other(rule.conditions, rule.filter_list)


def _covered_text(before: _Loaded, each: _Loaded) -> str:
    in_folder = _names(before.rule, fields.DIR) and not _names(each.rule, fields.DIR)
    links = ", but for hard links from outside the folder" if in_folder else ""
    if before.rule.action is each.rule.action:
        return f"never matches: {before.place} is asked first and matches all that it would{links}"
    what = "unconditional " if is_unconditional(before.rule) else ""
    return (
        f"`{_word(each.rule)}` has no effect: the {what}`{_word(before.rule)}` of {before.place} "
        f"is asked first and matches all that it would{links}; put it before that, or write -A"
    )


def _names(rule: Rule, field: int) -> bool:
    return any(condition.field == field for condition in rule.conditions)


def _word(rule: Rule) -> str:
    return f"{rule.action.name.lower()},{rule.filter_list.name.lower()}"


# -- rules that blind ----------------------------------------------------------


def _blinding(order: Sequence[_Loaded]) -> Iterator[tuple[Line, str]]:
    for each in order:
        if (each.rule.filter_list, each.rule.action) == (FilterList.TASK, Action.NEVER):
            which = "such tasks" if asked(each.rule) else "tasks"
            text = (
                f"`never,task`: {which} forked while it stands are never audited, also when it "
                "is gone again"
            )
            yield each.line, text


# -- 64 and 32 bits ------------------------------------------------------------


def _numbers(order: Sequence[_Loaded], host: Host) -> Iterator[tuple[Line, str]]:
    """Yield rules that name calls and no arch, where the numbers mean two things."""
    half = host.family("b32")
    if half is None or half == host.arch:
        return
    for each in order:
        rule = each.rule
        if rule.filter_list is not FilterList.EXIT or rule.every_syscall:
            continue
        if _names(rule, fields.ARCH):
            continue
        for nr in rule.syscalls:
            name, other = (names.syscall_name(arch, nr) for arch in (host.arch, half))
            if name != other:
                text = (
                    f"calls without arch: number {nr} is {name or 'none'} for b64 and "
                    f"{other or 'none'} for b32; write a rule with -F arch=b64 and one with "
                    "-F arch=b32"
                )
                yield each.line, text
                break


def _half(order: Sequence[_Loaded], host: Host) -> Iterator[tuple[Line, str]]:
    """Yield rules for 64-bit calls that 32-bit programs get round."""
    half = host.family("b32")
    if half is None or half == host.arch:
        return
    always = [
        each
        for each in order
        if (each.rule.filter_list, each.rule.action) == (FilterList.EXIT, Action.ALWAYS)
    ]
    index = CoverIndex()
    for position, each in enumerate(always):
        if _is_for(each.rule, half):
            index.add(_without_arch(each.rule), position)
    numbers = _Numbers(host.arch, half)
    for each in always:
        if each.rule.arch != host.arch:
            continue
        missed = _missed(_without_arch(each.rule), numbers.of(each.rule.mask), index, always)
        if missed:
            yield each.line, f"{_listed(missed, each.rule)}: no rule like it has -F arch=b32"


class _Numbers:
    """The calls of masks that both machines have: names, and the other machine's numbers."""

    def __init__(self, arch: int, half: int) -> None:
        self._arch, self._half = arch, half
        self._known: dict[int, dict[str, int]] = {}

    def of(self, mask: int) -> dict[str, int]:
        """Give the calls of a mask."""
        if mask not in self._known:
            found = (names.syscall_name(self._arch, nr) for nr in bits(mask))
            self._known[mask] = {
                name: nr
                for name in found
                if name is not None and (nr := names.syscall_number(self._half, name)) is not None
            }
        return self._known[mask]


def _missed(
    rule: Rule, calls: dict[str, int], index: CoverIndex, order: Sequence[_Loaded]
) -> list[str]:
    """Give the calls of a rule that no rule with its conditions has."""
    if index.first(rule, sum(1 << nr for nr in calls.values())) is not None:
        return []
    if index.first(rule, 0) is None:
        return list(calls)
    reached = 0
    missed = []
    for name, nr in calls.items():
        if reached >> nr & 1:
            continue
        found = index.first(rule, 1 << nr)
        if found is None:
            missed.append(name)
        else:
            reached |= order[found].rule.mask
    return missed


def _without_arch(rule: Rule) -> Rule:
    kept = tuple(each for each in rule.conditions if each.field != fields.ARCH)
    return replace(rule, conditions=kept)


def _is_for(rule: Rule, arch: int) -> bool:
    return all(
        (each.value == arch) == (each.operator == fields.EQUAL)
        for each in rule.conditions
        if each.field == fields.ARCH
    )


def _listed(calls: list[str], rule: Rule) -> str:
    if rule.every_syscall:
        return "32-bit programs are not seen"
    more = f" and {len(calls) - _NAMED} more" if len(calls) > _NAMED else ""
    return f"32-bit programs are not seen at {', '.join(calls[:_NAMED])}{more}"


# -- what rules cost -----------------------------------------------------------


def _folders(order: Sequence[_Loaded]) -> Iterator[tuple[Line, str]]:
    for each in order:
        rule = each.rule
        if _names(rule, fields.DIR) and rule.every_syscall and rule.filter_list is FilterList.EXIT:
            text = (
                "a watched folder without -S is asked at every call of every task; name the "
                "calls: -a always,exit -F arch=b64 -S openat,... -F dir="
            )
            yield each.line, text


def _mergeable(order: Sequence[_Loaded]) -> Iterator[tuple[Line, str]]:
    """Yield rules that others follow which differ only in their calls."""
    groups: defaultdict[Rule, list[tuple[int, int]]] = defaultdict(list)
    seen: Counter[tuple[FilterList, Action]] = Counter()
    for position, each in enumerate(order):
        rule = each.rule
        seen[rule.filter_list, rule.action] += 1
        if rule.filter_list in CALL_LISTS and not rule.every_syscall:
            opposite = Action.NEVER if rule.action is Action.ALWAYS else Action.ALWAYS
            groups[_without_calls(rule)].append((position, seen[rule.filter_list, opposite]))
    for (first, ahead), *others in groups.values():
        alike = [
            order[position].place
            for position, opposite in others
            # What stands between and does otherwise would change sides.
            if opposite == ahead
        ]
        if alike:
            text = (
                f"differs only in its calls from {', '.join(alike)}: one rule with all of them "
                f"would be asked once instead of {len(alike) + 1} times"
            )
            yield order[first].line, text


def _without_calls(rule: Rule) -> Rule:
    return Rule(rule.filter_list, rule.action, rule.conditions)


def _many(order: Sequence[_Loaded]) -> Iterator[tuple[Line, str]]:
    one_by_one = [
        each
        for each in order
        if each.rule.filter_list is FilterList.EXIT and not by_inode(each.rule)
    ]
    if len(one_by_one) > MANY:
        text = (
            f"the exit list has {len(one_by_one)} rules, which the kernel asks one by one at every "
            "call until one matches: put those first that match most calls"
        )
        yield one_by_one[-1].line, text


# -- settings ------------------------------------------------------------------


def _settings(lines: Sequence[Line]) -> Iterator[tuple[Line, str]]:
    for place, line in enumerate(lines):
        behind = len(lines) - place - 1
        if line.command == Set("failure", 2):
            yield line, "-f 2: the kernel panics when a record is lost"
        if line.command == Set("enabled", 2) and behind:
            text = (
                f"-e 2 locks audit until the next boot, and auditctl would be refused the "
                f"{behind} lines behind it; put it last"
            )
            yield line, text
