"""What the doctor found: one thing, how bad it is, what it means, and the command that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is, least first."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; also what could not be seen."""
    WARNING = "warning"
    """Something will be missing, or may be."""
    ERROR = "error"
    """Auditing does not work, or not for what it is meant."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; `means` and `mend` are empty where all is well."""

    name: str
    level: Level
    found: str
    """What was seen, or that it could not be seen, and why."""
    means: str = ""
    mend: str = ""
    """A command, or a file's line and the command that makes it count."""


def ok(name: str, found: str) -> Finding:
    """All is well."""
    return Finding(name, Level.OK, found)


def unseen(name: str, why: str, means: str = "") -> Finding:
    """It could not be seen."""
    return Finding(name, Level.NOTE, f"not known: {why}", means)
