"""The sum of the lines of rule files: rules, settings and other actions.

auditctl runs one line after the other; here they are summed up first, so that the result
can be compared with the kernel. `-d` removes the rule of an earlier line, `-D` those of all
earlier lines; the last value of a setting counts. `-e 2` comes last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from auditsvc.rule.commands import (
    Add,
    Delete,
    DeleteAll,
    Line,
    MakeEquivalent,
    OnError,
    Reset,
    Set,
    Trim,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditsvc.rule.commands import Command, Setting
    from auditsvc.rule.model import Rule


@dataclass(slots=True)
class Wanted:
    """The wanted rules, settings and actions."""

    rules: list[Add] = field(default_factory=list)
    """In the order of their lines; `plan.effective` gives the kernel's order."""
    deleted: list[Rule] = field(default_factory=list)
    """Rules that `-d` and `-W` delete."""
    settings: dict[Setting, int] = field(default_factory=dict)
    actions: list[Reset | Trim | MakeEquivalent] = field(default_factory=list)
    """To be done at each load, as the kernel does not show whether it was done before."""
    delete_all: list[Line] = field(default_factory=list)
    on_error: Literal["ignore", "continue"] | None = None
    where: dict[Rule, str] = field(default_factory=dict)
    """FILE:LINE of each rule."""


def sum_up(lines: Iterable[Line]) -> Wanted:
    """Sum up the lines of rule files."""
    total = Wanted()
    rules: dict[Rule, Add] = {}
    deleted: dict[Rule, None] = {}
    for line in lines:
        match line.command:
            case Add(rule) as add:
                deleted.pop(rule, None)
                if rule not in rules:
                    rules[rule] = add
                    total.where[rule] = f"{line.filename}:{line.number}"
            case Delete(rule):
                rules.pop(rule, None)
                deleted.pop(rule, None)
                deleted[rule] = None
            case DeleteAll(key):
                total.delete_all.append(line)
                rules = {rule: add for rule, add in rules.items() if not has_key(rule, key)}
            case command:
                _take(total, command)
    total.rules = list(rules.values())
    total.deleted = list(deleted)
    total.where = {rule: total.where[rule] for rule in rules}
    return total


def _take(total: Wanted, command: Command) -> None:
    match command:
        case Set(name, value):
            total.settings[name] = value
        case OnError(mode):
            total.on_error = mode
        case Reset() | Trim() | MakeEquivalent() as action:
            total.actions.append(action)


def has_key(rule: Rule, key: str | None) -> bool:
    """Whether `-D -k KEY` deletes this rule: one of its keys contains KEY; without -k always."""
    return key is None or any(key in each for each in rule.keys)
