"""The value of a condition: text -> number or string.

`SyntaxProblem` says what is wrong with a word and what is allowed; the parser adds the
file, line and column.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from auditsvc.record.fields import UNSET
from auditsvc.rule import fields
from auditsvc.rule.fields import Field, Kind
from auditsvc.rule.model import KEY_SEPARATOR, MAX_PATH
from auditsvc.rule.words import nearest
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditsvc.rule.host import Host

_NUMBER: Final = re.compile(r"(-?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))")
_NOT_UTF8: Final = re.compile("[\udc80-\udcff]")  # bytes, by surrogateescape
_SIGNED: Final = frozenset({Kind.UID, Kind.SESSION, Kind.EXIT, Kind.HEX})

_MOST_DIGITS: Final = 11  # of 32 bits in octal


class SyntaxProblem(Exception):  # noqa: N818 - never leaves this package: the parser makes it a RuleError
    """A word is wrong: `what` is wrong with it, and a `hint`."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def number(word: str, *, signed: bool = False) -> int | None:
    """Read a number in C notation (10, 0x10, 010); None if the word is not a number.

    SyntaxProblem if it does not fit 32 bits; negative numbers only if `signed`.
    """
    match = _NUMBER.fullmatch(word)
    if match is None or (match[1] and not signed):
        return None
    digits, base = next(
        (digits, base)
        for digits, base in zip(match.groups()[1:], (16, 8, 10), strict=True)
        if digits is not None
    )
    # A number of thousands of digits is one that Python does not read.
    value = int(digits, base) if len(digits.lstrip("0")) <= _MOST_DIGITS else 1 << 32
    if value > (1 << 31 if match[1] else 0xFFFFFFFF):
        raise SyntaxProblem(f"number {word[:40]} does not fit 32 bits")
    return -value & 0xFFFFFFFF if match[1] else value


def value(field: Field, word: str, host: Host) -> int | str:
    """Read a field's value; SyntaxProblem if it is not valid."""
    if field.kind is Kind.TEXT:
        return _text(field, word)
    special = _SPECIAL.get(field.kind)
    if special is not None:
        return special(word, host)
    known = number(word, signed=field.kind in _SIGNED)
    if known is None:
        known = _named(field, word, host)
    if field.kind in (Kind.UID, Kind.GID) and known == UNSET and field.number != fields.AUID:
        raise SyntaxProblem(
            f"`{field.name}` cannot be unset", "only auid and sessionid can be unset"
        )
    if field.number == fields.SADDR_FAM and known >= fields.AF_MAX:
        raise SyntaxProblem(
            f"address family {word} is unknown", f"the last one is {fields.AF_MAX - 1}"
        )
    return known


def _named(field: Field, word: str, host: Host) -> int:
    if field.kind in (Kind.UID, Kind.SESSION) and word == "unset":
        return UNSET
    if field.kind is Kind.UID:
        found, what = host.uid(word), "user"
    elif field.kind is Kind.GID:
        found, what = host.gid(word), "group"
    else:
        raise SyntaxProblem(f"`{word}` is not a number")
    if found is None:
        raise SyntaxProblem(f"unknown {what} `{word}`")
    return found


def _exit(word: str, _host: Host) -> int:
    known = number(word, signed=True)
    if known is not None:
        return known
    name = word.removeprefix("-")
    errno = names.errno_number(name)
    if errno is None:
        raise SyntaxProblem(f"unknown errno `{word}`", nearest(name, names.errnos().values()))
    return -errno & 0xFFFFFFFF if word.startswith("-") else errno


def _record_type(word: str, _host: Host) -> int:
    known = number(word)
    if known is None:
        known = names.record_type_number(word)
    if known is None:
        raise SyntaxProblem(
            f"unknown record type `{word}`", nearest(word, names.record_types().values())
        )
    return known


def _arch(word: str, host: Host) -> int:
    if word in ("b64", "b32"):
        found = host.family(word)
        if found is None:
            raise SyntaxProblem(f"this machine ({names.arch_name(host.arch)}) has no {word} calls")
        return found
    found = number(word) if word[:1].isdigit() else names.arch_number(word)
    if found is None or found not in names.arches():
        known = [names.arch_name(arch) for arch in names.arches()]
        raise SyntaxProblem(f"unknown machine `{word}`", nearest(word, ["b64", "b32", *known]))
    return found


def perm(word: str) -> int:
    """Read the letters of -p or `perm=`."""
    bits = 0
    for letter in word.lower():
        if letter not in fields.PERMS:
            raise SyntaxProblem(f"unknown permission `{letter}`", "the letters are r, w, x and a")
        bits |= fields.PERMS[letter]
    if not bits:
        raise SyntaxProblem("no permission is given", "the letters are r, w, x and a")
    return bits


def _perm(word: str, _host: Host) -> int:
    return perm(word)


def _filetype(word: str, _host: Host) -> int:
    return _from_table("file type", fields.FILETYPES, word)


def _fstype(word: str, _host: Host) -> int:
    known = number(word)
    return _from_table("file system", fields.FSTYPES, word) if known is None else known


def _compare(word: str, _host: Host) -> int:
    raise SyntaxProblem(f"field_compare={word} is not a condition", "write -C FIELD=FIELD")


def _from_table(what: str, table: Mapping[str, int], word: str) -> int:
    if word not in table:
        raise SyntaxProblem(f"unknown {what} `{word}`", f"known are {', '.join(table)}")
    return table[word]


def _text(field: Field, word: str) -> str:
    if KEY_SEPARATOR in word or not _NOT_UTF8.sub("", word).isprintable():
        raise SyntaxProblem(f"`{word!a}` contains a control character")
    if field.number in (fields.PATH, fields.DIR, fields.EXE):
        path(word)
    if field.number == fields.PATH and word.endswith("/"):
        raise SyntaxProblem(f"path `{word}` ends in /", "remove it; for a folder write dir=")
    return word


def path(word: str) -> None:
    """Check a path as the kernel does: absolute, and shorter than MAX_PATH bytes."""
    if not word.startswith("/"):
        raise SyntaxProblem(f"path `{word}` is not absolute", "begin it with /")
    if len(word.encode(errors="surrogateescape")) >= MAX_PATH:
        raise SyntaxProblem("a path is too long", f"the kernel accepts {MAX_PATH - 1} bytes")


_SPECIAL: Final = {
    Kind.EXIT: _exit,
    Kind.RECORD_TYPE: _record_type,
    Kind.ARCH: _arch,
    Kind.PERM: _perm,
    Kind.FILETYPE: _filetype,
    Kind.FSTYPE: _fstype,
    Kind.COMPARE: _compare,
}
