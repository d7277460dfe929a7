"""Rule <-> struct audit_rule_data (include/uapi/linux/audit.h), in the machine's byte order.

The struct is 1,040 bytes and the strings: flags, action, field_count, mask[64],
fields[64], values[64], fieldflags[64], buflen, buf[]. A string field's value is
its length in bytes; the strings stand in buf in the order of the fields, without NUL.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Final

from auditsvc.errors import RuleError
from auditsvc.rule import fields
from auditsvc.rule.model import (
    EVERY_SYSCALL,
    MASK_BITS,
    MAX_CONDITIONS,
    Action,
    Condition,
    FilterList,
    Rule,
)

PREPEND: Final = 0x10
_HEAD: Final = struct.Struct("=3I64I64I64I64II")
_WORDS: Final = MASK_BITS // 32
_OPERATOR_BITS: Final = 0x78000000


def _is_text(number: int) -> bool:
    field = fields.BY_NUMBER.get(number)
    return field is not None and field.kind is fields.Kind.TEXT


def to_bytes(rule: Rule, *, prepend: bool = False) -> bytes:
    """Write the struct; `prepend` puts the rule at the head of its list (-A)."""
    if len(rule.conditions) > MAX_CONDITIONS:
        raise RuleError(
            f"a rule has {len(rule.conditions)} conditions",
            f"the kernel takes {MAX_CONDITIONS} at most",
        )
    numbers, values, operators = ([0] * MAX_CONDITIONS for _ in range(3))
    texts = []
    for place, condition in enumerate(rule.conditions):
        numbers[place] = condition.field
        operators[place] = condition.operator
        if isinstance(condition.value, str):
            texts.append(condition.value.encode(errors="surrogateescape"))
            values[place] = len(texts[-1])
        else:
            values[place] = condition.value & 0xFFFFFFFF
    mask = ((rule.mask >> 32 * word) & 0xFFFFFFFF for word in range(_WORDS))
    flags = rule.filter_list | (PREPEND if prepend else 0)
    text = b"".join(texts)
    head = (flags, rule.action, len(rule.conditions), *mask, *numbers, *values, *operators)
    return _HEAD.pack(*head, len(text)) + text


def from_bytes(data: bytes) -> Rule:
    """Read the struct, as AUDIT_LIST_RULES sends it; RuleError if it is not one."""
    if len(data) < _HEAD.size:
        raise RuleError(f"a rule of {len(data)} bytes", f"the struct has {_HEAD.size} at least")
    flags, action, count, *rest = _HEAD.unpack_from(data)
    mask, numbers, values, operators = (rest[64 * part : 64 * part + 64] for part in range(4))
    text = data[_HEAD.size : _HEAD.size + rest[-1]]
    if count > MAX_CONDITIONS or len(text) != rest[-1]:
        raise RuleError(f"a rule with {count} fields and {len(text)} of {rest[-1]} text bytes")
    conditions = []
    at = 0
    for number, value, operator in list(zip(numbers, values, operators, strict=True))[:count]:
        if _is_text(number):
            if at + value > len(text):
                raise RuleError(f"a rule's field {number} is longer than the rule's text")
            word = text[at : at + value].decode(errors="surrogateescape")
            conditions.append(Condition(number, operator & _OPERATOR_BITS, word))
            at += value
        else:
            conditions.append(Condition(number, operator & _OPERATOR_BITS, value))
    try:
        filter_list, what = FilterList(flags & ~PREPEND), Action(action)
    except ValueError as error:
        raise RuleError(f"a rule with unknown list or action: {error}") from error
    bits = sum(word << 32 * place for place, word in enumerate(mask))
    rule = Rule(filter_list, what, tuple(conditions), bits)
    return replace(rule, mask=EVERY_SYSCALL) if rule.every_syscall else rule
