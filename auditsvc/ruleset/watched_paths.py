"""The files and folders that rules name, as they are on this host now.

    lines -> warnings and notes, each about one line

A watched folder must be there, of a watched or run file the folder that holds it: else the
kernel answers ENOENT (kernel/audit_tree.c audit_add_tree_rule, kernel/audit_watch.c
audit_get_nd and kernel/audit_fsnotify.c audit_alloc_mark). Who may not look is told so.
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


def look(lines: Sequence[Line]) -> Iterator[Advice]:
    """Yield what is not there, a warning each, or where lines say -i or -c a note."""
    lenient = any(isinstance(line.command, OnError) for line in lines)
    for line in lines:
        if not isinstance(line.command, Add):
            continue
        for condition in line.command.rule.conditions:
            if condition.field not in _PATHS:
                continue
            needed, there = _needed(condition)
            if there is None:
                text = f"{condition.value} cannot be looked at by this user: run it as root to know"
                yield Advice(line.filename, line.number, text, "note")
            elif not there and lenient:
                text = f"is left out on this host: {needed} is not there"
                yield Advice(line.filename, line.number, text, "note")
            elif not there:
                text = f"never loads on this host: {needed} is not there"
                yield Advice(line.filename, line.number, text)


def lacking(rule: Rule) -> str | None:
    """Give the folder that a rule needs and this host has not."""
    for condition in rule.conditions:
        if condition.field in _PATHS:
            needed, there = _needed(condition)
            return needed if there is False else None
    return None


def _needed(condition: Condition) -> tuple[str, bool | None]:
    """Give what must be there, and whether it is (None: not known)."""
    path = str(condition.value)
    if condition.field == fields.DIR:
        return path, host.is_there(path)
    parent = str(PurePosixPath(path).parent)
    there = host.is_folder(parent)
    if there and host.is_there(path) is None:
        there = None  # a folder or a file: -w means another rule of each
    return parent, there
