"""One rule beside another: which calls both are for, and which one takes in the other. Pure.

The kernel asks a list from its head and the first rule that matches decides
(kernel/auditsc.c audit_filter_syscall; `prio` in kernel/auditfilter.c makes that true of
rules that are found by an inode, too). A rule that stands behind a broader one is loaded
and never asked.

Files are known by their paths alone: that a file has another name outside a watched folder
(a hard link, a mount), or that a path leads through a symbolic link, the rules do not tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.rule import fields
from auditsvc.rule.host import Host
from auditsvc.rule.model import SYSCALLS, FilterList, Rule
from auditsvc.ruleset import perms, quantities
from auditsvc.ruleset.conflict import excluded, is_judged

if TYPE_CHECKING:
    from auditsvc.rule.model import Condition

CALL_LISTS: Final = (FilterList.EXIT, FilterList.IO_URING)
"""Lists whose rules are for some calls or operations: the others do not look at the mask."""

_CALLS: Final = (1 << SYSCALLS) - 1  # beyond, bits are classes, which the kernel lists as calls
_FILES: Final = frozenset({fields.PATH, fields.DIR})
_NUMBERS: Final = quantities.SINGLE | quantities.SEVERAL


def asked(rule: Rule) -> tuple[Condition, ...]:
    """Give what a rule asks: its conditions without its keys."""
    return tuple(each for each in rule.conditions if each.field != fields.KEY)


def takes_in(wide: Rule, narrow: Rule) -> bool:
    """Whether every call that `narrow` is for is one that `wide` is for. Actions do not matter.

    False where it cannot be told from the rules alone.
    """
    if wide.filter_list is not narrow.filter_list or mask(narrow) & ~mask(wide):
        return False
    return takes_in_whatever_call(wide, narrow)


def takes_in_whatever_call(wide: Rule, narrow: Rule) -> bool:
    """Whether `narrow`'s conditions imply those of `wide`, whatever calls the rules name."""
    which = narrow.filter_list
    if not is_judged(wide):
        return False
    if which is FilterList.IO_URING and by_inode(wide) is not by_inode(narrow):
        # A rule that is found by an inode is asked with the number of the system call
        # (audit_filter_inode_name), another with that of the operation.
        return False
    wanted, given = asked(wide), asked(narrow)
    if which is FilterList.FILESYSTEM:  # any one of its conditions is enough
        return all(any(implied(each, (one,), which) for each in wanted) for one in given)
    return all(implied(condition, given, which) for condition in wanted)


def by_inode(rule: Rule) -> bool:
    """Whether the kernel asks a rule for the files it names only (audit_find_rule)."""
    return any(
        each.field in (fields.PATH, fields.INODE) and each.operator == fields.EQUAL
        for each in rule.conditions
    )


def meet(one: Rule, other: Rule) -> bool:
    """Whether there may be a call that both are for; True where it cannot be told."""
    which = one.filter_list
    if which is not other.filter_list:
        return False
    if which in CALL_LISTS and not mask(one) & mask(other):
        return False
    left, right = asked(one), asked(other)
    if any(_apart(mine, yours) for mine in left for yours in right):
        return False
    if which is not FilterList.FILESYSTEM and excluded((*left, *right), which):
        return False
    return which is not FilterList.EXIT or any(
        calls(one, arch) & calls(other, arch) for arch in arches(one)
    )


def arches(rule: Rule) -> tuple[int, ...]:
    """Give the machines whose calls a rule is for, of those that programs of this host can use."""
    if rule.arch is not None:
        return (rule.arch,)
    host = Host.here()
    return tuple(arch for word in ("b64", "b32") if (arch := host.family(word)) is not None)


def calls(rule: Rule, arch: int) -> int:
    """Give the calls of a machine that a rule is for, as a mask: what `perm=` rules out is out."""
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
    """Give the calls that a rule names, without the bits of classes; 0 where lists ask for none."""
    if rule.filter_list not in CALL_LISTS:
        return 0
    return _CALLS if rule.every_syscall else rule.mask & _CALLS


def implied(wanted: Condition, given: tuple[Condition, ...], which: FilterList) -> bool:
    """Whether calls that meet all of `given` meet `wanted`, on this list."""
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
    """Whether no call names files of both; two files are taken to be apart.

    So they are but for calls that name two, as rename and link do.
    """
    if not {left.field, right.field} <= _FILES:
        return False
    if left.field == right.field == fields.PATH:
        crooked = is_crooked(str(left.value)) or is_crooked(str(right.value))
        return not crooked and left.value != right.value
    return not (may_be_below(left.value, right.value) or may_be_below(right.value, left.value))


def containing(path: str) -> list[str]:
    """Give a path and the folders that it is in, as far as its words say; the path first."""
    plain = f"/{path.strip('/')}"
    if plain == "/" or is_crooked(plain):
        return [plain]
    parts = plain.split("/")
    return [*("/".join(parts[:count]) for count in range(len(parts), 1, -1)), "/"]


def below(path: int | str, folder: int | str) -> bool:
    """Whether a path is a folder or something in it, as far as their words say."""
    return f"/{str(folder).strip('/')}" in containing(str(path))


def may_be_below(path: int | str, folder: int | str) -> bool:
    """Whether it may be so: `..` leads anywhere."""
    return is_crooked(str(path)) or is_crooked(str(folder)) or below(path, folder)


def is_crooked(path: str) -> bool:
    """Whether a path has other spellings that are plainer: `..`, `.`, `//`."""
    parts = path.strip("/")
    return bool(parts) and not {"", ".", ".."}.isdisjoint(parts.split("/"))
