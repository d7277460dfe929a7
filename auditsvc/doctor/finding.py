"""A finding of the doctor: what, how severe, what it means, and how to fix it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How severe it is, the least severe first."""

    OK = "ok"
    NOTE = "note"
    """Information; also what could not be read."""
    WARNING = "warning"
    """Records or information are missing, or may be."""
    ERROR = "error"
    """Auditing does not work, or not as it should."""


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """One finding; `means` and `mend` (how to fix it) are empty where nothing is wrong."""

    name: str
    level: Level
    found: str
    """What was found, or why it is unknown."""
    means: str = ""
    mend: str = ""
    """A command, or a line for a file and the command that applies it."""


def ok(name: str, found: str) -> DoctorFinding:
    """Nothing is wrong."""
    return DoctorFinding(name, Level.OK, found)


def unknown(name: str, why: str, means: str = "") -> DoctorFinding:
    """It cannot be read."""
    return DoctorFinding(name, Level.NOTE, f"unknown: {why}", means)
