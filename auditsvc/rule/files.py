"""Rule files and folders of them, read from disk.

A folder is read as augenrules(8) does: its *.rules in natural order (9-x before 10-x, as
`ls -v` sorts), with `-D` lines first and `-e` lines last.
"""

from __future__ import annotations

import codecs
import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditsvc.errors import RuleError
from auditsvc.host.files import UnsafeError, read_file, read_named
from auditsvc.rule.commands import DeleteAll, Set
from auditsvc.rule.host import is_folder
from auditsvc.rule.parser import parse

if TYPE_CHECKING:
    from auditsvc.rule.commands import Line
    from auditsvc.rule.host import Host

SUFFIX: Final = ".rules"
_SHIPPED: Final = Path(str(files("auditsvc.rules")))
_MOST: Final = 16 << 20  # bytes of a file, about 200,000 rules

_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NUMBER: Final = re.compile(r"([0-9]+)")
_ENDINGS: Final = re.compile(r"(\.[A-Za-z~][A-Za-z0-9~]*)*$")


def read(
    path: str | Path, host: Host | None = None, errors: list[RuleError] | None = None
) -> list[Line]:
    """Read a rule file, or the rule files of a folder.

    A file that another user may change or replace is refused (`auditsvc.host.files`).
    RuleError for a file that is missing, cannot be read or is not text, and for wrong
    lines. With a list in `errors`, errors are appended there, and all correct lines are read.
    """
    path = Path(path)
    folder = bool(is_folder(str(path)))
    try:
        found = _rule_files(path) if folder else [path]
    except RuleError as error:
        if errors is None:
            raise
        errors.append(error)
        return []
    lines: list[Line] = []
    for each in found:
        try:
            text = read_text(each, named=not folder)
        except RuleError as error:
            if errors is None:
                raise
            errors.append(error)
        else:
            lines += parse(text, str(each), host, errors)
    return sorted(lines, key=_order) if folder else lines


def _order(line: Line) -> int:
    match line.command:
        case DeleteAll(None):
            return 0
        case Set("enabled"):
            return 2
        case _:
            return 1


def _rule_files(folder: Path) -> list[Path]:
    try:
        found = [each for each in folder.iterdir() if each.suffix == SUFFIX and not each.is_dir()]
    except OSError as error:
        raise RuleError(f"folder {folder} cannot be read: {error.strerror}") from error
    if not found:
        raise RuleError(
            f"folder {folder} contains no rule file", f"names of rule files end in {SUFFIX}"
        )
    return sorted(found, key=lambda each: _natural(each.name))


def _natural(name: str) -> tuple[object, ...]:
    """Give a sort key as for `ls -v` (except names with `~`): numbers by value, letters first."""
    return _pieces(_ENDINGS.sub("", name)), _pieces(name), name


def _pieces(text: str) -> list[tuple[tuple[int, ...], int]]:
    parts = [*_NUMBER.split(text), "0"]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    pieces = [(_weights(each), int(number)) for each, number in pairs]
    return pieces[:-1] if pieces[-1] == (_weights(""), 0) else pieces  # the end sorts like a 0


def _weights(text: str) -> tuple[int, ...]:
    """Sort weights of a piece without digits, with a final 0 as for a digit or the end."""
    weights = (ord(sign) + 256 * (not (sign.isascii() and sign.isalpha())) for sign in text)
    return (*weights, 0)


def read_text(path: Path, *, named: bool = True) -> str:
    """Give the text of a rule file; RuleError if it is not text or too long.

    `named`: the user named this file, so it may be a pipe. A byte-order mark is removed; bytes
    that are not UTF-8 are kept (as surrogates), since paths may contain them.
    """
    try:
        data = _read(path, named=named)
    except UnsafeError as error:
        raise RuleError(f"rule file {path}: {error.strerror}") from error
    except OSError as error:
        raise RuleError(f"rule file {path} cannot be read: {error.strerror}") from error
    if len(data) > _MOST:
        raise RuleError(f"{path} is larger than {_MOST >> 20} MiB", "name a rule file")
    if data.startswith(_UTF_16):
        raise RuleError(f"{path} is UTF-16", "save it as UTF-8")
    if b"\0" in data:
        at = data.index(b"\0")
        line, column = data.count(b"\n", 0, at) + 1, at - data.rfind(b"\n", 0, at)
        raise RuleError(f"{path}:{line}:{column}: a NUL byte", "rule files are text")
    return data.removeprefix(codecs.BOM_UTF8).decode(errors="surrogateescape")


def _read(path: Path, *, named: bool) -> bytes:
    if path.is_relative_to(_SHIPPED):  # as trusted as this program
        with path.open("rb") as stream:
            return stream.read(_MOST + 1)
    return read_named(path, _MOST + 1) if named else read_file(path, _MOST + 1)
