"""Control by control: is what a rule set wants there, in force, and has it been seen. Pure.

What comes in: the controls of the sets (`auditsvc.ruleset.controls`), what the kernel has, what
the store counted, what share of tasks is covered. Each but the first may be unknown, and
then the answer says so. What goes out is a Report, which `as_json` turns into values and
`auditsvc.compliance.page` into a page.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from auditsvc.compliance.model import IN_FORCE, Asked, Finding, Judged, Kernel, State
from auditsvc.rule import Action, FilterList
from auditsvc.ruleset.controls import Control
from auditsvc.ruleset.cover import includes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from auditsvc.rule import Line, Rule


def joined(controls: Iterable[Control]) -> list[Control]:
    """Join what several files say of the same control; the first one's title and notes stay.

    Frameworks come in their order, the controls of each by their ids.
    """
    found: dict[str, Control] = {}
    for control in controls:
        other = found.get(control.name)
        found[control.name] = control if other is None else _both(other, control)
    frameworks = list(dict.fromkeys(each.framework for each in found.values()))
    return sorted(
        found.values(), key=lambda each: (frameworks.index(each.framework), _ordered(each.id))
    )


def _ordered(text: str) -> list[tuple[int, str]]:
    """Part a text so that 10.2.1.9 comes before 10.2.1.10."""
    parts = re.split(r"([0-9]+)", text)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _both(one: Control, other: Control) -> Control:
    settings = one.settings + tuple(each for each in other.settings if each not in one.settings)
    note = one.note or other.note
    return Control(one.framework, one.id, one.title, one.lines + other.lines, settings, note)


def judge(
    control: Control, kernel: Kernel | None, lacking: Callable[[Rule], object | None]
) -> Judged:
    """Judge one control; `lacking` gives the folder that a rule needs and the host has not."""
    findings = tuple(
        _find(line, rule, kernel, lacking)
        for line, rule in zip(control.lines, control.rules, strict=True)
    )
    settings = tuple(
        Asked(each, None if kernel is None else kernel.settings.get(each.name))
        for each in control.settings
    )
    return Judged(control, _state(findings, settings), findings, settings)


def _find(
    line: Line, rule: Rule, kernel: Kernel | None, lacking: Callable[[Rule], object | None]
) -> Finding:
    if kernel is None:
        return Finding(line, rule, State.UNKNOWN, shared=True)
    order = kernel.order
    loaded = rule in order.positions
    first = order.first(rule, rule.action)
    never = order.first(rule, Action.NEVER) if rule.action is not Action.NEVER else None
    if never is not None and (first is None or never < first):
        return Finding(line, rule, State.HIDDEN, kernel.rules[never], loaded=loaded)
    end = len(kernel.rules) if first is None else first
    shared = any(True for _ in order.meeting(rule, rule.action, end))
    exceptions: tuple[Rule, ...] = ()
    if rule.action is not Action.NEVER:
        exceptions = tuple(order.meeting(rule, Action.NEVER, end))
    if first is not None:
        by = kernel.rules[first]
        if by.keys == rule.keys and (by == rule or includes(rule, by)):
            return Finding(line, rule, State.LOADED, None, exceptions, shared=shared, loaded=loaded)
        return Finding(line, rule, State.COVERED, by, exceptions, shared=True, loaded=loaded)
    folder = lacking(rule)
    if folder is not None:
        return Finding(line, rule, State.ABSENT, lacking=str(folder))
    return Finding(line, rule, State.MISSING, exceptions=exceptions, shared=shared)


def _state(findings: Sequence[Finding], settings: Sequence[Asked]) -> State:
    states = {each.state for each in findings}
    if not states:
        return State.SETTING if settings else State.NO_RULE
    if len(states) > 1:
        states.discard(State.ABSENT)
    if len(states) == 1:
        return states.pop()
    if states <= IN_FORCE:
        return State.COVERED
    return State.PARTLY if states & IN_FORCE else State.MISSING


def keys(control: Control) -> tuple[str, ...]:
    """Give the keys under which a control's events are stored: several keys of a rule as one."""
    return tuple(dict.fromkeys(",".join(rule.keys) for rule in control.rules if rule.keys))


def by_calls(judged: Judged) -> tuple[Rule, ...]:
    """Give the rules whose events may stand under another rule's key."""
    return tuple(
        each.rule
        for each in judged.findings
        if each.rule.action is Action.ALWAYS
        and each.rule.filter_list is FilterList.EXIT
        and (each.shared or not each.rule.keys)
    )
