"""Where an event without a system call names its object, and programs that run scripts."""

from __future__ import annotations

from typing import Final

FIELDS: Final = (
    *("cmd", "unit", "acct", "sw", "vm", "old-auid", "path", "name", "data", "key", "op"),
    *("syscall", "dev", "id"),
)
"""The fields that can be the object; the first that the record has is it."""

SCRIPTED: Final = ("python", "sh", "bash", "perl")
"""Interpreters: of these the task's name says more than the program's path."""
