r"""Rule -> one line of text, as `auditctl -l` prints it.

Parsing the line gives the same rule (for a watched folder, while it exists). So the text
differs where auditctl's line means another rule or none: `-w` is only used for always,exit
and for a path without a final `/`; file types are names; spaces and backslashes in values
are escaped as in rule files (`\ `); `arch=` has the machine's name where b64 or b32 would
mean another. A control byte, which a rule file cannot contain, is shown as \xNN.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from auditsvc.record.fields import UNSET
from auditsvc.rule import fields
from auditsvc.rule.fields import Kind
from auditsvc.rule.host import family_name, native_arch
from auditsvc.rule.model import KEY_SEPARATOR, Condition, FilterList, Rule
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXIT = fields.BY_NAME["exit"].number
_SESSION = fields.BY_NAME["sessionid"].number
_ESCAPED = re.compile(r"[ \t\\]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def text(rule: Rule, native: int | None = None) -> str:
    """Give a rule's text; `native` is the AUDIT_ARCH_* of its machine, by default this one."""
    native = native_arch() if native is None else native
    return " ".join(_watch(rule) if rule.is_watch else _rule(rule, native))


def condition(each: Condition, native: int | None = None) -> str:
    """Give the text of a condition, as after -F or -C."""
    if each.field == fields.COMPARE:
        left, right = fields.COMPARISONS.get(int(each.value), ("?", "?"))
        return f"{left}{_symbol(each)}{right}"
    if each.field in (fields.AUID, _SESSION) and each.value == UNSET:
        return f"{fields.BY_NUMBER[each.field].name}{_symbol(each)}unset"
    if each.field == _EXIT and not int(each.value) >> 31:  # not an errno: the result of a success
        return f"exit{_symbol(each)}{each.value}"
    return _condition(each, native_arch() if native is None else native)


def _rule(rule: Rule, native: int) -> Iterator[str]:
    yield f"-a {rule.action.name.lower()},{rule.filter_list.name.lower()}"
    for condition in rule.conditions:
        if condition.field == fields.ARCH:
            yield f"-F {_condition(condition, native)}"
    yield from _calls(rule, native)
    for condition in rule.conditions:
        if condition.field == fields.COMPARE:
            left, right = fields.COMPARISONS.get(int(condition.value), ("?", "?"))
            yield f"-C {left}{_symbol(condition)}{right}"
        elif condition.field == fields.KEY:
            for key in str(condition.value).split(KEY_SEPARATOR):
                yield f"-F key={_word(key)}"
        elif condition.field != fields.ARCH:
            yield f"-F {_condition(condition, native)}"


def _watch(rule: Rule) -> Iterator[str]:
    values = {condition.field: condition.value for condition in rule.conditions}
    path = values[fields.DIR] if fields.DIR in values else values[fields.PATH]
    yield f"-w {_word(str(path))}"
    yield f"-p {_perms(int(values[fields.PERM]))}"
    for key in rule.keys:
        yield f"-k {_word(key)}"


def _calls(rule: Rule, native: int) -> Iterator[str]:
    if rule.filter_list is FilterList.IO_URING:
        calls = [names.uring_op_name(op) or str(op) for op in rule.syscalls]
    elif rule.filter_list is FilterList.EXIT:
        arch = native if rule.arch is None else rule.arch
        calls = [names.syscall_name(arch, nr) or str(nr) for nr in rule.syscalls]
    else:
        return
    if rule.every_syscall:
        yield "-S all"
    elif calls:
        yield f"-S {','.join(calls)}"


def _condition(condition: Condition, native: int) -> str:
    field = fields.BY_NUMBER.get(condition.field)
    name = field.name if field else f"f{condition.field}"
    kind = field.kind if field else Kind.NUMBER
    return f"{name}{_symbol(condition)}{_value(kind, condition.value, native)}"


def _symbol(condition: Condition) -> str:
    return fields.SYMBOLS.get(condition.operator, "?")


def _value(kind: Kind, value: int | str, native: int) -> str:
    if isinstance(value, str):
        return _word(value)
    signed = value - (1 << 32) if value >> 31 else value
    match kind:
        case Kind.ARCH:
            return family_name(native, value)
        case Kind.HEX:
            return f"0x{value:X}"
        case Kind.UNSIGNED:
            return str(value)
        case Kind.RECORD_TYPE:
            return names.record_types().get(value, str(value))
        case Kind.PERM:
            return _perms(value)
        case Kind.EXIT:
            known = names.errno_name(abs(signed))
            return f"{'-' if signed < 0 else ''}{known}" if known else str(signed)
        case Kind.FILETYPE:
            return _key_of(fields.FILETYPES, value)
        case Kind.FSTYPE:
            return _key_of(fields.FSTYPES, value)
        case _:
            return str(signed)


def _key_of(table: dict[str, int], value: int) -> str:
    return next((name for name, number in table.items() if number == value), str(value))


def _perms(value: int) -> str:
    return "".join(letter for letter, bit in fields.PERMS.items() if value & bit)


def _word(word: str) -> str:
    escaped = _ESCAPED.sub(lambda match: f"\\{match[0]}", word)
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", escaped)
