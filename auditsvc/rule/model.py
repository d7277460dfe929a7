"""What a rule is: a filter list, an action, the syscalls it is for, and conditions.

The numbers are those of include/uapi/linux/audit.h. A Rule holds what the kernel
holds, so two rules that the kernel calls equal are equal here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from auditsvc.rule import fields

MASK_BITS: Final = 64 * 32
"""AUDIT_BITMASK_SIZE words: no syscall from here on can be matched, nor can x32's."""

SYSCALLS: Final = MASK_BITS - 16
"""Numbers below this one name syscalls; the 16 from here on stand for classes of
them (AUDIT_CLASS_*), which the kernel puts in their place (audit_to_entry_common)."""

EVERY_SYSCALL: Final = (1 << MASK_BITS) - 1
"""What auditctl sends for `-S all`; the kernel lists it without the class bits."""

_NEARLY_EVERY: Final = (1 << 63 * 32) - 1  # auditctl too looks at 63 words only

MAX_CONDITIONS: Final = 64  # AUDIT_MAX_FIELDS
MAX_KEY: Final = 256  # AUDIT_MAX_KEY_LEN, bytes
MAX_PATH: Final = 4096  # PATH_MAX, bytes
KEY_SEPARATOR: Final = "\x01"


class FilterList(IntEnum):
    """AUDIT_FILTER_*: when a rule is asked."""

    USER = 0
    TASK = 1
    EXIT = 4
    EXCLUDE = 5
    FILESYSTEM = 6
    IO_URING = 7


class Action(IntEnum):
    """What a match does; AUDIT_POSSIBLE (1) is refused by the kernel."""

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
        """AUDIT_ARCH_* that the rule is for, or None where it is for all."""
        for condition in self.conditions:
            if condition.field == fields.ARCH and condition.operator == fields.EQUAL:
                return int(condition.value)
        return None

    @property
    def is_watch(self) -> bool:
        """Whether `-w PATH -p PERM` says all of the rule."""
        kinds = [condition.field for condition in self.conditions]
        watched = kinds.count(fields.PATH) + kinds.count(fields.DIR)
        return (
            (self.filter_list, self.action) == (FilterList.EXIT, Action.ALWAYS)
            and self.every_syscall
            and all(condition.operator == fields.EQUAL for condition in self.conditions)
            and watched == kinds.count(fields.PERM) == 1
            and kinds[1] == fields.PERM
            # -w PATH/ means PATH, so it cannot say that the slash is part of the name.
            and not str(self.conditions[0].value).endswith("/", 1)
            and not set(kinds) - {fields.PATH, fields.DIR, fields.PERM, fields.KEY}
        )

    def to_bytes(self, *, prepend: bool = False) -> bytes:
        """Give the struct audit_rule_data that the kernel takes."""
        from auditsvc.rule import wire  # noqa: PLC0415 - wire makes Rules

        return wire.to_bytes(self, prepend=prepend)

    @staticmethod
    def from_bytes(data: bytes) -> Rule:
        """Read a struct audit_rule_data; RuleError if it is not one."""
        from auditsvc.rule import wire  # noqa: PLC0415 - wire makes Rules

        return wire.from_bytes(data)

    def __str__(self) -> str:
        from auditsvc.rule import printing  # noqa: PLC0415 - printing reads Rules

        return printing.text(self)


def bits(mask: int) -> tuple[int, ...]:
    """Give the numbers of the bits that are 1, in order."""
    return tuple(nr for nr, bit in enumerate(f"{mask:b}"[::-1]) if bit == "1")
