"""Warnings about valid rules that may not do what their author expects.

    lines of all files, in their order -> Advice, one line each; pure

The facts are those of kernel/auditfilter.c and kernel/auditsc.c. Rules are asked from the
head of their list, and the first match decides. A watch of a file or a `path=` is found by
the inode and costs nothing for calls that do not name the file; a watch of a folder or a
`dir=` is asked at every call in its `-S`. Measured with 100 rules on the exit list: 3 ns a
rule for a call that is not in its `-S`, 13 ns for a watched folder, 27 ns for a rule that
has the call and whose next condition does not match.
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
from auditsvc.ruleset.conflict import can_match_on_list, exclude_each_other
from auditsvc.ruleset.cover import CALL_LISTS, by_inode, tested
from auditsvc.ruleset.cover_index import CoverIndex
from auditsvc.ruleset.plan import effective
from auditsvc.ruleset.reach import is_unconditional
from auditsvc.ruleset.wanted import has_key
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MANY: Final = 40
"""More rules than this on the exit list give a warning: they cost about 0.1 us a call."""

_NAMED: Final = 3  # calls that a warning names; the others are counted

_FIRST_MATCH: Final = (*CALL_LISTS, FilterList.USER, FilterList.TASK)


@dataclass(frozen=True, slots=True)
class Advice:
    """One warning or note about a line of a rule file."""

    filename: str
    number: int
    text: str
    kind: Literal["warning", "note"] = "warning"
    """A note is about this host or the user's permissions, not an error in the rules."""

    def __str__(self) -> str:
        return f"{self.filename}:{self.number}: {self.kind}: {self.text}"


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A rule that is loaded after all lines, with its line."""

    line: Line
    rule: Rule
    prepend: bool

    @property
    def where(self) -> str:
        return f"{self.line.filename}:{self.line.number}"


def advise(lines: Sequence[Line], host: Host | None = None) -> list[Advice]:
    """Give the warnings in the order of the lines; `host` is the machine that the rules are for."""
    host = host or Host.local()
    kept, repeated = _kept(lines)
    first: dict[Rule, _Loaded] = {each.rule: each for each in kept}
    order = [
        first[each.rule] for each in effective([Add(each.rule, each.prepend) for each in kept])
    ]
    found = [
        *((line, f"has no effect: {where} is the same rule") for line, where in repeated),
        *_never(order, host),
        *_covered(order),
        *_never_task(order),
        *_numbers(order, host),
        *_half(order, host),
        *_folders(order),
        *_mergeable(order),
        *_many(order),
        *_settings(lines),
    ]
    at = {id(line): index for index, line in enumerate(lines)}
    found.sort(key=lambda each: at[id(each[0])])
    return [Advice(line.filename, line.number, text) for line, text in found]


def _kept(lines: Sequence[Line]) -> tuple[list[_Loaded], list[tuple[Line, str]]]:
    """Give the rules that are loaded in the end, and lines that repeat one, with its FILE:LINE."""
    kept: dict[Rule, _Loaded] = {}
    repeated = []
    for line in lines:
        match line.command:
            case Add(rule, prepend) if rule in kept:
                repeated.append((line, kept[rule].where))
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


# -- rules that an earlier rule makes useless ----------------------------------


def _covered(order: Sequence[_Loaded]) -> Iterator[tuple[Line, str]]:
    index = CoverIndex()
    for position, each in enumerate(order):
        rule = each.rule
        if rule.filter_list not in _FIRST_MATCH or not _can_match(rule):
            continue
        before = index.first(rule)
        if before is None:  # a rule that includes this one also includes all that this one does
            index.add(rule, position)
        else:
            yield each.line, _covered_text(order[before], each)


def _can_match(rule: Rule) -> bool:
    return can_match_on_list(rule) and not exclude_each_other(rule.conditions, rule.filter_list)


def _covered_text(before: _Loaded, each: _Loaded) -> str:
    in_folder = _names(before.rule, fields.DIR) and not _names(each.rule, fields.DIR)
    links = ", except hard links from outside the folder" if in_folder else ""
    if before.rule.action is each.rule.action:
        return f"never matches: {before.where} is asked first and matches the same calls{links}"
    what = "unconditional " if is_unconditional(before.rule) else ""
    return (
        f"`{_word(each.rule)}` has no effect: the {what}`{_word(before.rule)}` of {before.where} "
        f"is asked first and matches the same calls{links}; put this rule before it, or write -A"
    )


def _names(rule: Rule, field: int) -> bool:
    return any(condition.field == field for condition in rule.conditions)


def _word(rule: Rule) -> str:
    return f"{rule.action.name.lower()},{rule.filter_list.name.lower()}"


# -- rules that leave tasks without the audit flag -----------------------------


def _never_task(order: Sequence[_Loaded]) -> Iterator[tuple[Line, str]]:
    for each in order:
        if (each.rule.filter_list, each.rule.action) == (FilterList.TASK, Action.NEVER):
            which = "such tasks" if tested(each.rule) else "tasks"
            text = (
                f"`never,task`: {which} forked while it is loaded are never audited, also after "
                "it is deleted"
            )
            yield each.line, text


# -- 64 and 32 bits ------------------------------------------------------------


def _numbers(order: Sequence[_Loaded], host: Host) -> Iterator[tuple[Line, str]]:
    """Yield rules with calls and no arch, where a number is two calls: of b64 and of b32."""
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
                    f"calls without arch: number {nr} is {name or 'no call'} for b64 and "
                    f"{other or 'no call'} for b32; write a rule with -F arch=b64 and one with "
                    "-F arch=b32"
                )
                yield each.line, text
                break


def _half(order: Sequence[_Loaded], host: Host) -> Iterator[tuple[Line, str]]:
    """Yield rules for 64-bit calls that do not match the same calls of 32-bit programs."""
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
            yield each.line, f"{_listed(missed, each.rule)}: no similar rule has -F arch=b32"


class _Numbers:
    """Calls of a mask that exist on both machines: their names and the other machine's numbers."""

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
    """Give the calls of a rule that no other rule with its conditions is for."""
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
        return "calls of 32-bit programs are not matched"
    more = f" and {len(calls) - _NAMED} more" if len(calls) > _NAMED else ""
    return f"calls of 32-bit programs are not matched ({', '.join(calls[:_NAMED])}{more})"


# -- the cost of rules ---------------------------------------------------------


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
    """Yield rules that are followed by rules which differ only in their calls."""
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
            order[position].where
            for position, opposite in others
            # A rule between them with the other action would then come before or after it.
            if opposite == ahead
        ]
        if alike:
            text = (
                f"differs only in its calls from {', '.join(alike)}: one rule with all these "
                f"calls would be asked once instead of {len(alike) + 1} times"
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
    for index, line in enumerate(lines):
        after = len(lines) - index - 1
        if line.command == Set("failure", 2):
            yield line, "-f 2: the kernel panics when a record is lost"
        if line.command == Set("enabled", 2) and after:
            text = (
                f"-e 2 locks audit until the next boot, so the kernel refuses the {after} lines "
                "after it; put it last"
            )
            yield line, text
