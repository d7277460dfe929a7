"""Builds a rule from the options of one line.

The requirements of auditctl and the kernel for a rule as a whole are checked here: the
order of options, which fields a list allows, how often a field may occur.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from auditsvc.rule import fields
from auditsvc.rule.model import (
    EVERY_SYSCALL,
    KEY_SEPARATOR,
    MAX_CONDITIONS,
    MAX_KEY,
    SYSCALLS,
    Action,
    Condition,
    FilterList,
    Rule,
)
from auditsvc.rule.values import SyntaxProblem, number, path, perm, value
from auditsvc.rule.words import nearest
from auditsvc.tables import names

if TYPE_CHECKING:
    from auditsvc.rule.host import Host

_CONDITION: Final = re.compile(r"([A-Za-z0-9_]+)(!=|>=|<=|&=|=|>|<|&)(.*)", re.DOTALL)
_COMPARISON: Final = re.compile(r"([a-z_]+)(!=|=)([a-z_]+)")
_CALL_LISTS: Final = (FilterList.EXIT, FilterList.IO_URING)
_ALL_PERMS: Final = 15

LISTS: Final = {each.name.lower(): each for each in FilterList}
ACTIONS: Final = {each.name.lower(): each for each in Action}


def list_and_action(word: str) -> tuple[FilterList, Action]:
    """Read `always,exit` or `exit,always`."""
    found_list, found_action = None, None
    for part in word.split(","):
        if part in LISTS and found_list is None:
            found_list = LISTS[part]
        elif part in ACTIONS and found_action is None:
            found_action = ACTIONS[part]
        elif part == "entry":
            raise SyntaxProblem(
                "the list `entry` no longer exists", "use `exit`, which gets the same calls"
            )
        elif part == "possible":
            raise SyntaxProblem("the action `possible` no longer exists", "use `always`")
        else:
            raise SyntaxProblem(f"bad list or action `{part}`", nearest(part, [*LISTS, *ACTIONS]))
    if found_list is None or found_action is None:
        raise SyntaxProblem(f"`{word}` lacks a list or an action", "write for example always,exit")
    return found_list, found_action


@dataclass
class RuleBuilder:
    """Takes the options of a rule in their order."""

    host: Host
    filter_list: FilterList
    action: Action
    conditions: list[Condition] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    arch: int | None = None
    mask: int = 0
    calls_given: bool = False

    @classmethod
    def watch(cls, host: Host, word: str) -> RuleBuilder:
        """Begin the rule of `-w PATH`; it watches a folder if PATH is one on the host now."""
        path(word)
        where = word.rstrip("/") or "/"
        builder = cls(host, FilterList.EXIT, Action.ALWAYS, mask=EVERY_SYSCALL, calls_given=True)
        kind = fields.DIR if host.is_folder(where) else fields.PATH
        builder.conditions = [
            Condition(kind, fields.EQUAL, where),
            Condition(fields.PERM, fields.EQUAL, _ALL_PERMS),
        ]
        return builder

    def condition(self, word: str) -> None:
        """Add `-F FIELD OPERATOR VALUE`."""
        match = _CONDITION.fullmatch(word)
        if match is None:
            raise SyntaxProblem(
                f"`{word}` is not a condition", "write FIELD, an operator, and a value"
            )
        name, symbol, text = match.groups()
        known = fields.BY_NAME.get(name)
        if known is None:
            raise SyntaxProblem(f"unknown field `{name}`", nearest(name, fields.BY_NAME))
        if symbol not in known.operators:
            able = " ".join(each for each in fields.OPERATORS if each in known.operators)
            raise SyntaxProblem(f"`{name}` cannot be compared by `{symbol}`", f"it takes {able}")
        if self.filter_list not in known.lists:
            lists = ", ".join(each.name.lower() for each in FilterList if each in known.lists)
            raise SyntaxProblem(
                f"`{name}` does nothing on the list {self.filter_list.name.lower()}",
                f"it can be on {lists}",
            )
        if not text:
            raise SyntaxProblem(f"`{word}` has no value")
        if known.number == fields.KEY:
            self.key(text)
            return
        content = value(known, text, self.host)
        if known.number == fields.ARCH:
            self._set_arch(int(content))
        self._single(known)
        self._append(Condition(known.number, fields.OPERATORS[symbol], content))

    def _set_arch(self, arch: int) -> None:
        if self.calls_given:
            raise SyntaxProblem(
                "arch comes after -S", "put -F arch= first: the numbers depend on it"
            )
        if self.arch is not None:
            raise SyntaxProblem("a second arch", "write one rule for each arch")
        self.arch = arch

    def _single(self, known: fields.Field) -> None:
        for group in fields.SINGLE:
            if known.number in group and any(each.field in group for each in self.conditions):
                both = "path, dir and inode" if fields.PATH in group else known.name
                raise SyntaxProblem(f"a second `{known.name}`", f"a rule takes one of {both}")

    def compare(self, word: str) -> None:
        """Add `-C FIELD=FIELD` or `-C FIELD!=FIELD`."""
        match = _COMPARISON.fullmatch(word)
        if match is None:
            raise SyntaxProblem(
                f"`{word}` is not a comparison", "write FIELD=FIELD or FIELD!=FIELD"
            )
        left, symbol, right = match.groups()
        for name in (left, right):
            if name not in fields.COMPARABLE:
                raise SyntaxProblem(
                    f"field `{name}` cannot be compared with another",
                    nearest(name, fields.COMPARABLE),
                )
        if self.filter_list not in _CALL_LISTS:
            raise SyntaxProblem("-C does nothing on this list", "it can be on exit and io_uring")
        found = fields.COMPARISON_NUMBERS.get(frozenset((left, right)))
        if found is None:
            raise SyntaxProblem(f"the kernel cannot compare {left} with {right}")
        self._append(Condition(fields.COMPARE, fields.OPERATORS[symbol], found))

    def calls(self, word: str) -> None:
        """Add `-S CALL[,CALL...]`: names, numbers or `all`."""
        if self.filter_list not in _CALL_LISTS:
            raise SyntaxProblem(
                f"-S does nothing on the list {self.filter_list.name.lower()}",
                "it can be on exit and io_uring",
            )
        for call in word.split(","):
            self.mask |= EVERY_SYSCALL if call == "all" else 1 << self._call(call)
        self.calls_given = True

    def _call(self, word: str) -> int:
        uring = self.filter_list is FilterList.IO_URING
        arch = self.host.arch if self.arch is None else self.arch
        found = number(word)
        if found is None:
            found = names.uring_op_number(word) if uring else names.syscall_number(arch, word)
        if found is None:
            known = names.uring_ops().values() if uring else names.syscalls(arch).values()
            what = "io_uring operation" if uring else f"syscall of {names.arch_name(arch)}"
            raise SyntaxProblem(f"unknown {what} `{word}`", nearest(word, known))
        if found >= SYSCALLS:
            raise SyntaxProblem(
                f"syscall number {word} is too large",
                f"the kernel matches numbers below {SYSCALLS}, and no x32 call",
            )
        return found

    def perms(self, word: str) -> None:
        """Add `-p PERMISSIONS`, or replace an earlier one."""
        if self.filter_list is not FilterList.EXIT:
            raise SyntaxProblem("-p can only be on the list exit")
        new = Condition(fields.PERM, fields.EQUAL, perm(word))
        for index, each in enumerate(self.conditions):
            if each.field == fields.PERM:
                self.conditions[index] = new
                return
        self._append(new)

    def key(self, word: str) -> None:
        """Add `-k KEY` or `-F key=KEY`; several keys are joined in the kernel's format."""
        if self.filter_list not in fields.BY_NUMBER[fields.KEY].lists:
            raise SyntaxProblem("a key does nothing on the list exclude")
        self.keys.append(str(value(fields.BY_NUMBER[fields.KEY], word, self.host)))
        joined = KEY_SEPARATOR.join(self.keys).encode(errors="surrogateescape")
        if len(joined) > MAX_KEY:
            raise SyntaxProblem(
                "the keys are too long", f"the kernel accepts {MAX_KEY} bytes in all"
            )

    def _append(self, condition: Condition) -> None:
        self.conditions.append(condition)
        if len(self.conditions) + bool(self.keys) > MAX_CONDITIONS:
            raise SyntaxProblem(
                "too many conditions", f"the kernel accepts {MAX_CONDITIONS} a rule"
            )

    def rule(self) -> Rule:
        """Give the finished rule: keys last, and all calls if none was given."""
        conditions = self.conditions
        if self.keys:
            joined = KEY_SEPARATOR.join(self.keys)
            conditions = [*conditions, Condition(fields.KEY, fields.EQUAL, joined)]
        if len(conditions) > MAX_CONDITIONS:
            raise SyntaxProblem(
                "too many conditions", f"the kernel accepts {MAX_CONDITIONS} a rule"
            )
        mask = self.mask
        if not self.calls_given and self.filter_list is not FilterList.TASK:
            mask = EVERY_SYSCALL
        return Rule(self.filter_list, self.action, tuple(conditions), mask)
