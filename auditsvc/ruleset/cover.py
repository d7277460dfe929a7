"""Compares two rules: do they overlap, and does one include all calls of the other. Pure.

The kernel asks a list from its head, and the first rule that matches decides
(kernel/auditsc.c audit_filter_syscall; `prio` in kernel/auditfilter.c makes that true for
rules that are found by an inode, too). A rule after one that includes it is never asked.

Files are compared by their paths only. The rules do not show that a file has another name
outside a watched folder (a hard link, a mount), or that a path contains a symbolic link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.rule import fields
from auditsvc.rule.host import Host
from auditsvc.rule.model import SYSCALLS, FilterList, Rule
from auditsvc.ruleset import perms, quantities
from auditsvc.ruleset.conflict import can_match_on_list, excluded

if TYPE_CHECKING:
    from auditsvc.rule.model import Condition

CALL_LISTS: Final = (FilterList.EXIT, FilterList.IO_URING)
"""Lists whose rules are for certain calls or operations; the other lists ignore the mask."""

_CALLS: Final = (1 << SYSCALLS) - 1  # the bits above are classes, which the kernel expands
_FILES: Final = frozenset({fields.PATH, fields.DIR})
_NUMBERS: Final = quantities.SINGLE | quantities.SEVERAL


def tested(rule: Rule) -> tuple[Condition, ...]:
    """Give the conditions that a rule tests: all except its keys."""
    return tuple(each for each in rule.conditions if each.field != fields.KEY)


def includes(wide: Rule, narrow: Rule) -> bool:
    """Whether `wide` matches every call that `narrow` matches. Actions do not matter.

    False if the rules alone do not show it.
    """
    if wide.filter_list is not narrow.filter_list or mask(narrow) & ~mask(wide):
        return False
    return includes_for_any_call(wide, narrow)


def includes_for_any_call(wide: Rule, narrow: Rule) -> bool:
    """Whether the conditions of `narrow` imply those of `wide`; their calls are not compared."""
    which = narrow.filter_list
    if not can_match_on_list(wide):
        return False
    if which is FilterList.IO_URING and by_inode(wide) is not by_inode(narrow):
        # A rule that is found by an inode gets the number of the system call
        # (audit_filter_inode_name), other rules get that of the operation.
        return False
    wanted, given = tested(wide), tested(narrow)
    if which is FilterList.FILESYSTEM:  # any one of its conditions is enough
        return all(any(implied(each, (one,), which) for each in wanted) for one in given)
    return all(implied(condition, given, which) for condition in wanted)


def by_inode(rule: Rule) -> bool:
    """Whether the kernel asks a rule only for the files that it names (audit_find_rule)."""
    return any(
        each.field in (fields.PATH, fields.INODE) and each.operator == fields.EQUAL
        for each in rule.conditions
    )


def overlap(one: Rule, other: Rule) -> bool:
    """Whether both may match the same call; True if the rules alone do not show it."""
    which = one.filter_list
    if which is not other.filter_list:
        return False
    if which in CALL_LISTS and not mask(one) & mask(other):
        return False
    left, right = tested(one), tested(other)
    if any(_apart(mine, yours) for mine in left for yours in right):
        return False
    if which is not FilterList.FILESYSTEM and excluded((*left, *right), which):
        return False
    return which is not FilterList.EXIT or any(
        calls(one, arch) & calls(other, arch) for arch in arches(one)
    )


def arches(rule: Rule) -> tuple[int, ...]:
    """Give the AUDIT_ARCH_* that a rule is for, of those that programs can use on this host."""
    if rule.arch is not None:
        return (rule.arch,)
    host = Host.local()
    return tuple(arch for word in ("b64", "b32") if (arch := host.family(word)) is not None)


def calls(rule: Rule, arch: int) -> int:
    """Give the calls of a machine that a rule is for, as a mask, without those `perm=` excludes."""
    found = mask(rule)
    if rule.arch not in (None, arch):
        return 0
    for condition in rule.conditions:
        if condition.field == fields.PERM:
            wanted = int(condition.value)
            allowed = perms.calls(arch, wanted) | perms.opens(arch, wanted).keys()
            found &= sum(1 << number for number in allowed)
    return found


def mask(rule: Rule) -> int:
    """Give the mask of a rule without the bits of classes; 0 on lists that ignore the mask."""
    if rule.filter_list not in CALL_LISTS:
        return 0
    return _CALLS if rule.every_syscall else rule.mask & _CALLS


def implied(wanted: Condition, given: tuple[Condition, ...], which: FilterList) -> bool:
    """Whether calls that meet all of `given` also meet `wanted`, on this list."""
    if wanted in given:
        return True
    if wanted.field == fields.PERM:
        return any(
            each.field == fields.PERM and not int(each.value) & ~int(wanted.value) for each in given
        )
    if wanted.field == fields.DIR:
        return any(each.field in _FILES and below(each.value, wanted.value) for each in given)
    return wanted.field in _NUMBERS and quantities.implied(wanted, given, which)


def _apart(left: Condition, right: Condition) -> bool:
    """Whether no call names files of both conditions; two different files count as separate.

    That is true except for calls that name two files, such as rename and link.
    """
    if not {left.field, right.field} <= _FILES:
        return False
    if left.field == right.field == fields.PATH:
        unclear = is_not_normal(str(left.value)) or is_not_normal(str(right.value))
        return not unclear and left.value != right.value
    return not (may_be_below(left.value, right.value) or may_be_below(right.value, left.value))


def containing(path: str) -> list[str]:
    """Give a path and the folders above it, going by the text of the path; the path first."""
    plain = f"/{path.strip('/')}"
    if plain == "/" or is_not_normal(plain):
        return [plain]
    parts = plain.split("/")
    return [*("/".join(parts[:count]) for count in range(len(parts), 1, -1)), "/"]


def below(path: int | str, folder: int | str) -> bool:
    """Whether a path is a folder or something in it, going by the text of the paths."""
    return f"/{str(folder).strip('/')}" in containing(str(path))


def may_be_below(path: int | str, folder: int | str) -> bool:
    """Whether a path may be below a folder: with `..` that is unknown."""
    return is_not_normal(str(path)) or is_not_normal(str(folder)) or below(path, folder)


def is_not_normal(path: str) -> bool:
    """Whether a path contains `..`, `.` or `//`."""
    parts = path.strip("/")
    return bool(parts) and not {"", ".", ".."}.isdisjoint(parts.split("/"))
