"""The table of fields is the kernel's: what we let pass it takes, by operator and by list."""

from __future__ import annotations

import errno

import pytest

from auditsvc.errors import KernelError
from auditsvc.rule import Action, Condition, FilterList, Rule, fields
from auditsvc.rule.host import native_arch
from auditsvc.rule.model import EVERY_SYSCALL

pytestmark = pytest.mark.live

# What the kernel takes and we, as auditctl, do not: both fields are no questions.
NOT_OURS = {(fields.PERM, "!="), (fields.KEY, "!=")}

# Nobody has it: the rules are taken or refused, and match no task.
NOBODY = Condition(9, fields.EQUAL, 4_000_000_001)

VALUES = {
    fields.Kind.ARCH: native_arch(),
    fields.Kind.FILETYPE: fields.FILETYPES["file"],
    fields.Kind.FSTYPE: fields.FSTYPES["debugfs"],
    fields.Kind.TEXT: "word",
    fields.Kind.RECORD_TYPE: 1307,
}
TEXTS = {fields.PATH: "/etc/hostname", fields.DIR: "/etc", fields.EXE: "/bin/true"}


def rule(field: fields.Field, symbol: str, filter_list: FilterList) -> Rule:
    """Make a rule of one condition, narrowed to nobody where its list can be."""
    value = TEXTS.get(field.number, VALUES.get(field.kind, 1))
    conditions = [Condition(field.number, fields.OPERATORS[symbol], value)]
    if filter_list is FilterList.FILESYSTEM:
        if field.number != 26:
            conditions.append(Condition(26, fields.EQUAL, 1))
    else:
        conditions.append(NOBODY)
    mask = 0 if filter_list is FilterList.TASK else EVERY_SYSCALL
    return Rule(filter_list, Action.NEVER, tuple(conditions), mask)


def takes(control, each: Rule) -> bool:
    """Whether the kernel takes a rule, which is deleted again."""
    try:
        control.add_rule(each)
    except KernelError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    control.delete_rule(each)
    return True


def test_every_field_operator_and_list(audit_changes):
    """What our table allows the kernel takes; an operator that it forbids the kernel refuses."""
    audit_changes.set(enabled=0)
    audit_changes.delete_rules()
    wrong = []
    tried = 0
    for field in fields.BY_NUMBER.values():
        for filter_list in FilterList:
            if filter_list not in field.lists:
                continue
            for symbol in fields.OPERATORS:
                if (field.number, symbol) in NOT_OURS:
                    continue
                tried += 1
                allowed = symbol in field.operators
                if takes(audit_changes, rule(field, symbol, filter_list)) != allowed:
                    wrong.append((field.name, symbol, filter_list.name, allowed))
    print(*wrong, sep="\n")
    assert tried > 1000
    assert wrong == []
