"""One line of the plan: something of auditd's, and what it becomes here."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditsvc.adopt.auditd_conf import Conf

Value = str | int | float | bool | tuple[str, ...]
"""The value of a setting."""


class Verdict(StrEnum):
    """What becomes of it."""

    TAKEN = "taken over"
    """By settings that are written, or by what `--apply` does."""
    SAME = "nothing to do"
    """It is so here without a setting, or it is not in use."""
    NONE = "no counterpart"
    WRONG = "not understood"


@dataclass(frozen=True, slots=True)
class PlanLine:
    """`becomes` says what takes its place, or what to do instead."""

    where: str
    said: str
    verdict: Verdict
    becomes: str


@dataclass(slots=True)
class Draft:
    """What is planned so far: lines to show, and settings with the line that each is from."""

    lines: list[PlanLine] = field(default_factory=list)
    settings: dict[str, Value] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def say(self, where: str, said: str, verdict: Verdict, becomes: str) -> None:
        """Add a line."""
        self.lines.append(PlanLine(where, said, verdict, becomes))

    def take(self, conf: Conf, name: str, becomes: str = "", **settings: Value) -> None:
        """Take a keyword over; a setting `a__b` is `b` of the section `a`."""
        entry = conf.entries[name]
        where = f"{conf.path}:{entry.number}"
        named = {key.replace("__", "."): value for key, value in settings.items()}
        for key, value in named.items():
            self.settings[key] = value
            self.origins[key] = f"{entry.text} ({where})"
        shown = ", ".join(f"{key} = {as_toml(value)}" for key, value in named.items())
        self.say(where, entry.text, Verdict.TAKEN, "; ".join(filter(None, (shown, becomes))))

    def leave(self, conf: Conf, name: str, verdict: Verdict, becomes: str) -> None:
        """Say of a keyword that no setting comes of it."""
        entry = conf.entries[name]
        self.say(f"{conf.path}:{entry.number}", entry.text, verdict, becomes)


def as_toml(value: Any) -> str:
    """Write a value as TOML does."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case list() | tuple():
            return f"[{', '.join(as_toml(each) for each in value)}]"
        case _:
            return _quoted(str(value))


def _quoted(text: str) -> str:
    made = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in made) + '"'
