"""The values of the assessor's page: each line of a framework, met or not, and by what.

Requirement numbers are facts; titles are our own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from auditsvc.compliance.model import moment


class Standing(StrEnum):
    """Whether a line is met."""

    MET = "met"
    NOT_MET = "not met"
    SHOW = "for you to show"
    """Nothing on this host can prove it; the evidence says what is prepared for it."""
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a check found now; `remedy` is the setting or command that would meet the line."""

    standing: Standing
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a framework, and the names of the checks that must all be met."""

    id: str
    title: str
    checks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assessed:
    """A line with the answer of each of its checks."""

    line: Line
    answers: tuple[Answer, ...]

    @property
    def standing(self) -> Standing:
        """The worst of its answers: one that is not met counts before one that is not known."""
        found = {each.standing for each in self.answers}
        order = (Standing.NOT_MET, Standing.UNKNOWN, Standing.SHOW)
        return next((each for each in order if each in found), Standing.MET)


@dataclass(frozen=True, slots=True)
class Assessment:
    """All lines. `made`: seconds since 1970."""

    framework: str
    """Its title."""
    made: int
    host: str
    release: str
    """The kernel's release and machine."""
    version: str
    """Of auditsvc."""
    store: str
    lines: tuple[Assessed, ...]

    @property
    def is_met(self) -> bool:
        """Whether no line is open, but for those that are for the reader to show."""
        return not any(each.standing in (Standing.NOT_MET, Standing.UNKNOWN) for each in self.lines)

    def tally(self) -> dict[Standing, int]:
        """Number of lines in each standing that occurs, in the order of Standing."""
        found = [each.standing for each in self.lines]
        return {each: found.count(each) for each in Standing if each in found}

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON values; times are UTC."""
        return {
            "framework": self.framework,
            "made": moment(self.made),
            "host": self.host,
            "kernel": self.release,
            "version": self.version,
            "store": self.store,
            "met": self.is_met,
            "tally": {str(standing): count for standing, count in self.tally().items()},
            "lines": [
                {
                    "id": each.line.id,
                    "title": each.line.title,
                    "standing": str(each.standing),
                    "evidence": [
                        {
                            "check": name,
                            "standing": str(answer.standing),
                            "found": answer.found,
                            "remedy": answer.remedy,
                        }
                        for name, answer in zip(each.line.checks, each.answers, strict=True)
                    ],
                }
                for each in self.lines
            ],
        }
