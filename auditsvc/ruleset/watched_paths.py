"""Checks whether the files and folders that rules name exist on this host.

    lines -> warnings and notes, each about one line

A watched folder must exist, and for a watched file or a program (`exe=`) its folder: else
the kernel answers ENOENT (kernel/audit_tree.c audit_add_tree_rule, kernel/audit_watch.c
audit_get_nd and kernel/audit_fsnotify.c audit_alloc_mark). A note says where the user has
no permission to look.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from auditsvc.rule import fields, host
from auditsvc.rule.commands import Add, OnError
from auditsvc.ruleset.advice import Advice

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditsvc.rule.commands import Line
    from auditsvc.rule.model import Condition, Rule

_PATHS: Final = frozenset({fields.DIR, fields.PATH, fields.EXE})


def check_paths(lines: Sequence[Line]) -> Iterator[Advice]:
    """Yield a warning for each path that does not exist, or a note if lines have -i or -c."""
    lenient = any(isinstance(line.command, OnError) for line in lines)
    for line in lines:
        if not isinstance(line.command, Add):
            continue
        for condition in line.command.rule.conditions:
            if condition.field not in _PATHS:
                continue
            needed, exists = _needed(condition)
            if exists is None:
                text = f"{condition.value} cannot be checked by this user: run as root"
                yield Advice(line.filename, line.number, text, "note")
            elif not exists and lenient:
                text = f"is left out on this host: {_lacking(needed)}"
                yield Advice(line.filename, line.number, text, "note")
            elif not exists:
                text = f"never loads on this host: {_lacking(needed)}"
                yield Advice(line.filename, line.number, text)


def _lacking(needed: str) -> str:
    return f"{needed} {'is no folder' if host.exists(needed) else 'does not exist'}"


def missing_path(rule: Rule) -> str | None:
    """Give the folder that a rule needs and that does not exist on this host."""
    for condition in rule.conditions:
        if condition.field in _PATHS:
            needed, exists = _needed(condition)
            return needed if exists is False else None
    return None


def _needed(condition: Condition) -> tuple[str, bool | None]:
    """Give the path that must exist, and whether it does (None: unknown)."""
    path = str(condition.value)
    if condition.field == fields.DIR:
        return path, host.exists(path)
    parent = str(PurePosixPath(path).parent)
    exists = host.is_folder(parent)
    if exists and host.exists(path) is None:
        exists = None  # a folder or a file: -w means a different rule for each
    return parent, exists
