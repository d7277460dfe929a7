"""Rule files and folders of them, read from disk.

A folder is read as augenrules(8) does: its *.rules in natural order (9-x before 10-x, as
`ls -v` has it), `-D` before everything and `-e` after it, wherever they stand.
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
_MOST: Final = 16 << 20  # bytes of a file, some 200,000 rules

_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NUMBER: Final = re.compile(r"([0-9]+)")
_ENDINGS: Final = re.compile(r"(\.[A-Za-z~][A-Za-z0-9~]*)*$")


def read(
    path: str | Path, host: Host | None = None, errors: list[RuleError] | None = None
) -> list[Line]:
    """Read a rule file, or the rule files of a folder.

    A file that another user may change or replace is refused (`auditsvc.host.files`).
    RuleError for what is missing, cannot be read or is not text, and for wrong lines; with
    a list in `errors` these are put there, and what is right is read all the same.
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
    return sorted(lines, key=_turn) if folder else lines


def _turn(line: Line) -> int:
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
        raise RuleError(f"folder {folder} holds no rule file", f"their names end in {SUFFIX}")
    return sorted(found, key=lambda each: _natural(each.name))


def _natural(name: str) -> tuple[object, ...]:
    """Key that sorts as `ls -v` (names with `~` apart): numbers by value, letters before signs."""
    return _pieces(_ENDINGS.sub("", name)), _pieces(name), name


def _pieces(text: str) -> list[tuple[tuple[int, ...], int]]:
    parts = [*_NUMBER.split(text), "0"]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    pieces = [(_signs(each), int(number)) for each, number in pairs]
    return pieces[:-1] if pieces[-1] == (_signs(""), 0) else pieces  # the end weighs as a 0 does


def _signs(text: str) -> tuple[int, ...]:
    """What a piece without digits weighs, ended by 0 as if by a digit or the end."""
    weights = (ord(sign) + 256 * (not (sign.isascii() and sign.isalpha())) for sign in text)
    return (*weights, 0)


def read_text(path: Path, *, named: bool = True) -> str:
    """Give what a rule file holds; RuleError if it is no text or too long.

    Where a user has `named` it, it may be a pipe. A byte-order mark is left away; bytes that
    are not UTF-8 are kept (as surrogates), since paths may have them.
    """
    try:
        data = _read(path, named=named)
    except UnsafeError as error:
        raise RuleError(f"rule file {path}: {error.strerror}") from error
    except OSError as error:
        raise RuleError(f"rule file {path} cannot be read: {error.strerror}") from error
    if len(data) > _MOST:
        raise RuleError(f"{path} holds more than {_MOST >> 20} MiB", "name a rule file")
    if data.startswith(_UTF_16):
        raise RuleError(f"{path} is UTF-16", "save it as UTF-8")
    if b"\0" in data:
        at = data.index(b"\0")
        line, column = data.count(b"\n", 0, at) + 1, at - data.rfind(b"\n", 0, at)
        raise RuleError(f"{path}:{line}:{column}: a NUL byte", "rule files are text")
    return data.removeprefix(codecs.BOM_UTF8).decode(errors="surrogateescape")


def _read(path: Path, *, named: bool) -> bytes:
    if path.is_relative_to(_SHIPPED):  # as much to be trusted as this program
        with path.open("rb") as stream:
            return stream.read(_MOST + 1)
    return read_named(path, _MOST + 1) if named else read_file(path, _MOST + 1)
