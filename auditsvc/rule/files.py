"""Rule files and folders of them, read from disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from auditsvc.errors import RuleError
from auditsvc.rule.parser import parse

if TYPE_CHECKING:
    from auditsvc.rule.commands import Line
    from auditsvc.rule.host import Host

SUFFIX = ".rules"


def read(
    path: str | Path, host: Host | None = None, errors: list[RuleError] | None = None
) -> list[Line]:
    """Read a rule file, or the *.rules of a folder in the order of their names.

    RuleError for what is missing, cannot be read or is not text; wrong lines as
    `parse` has it.
    """
    path = Path(path)
    if not path.is_dir():
        return parse(_text(path), str(path), host, errors)
    found = sorted(each for each in path.iterdir() if each.suffix == SUFFIX and not each.is_dir())
    if not found:
        raise RuleError(f"folder {path} holds no rule file", f"their names end in {SUFFIX}")
    return [line for each in found for line in parse(_text(each), str(each), host, errors)]


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RuleError(f"rule file {path} cannot be read: {error.strerror}") from error
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise RuleError(
            f"{path}:{line}:{column}: byte 0x{data[error.start]:02x} is not UTF-8",
            "rule files are UTF-8 text",
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise RuleError(f"{path}:{line}: a NUL byte", "rule files are UTF-8 text")
    return text
