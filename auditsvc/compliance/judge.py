"""For each control: whether its rules exist, are in force, and logged events. Pure.

Input: the controls of the sets (`auditsvc.ruleset.controls`), the kernel's rules and settings,
the store's counts, the share of covered tasks. Each except the first may be unknown, and
then the result says so. Output: a Report, which `as_json` turns into values and
`auditsvc.compliance.page` into a page.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from auditsvc.compliance.model import (
    IN_FORCE,
    Asked,
    ControlState,
    Judged,
    KernelState,
    RuleFinding,
)
from auditsvc.rule import Action, FilterList
from auditsvc.ruleset.controls import Control
from auditsvc.ruleset.cover import includes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from auditsvc.rule import Line, Rule


def joined(controls: Iterable[Control]) -> list[Control]:
    """Join what several files have for the same control; title and notes are the first one's.

    Frameworks keep their order, the controls of each are sorted by id.
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
    """Split a text so that 10.2.1.9 comes before 10.2.1.10."""
    parts = re.split(r"([0-9]+)", text)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _both(one: Control, other: Control) -> Control:
    settings = one.settings + tuple(each for each in other.settings if each not in one.settings)
    note = one.note or other.note
    return Control(one.framework, one.id, one.title, one.lines + other.lines, settings, note)


def judge(
    control: Control, kernel: KernelState | None, lacking: Callable[[Rule], object | None]
) -> Judged:
    """Judge one control; `lacking` gives the folder that a rule needs and the host lacks."""
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
    line: Line, rule: Rule, kernel: KernelState | None, lacking: Callable[[Rule], object | None]
) -> RuleFinding:
    if kernel is None:
        return RuleFinding(line, rule, ControlState.UNKNOWN, shared=True)
    order = kernel.order
    loaded = rule in order.positions
    first = order.first(rule, rule.action)
    never = order.first(rule, Action.NEVER) if rule.action is not Action.NEVER else None
    if never is not None and (first is None or never < first):
        return RuleFinding(line, rule, ControlState.HIDDEN, kernel.rules[never], loaded=loaded)
    end = len(kernel.rules) if first is None else first
    shared = any(True for _ in order.meeting(rule, rule.action, end))
    exceptions: tuple[Rule, ...] = ()
    if rule.action is not Action.NEVER:
        exceptions = tuple(order.meeting(rule, Action.NEVER, end))
    if first is not None:
        by = kernel.rules[first]
        if by.keys == rule.keys and (by == rule or includes(rule, by)):
            return RuleFinding(
                line, rule, ControlState.LOADED, None, exceptions, shared=shared, loaded=loaded
            )
        return RuleFinding(
            line, rule, ControlState.COVERED, by, exceptions, shared=True, loaded=loaded
        )
    folder = lacking(rule)
    if folder is not None:
        return RuleFinding(line, rule, ControlState.ABSENT, lacking=str(folder))
    return RuleFinding(line, rule, ControlState.MISSING, exceptions=exceptions, shared=shared)


def _state(findings: Sequence[RuleFinding], settings: Sequence[Asked]) -> ControlState:
    states = {each.state for each in findings}
    if not states:
        return ControlState.SETTING if settings else ControlState.NO_RULE
    if len(states) > 1:
        states.discard(ControlState.ABSENT)
    if len(states) == 1:
        return states.pop()
    if states <= IN_FORCE:
        return ControlState.COVERED
    return ControlState.PARTLY if states & IN_FORCE else ControlState.MISSING


def keys(control: Control) -> tuple[str, ...]:
    """Give the keys of a control's events as stored: several keys of a rule are one text."""
    return tuple(dict.fromkeys(",".join(rule.keys) for rule in control.rules if rule.keys))


def by_calls(judged: Judged) -> tuple[Rule, ...]:
    """Give the rules whose events may be stored with another rule's key."""
    return tuple(
        each.rule
        for each in judged.findings
        if each.rule.action is Action.ALWAYS
        and each.rule.filter_list is FilterList.EXIT
        and (each.shared or not each.rule.keys)
    )
