"""Warnings about a rule that can never match, or that the kernel never loads. Pure.

    line that adds a rule -> warnings

Each follows from kernel/auditfilter.c, kernel/auditsc.c or the kernel's path lookup, and was
tested on Linux 6.18.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from auditsvc.rule import fields, printing
from auditsvc.rule.model import Action, FilterList
from auditsvc.ruleset import quantities
from auditsvc.ruleset.conflict import can_match_on_list, exclude_each_other, unsupported
from auditsvc.ruleset.cover import arches, calls
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.rule.host import Host
    from auditsvc.rule.model import Condition, Rule

_PATHS: Final = (fields.PATH, fields.DIR, fields.EXE)
_WILDCARD: Final = re.compile(r"[*?]|\[[^]/]+\]|\{[^}/]*,[^}/]*\}|[+@!]\([^)/]+\)")
_LONGEST: Final = 255  # NAME_MAX, bytes
_POSITIVE: Final = re.compile(r"(?:^|[ \t])-F[ \t]*exit([!<>=]+)([A-Z][A-Z0-9]*)(?=[ \t]|$)")


def warnings(rule: Rule, text: str, host: Host) -> Iterator[str]:
    """Yield the warnings about a rule; `text` is its line."""
    yield from _by_list(rule)
    yield from _excluded(rule, host)
    yield from _by_calls(rule)
    yield from _positive(text)
    for condition in rule.conditions:
        if condition.field in _PATHS:
            yield from _path(condition)


def _by_list(rule: Rule) -> Iterator[str]:
    which = rule.filter_list
    name = which.name.lower()
    odd = unsupported(rule)
    if odd:
        further = "" if which is FilterList.TASK else ", and asks no rule after it"
        yield (
            f"never matches: on the list {name} the kernel does not support {_shown(odd[0])}"
            f"{further}"
        )
    elif not can_match_on_list(rule):
        yield f"never matches: on the list {name} a rule needs a condition"
    elif which is FilterList.FILESYSTEM and rule.action is Action.ALWAYS:
        yield "has no effect: on the list filesystem only `never` has an effect"


def _excluded(rule: Rule, host: Host) -> Iterator[str]:
    if rule.filter_list is FilterList.FILESYSTEM:
        return
    found = exclude_each_other(rule.conditions, rule.filter_list)
    if not found:
        return
    shown = [_shown(each, host.arch) for each in found]
    if len(found) == 1:
        yield f"never matches: no call meets {shown[0]}; numbers are compared as unsigned"
        return
    why = ""
    if {quantities.SUCCESS, quantities.EXIT} <= {each.field for each in found}:
        why = ": only a call that fails has a result from -4095 to -1"
    yield f"never matches: {', '.join(shown[:-1])} and {shown[-1]} exclude each other{why}"


def _by_calls(rule: Rule) -> Iterator[str]:
    """Yield a warning if none of the rule's calls has the permissions of `perm=`."""
    perms = [each for each in rule.conditions if each.field == fields.PERM]
    if rule.filter_list is not FilterList.EXIT or not perms or rule.every_syscall:
        return
    machines = arches(rule)
    if any(calls(rule, arch) for arch in machines) or _multiplexed(rule, machines):
        return
    yield f"never matches: none of its calls has {_shown(perms[0])}"


def _multiplexed(rule: Rule, machines: tuple[int, ...]) -> bool:
    """Whether socketcall is among the calls: as bind it counts as w (AUDITSC_SOCKETCALL)."""
    numbers = (names.syscall_number(arch, "socketcall") for arch in machines)
    return any(number is not None and rule.mask >> number & 1 for number in numbers)


def _positive(text: str) -> Iterator[str]:
    for symbol, name in _POSITIVE.findall(text):
        if names.errno_number(name) is not None:
            yield (
                f"`exit{symbol}{name}` compares with the result {names.errno_number(name)}, which "
                f"is not an error: for a call that fails write exit{symbol}-{name}"
            )


def _path(condition: Condition) -> Iterator[str]:
    path = str(condition.value)
    parts = path.split("/")
    if _WILDCARD.search(path):
        yield f"`{path}` is one name: the kernel has no wildcards; watch the folder"
    if condition.field != fields.DIR and parts[-1] in (".", ".."):
        yield f"never loads: the kernel refuses a path that ends in `{parts[-1]}`"
    elif not {".", ".."}.isdisjoint(parts):
        yield (
            f"`{path}` contains `..` or `.`, which the kernel resolves only when the rule is "
            "loaded: write the path without them"
        )
    if any(len(part.encode(errors="surrogateescape")) > _LONGEST for part in parts):
        yield f"never loads: a name in the path is longer than {_LONGEST} bytes"


def _shown(condition: Condition, native: int | None = None) -> str:
    return f"`{printing.condition(condition, native)}`"
