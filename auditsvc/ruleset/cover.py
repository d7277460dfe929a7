"""One rule beside another: which calls both are for, and which one takes in the other. Pure.

The kernel asks a list from its head and the first rule that matches decides
(kernel/auditsc.c audit_filter_syscall). A rule that stands behind a broader one
is loaded and never asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.rule import fields
from auditsvc.rule.host import Host
from auditsvc.rule.model import SYSCALLS, FilterList, Rule
from auditsvc.ruleset import perms

if TYPE_CHECKING:
    from auditsvc.rule.model import Condition

_CALLS: Final = (1 << SYSCALLS) - 1  # beyond, bits are classes, which the kernel lists as calls
_SUCCESS, _EXIT = 104, 103


def asked(rule: Rule) -> tuple[Condition, ...]:
    """Give what a rule asks: its conditions without its keys."""
    return tuple(each for each in rule.conditions if each.field != fields.KEY)


def takes_in(wide: Rule, narrow: Rule) -> bool:
    """Whether every call that `narrow` is for is one that `wide` is for. Actions do not matter.

    False where it cannot be told from the rules alone.
    """
    return (
        wide.filter_list is narrow.filter_list
        and not _mask(narrow) & ~_mask(wide)
        and all(_implied(condition, asked(narrow)) for condition in asked(wide))
    )


def meet(one: Rule, other: Rule) -> bool:
    """Whether there may be a call that both are for; True where it cannot be told."""
    if one.filter_list is not other.filter_list:
        return False
    if any(_apart(left, right) for left in asked(one) for right in asked(other)):
        return False
    if one.filter_list is not FilterList.EXIT:
        return bool(_mask(one) & _mask(other))
    return any(calls(one, arch) & calls(other, arch) for arch in arches(one))


def arches(rule: Rule) -> tuple[int, ...]:
    """Give the machines whose calls a rule is for, of those that programs of this host can use."""
    if rule.arch is not None:
        return (rule.arch,)
    host = Host.here()
    return tuple(arch for word in ("b64", "b32") if (arch := host.family(word)) is not None)


def calls(rule: Rule, arch: int) -> int:
    """Give the calls of a machine that a rule is for, as a mask: what `perm=` rules out is out."""
    mask = _mask(rule)
    if rule.arch not in (None, arch):
        return 0
    for condition in rule.conditions:
        if condition.field == fields.PERM:
            wanted = int(condition.value)
            allowed = perms.calls(arch, wanted) | perms.opens(arch, wanted).keys()
            mask &= sum(1 << number for number in allowed)
    return mask


def _mask(rule: Rule) -> int:
    return _CALLS if rule.every_syscall else rule.mask & _CALLS


def _implied(wanted: Condition, given: tuple[Condition, ...]) -> bool:
    """Whether calls that meet all of `given` meet `wanted`."""
    if wanted in given:
        return True
    if wanted.field == fields.PERM:
        return any(
            each.field == fields.PERM and not int(each.value) & ~int(wanted.value) for each in given
        )
    if wanted.field == fields.DIR:
        return any(
            each.field in (fields.DIR, fields.PATH) and _below(each.value, wanted.value)
            for each in given
        )
    return False


def _apart(left: Condition, right: Condition) -> bool:
    """Whether no call meets both.

    Two files that are watched are taken to be apart, though rename and link name two.
    """
    pair = {left.field: left, right.field: right}
    if pair.keys() <= {fields.DIR, fields.PATH}:
        if left.field == right.field == fields.PATH:
            return left.value != right.value
        return not (_below(left.value, right.value) or _below(right.value, left.value))
    if any(each.operator != fields.EQUAL for each in pair.values()):
        return False
    if left.field == right.field:
        return left.field != fields.PERM and left.value != right.value
    if pair.keys() == {_SUCCESS, _EXIT}:  # a negative exit is no success
        return pair[_SUCCESS].value == 1 and int(pair[_EXIT].value) >> 31 == 1
    return False


def _below(path: int | str, folder: int | str) -> bool:
    inner, outer = str(path).rstrip("/"), str(folder).rstrip("/")
    return inner == outer or inner.startswith(f"{outer}/")
