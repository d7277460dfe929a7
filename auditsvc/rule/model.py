"""A rule: a filter list, an action, the syscalls it is for, and conditions.

The numbers are those of include/uapi/linux/audit.h. A Rule has the same content as the
kernel's, so two rules are equal here if the kernel treats them as equal.

The kernel accepts and lists a rule as struct audit_rule_data, in the machine's byte order:
1,040 bytes (flags, action, field_count, mask[64], fields[64], values[64], fieldflags[64],
buflen) and buf[]. The value of a string field is its length in bytes; the strings are in
buf in the order of the fields, without NUL.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, Self

from auditsvc.errors import RuleError
from auditsvc.rule import fields

MASK_BITS: Final = 64 * 32
"""AUDIT_BITMASK_SIZE words: larger syscall numbers, and those of x32, cannot be matched."""

SYSCALLS: Final = MASK_BITS - 16
"""Numbers below this are syscalls; the 16 numbers from here on are classes of syscalls
(AUDIT_CLASS_*), which the kernel replaces by their members (audit_to_entry_common)."""

EVERY_SYSCALL: Final = (1 << MASK_BITS) - 1
"""The mask that auditctl sends for `-S all`; the kernel lists it without the class bits."""

_NEARLY_EVERY: Final = (1 << 63 * 32) - 1  # auditctl also compares 63 words only

MAX_CONDITIONS: Final = 64  # AUDIT_MAX_FIELDS
MAX_KEY: Final = 256  # AUDIT_MAX_KEY_LEN, bytes
MAX_PATH: Final = 4096  # PATH_MAX, bytes
KEY_SEPARATOR: Final = "\x01"

PREPEND: Final = 0x10  # AUDIT_FILTERPREPEND
_HEAD: Final = struct.Struct("=3I64I64I64I64II")
_WORDS: Final = MASK_BITS // 32
_OPERATOR_BITS: Final = 0x78000000


class FilterList(IntEnum):
    """AUDIT_FILTER_*: the list that a rule is on, which says when it is asked."""

    USER = 0
    TASK = 1
    EXIT = 4
    EXCLUDE = 5
    FILESYSTEM = 6
    IO_URING = 7


class Action(IntEnum):
    """The effect of a match; the kernel refuses AUDIT_POSSIBLE (1)."""

    NEVER = 0
    ALWAYS = 2


@dataclass(frozen=True, slots=True)
class Condition:
    """One field, its operator and its value.

    `field` is an AUDIT_* field number, `operator` an AUDIT_* operator word,
    `value` an unsigned 32-bit number, or text where the field is a string
    (bytes that are not UTF-8 as surrogates).
    """

    field: int
    operator: int
    value: int | str


@dataclass(frozen=True, slots=True)
class Rule:
    """One audit rule; `mask` has bit n set for syscall (or io_uring operation) n."""

    filter_list: FilterList
    action: Action
    conditions: tuple[Condition, ...] = ()
    mask: int = EVERY_SYSCALL

    @property
    def every_syscall(self) -> bool:
        """Whether the rule is for all syscalls."""
        return self.mask & _NEARLY_EVERY == _NEARLY_EVERY

    @property
    def syscalls(self) -> tuple[int, ...]:
        """Numbers of the syscalls, in order."""
        return bits(self.mask)

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys (-k) of the rule, in their order."""
        for condition in self.conditions:
            if condition.field == fields.KEY:
                return tuple(str(condition.value).split(KEY_SEPARATOR))
        return ()

    @property
    def arch(self) -> int | None:
        """AUDIT_ARCH_* that the rule is for, or None if it is for all."""
        for condition in self.conditions:
            if condition.field == fields.ARCH and condition.operator == fields.EQUAL:
                return int(condition.value)
        return None

    @property
    def is_watch(self) -> bool:
        """Whether `-w PATH -p PERM` (and keys) can express the rule."""
        kinds = [condition.field for condition in self.conditions]
        watched = kinds.count(fields.PATH) + kinds.count(fields.DIR)
        return (
            (self.filter_list, self.action) == (FilterList.EXIT, Action.ALWAYS)
            and self.every_syscall
            and all(condition.operator == fields.EQUAL for condition in self.conditions)
            and watched == kinds.count(fields.PERM) == 1
            and kinds[1] == fields.PERM
            # -w PATH/ means PATH, so it cannot express a name that ends in a slash.
            and not str(self.conditions[0].value).endswith("/", 1)
            and not set(kinds) - {fields.PATH, fields.DIR, fields.PERM, fields.KEY}
        )

    def to_bytes(self, *, prepend: bool = False) -> bytes:
        """Write the struct audit_rule_data; with `prepend` for the head of its list (-A)."""
        if len(self.conditions) > MAX_CONDITIONS:
            raise RuleError(
                f"a rule has {len(self.conditions)} conditions",
                f"the kernel accepts {MAX_CONDITIONS} at most",
            )
        numbers, values, operators = ([0] * MAX_CONDITIONS for _ in range(3))
        texts = []
        for index, condition in enumerate(self.conditions):
            numbers[index] = condition.field
            operators[index] = condition.operator
            if isinstance(condition.value, str):
                texts.append(condition.value.encode(errors="surrogateescape"))
                values[index] = len(texts[-1])
            else:
                values[index] = condition.value & 0xFFFFFFFF
        mask = ((self.mask >> 32 * word) & 0xFFFFFFFF for word in range(_WORDS))
        flags = self.filter_list | (PREPEND if prepend else 0)
        text = b"".join(texts)
        head = (flags, self.action, len(self.conditions), *mask, *numbers, *values, *operators)
        return _HEAD.pack(*head, len(text)) + text

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
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
        given = list(zip(numbers, values, operators, strict=True))[:count]
        for number, value, operator in given:
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
        rule = cls(filter_list, what, tuple(conditions), bits)
        return replace(rule, mask=EVERY_SYSCALL) if rule.every_syscall else rule


def _is_text(number: int) -> bool:
    field = fields.BY_NUMBER.get(number)
    return field is not None and field.kind is fields.Kind.TEXT


def bits(mask: int) -> tuple[int, ...]:
    """Give the numbers of the bits that are 1, in order."""
    return tuple(nr for nr, bit in enumerate(f"{mask:b}"[::-1]) if bit == "1")
