"""What is wrong with a store, for the report: so many texts at most, and so many events by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.evidence.compare import MOST
from auditsvc.evidence.finding import STORE, Finding
from auditsvc.store.read.events import second_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditsvc.evidence.finding import Report

UNREADABLE: Final = (
    *(ArithmeticError, AttributeError, LookupError),
    *(RecursionError, TypeError, ValueError),
)
"""What reading a value of another kind than the program writes ends with: a text where a number
was, a number that is no date, a text of which each part was something."""
_WHY: Final = 200
NAMED: Final = 20
"""Events, hours and days that are named, at most."""


class StoreFindings:
    """The findings of one verification of a store."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._named = 0

    def add(self, what: str) -> None:
        """Put a finding into the report."""
        if len(self.report.findings) < MOST:
            self.report.findings.append(Finding(STORE, what))

    def add_all(self, found: Iterable[str]) -> None:
        """Put all of them into it; a value that nobody can read is one."""
        try:
            for what in found:
                self.add(what)
        except UNREADABLE as error:
            self.add_unreadable(error)

    def add_unreadable(self, error: Exception) -> None:
        """Say that a value is none that the program writes, by what made of it fails."""
        why = (str(error) or "no more is known").splitlines()[0][:_WHY]
        self.add(f"a value of the store is not what auditsvc writes: {why}")

    def add_event(self, event: int, what: str) -> None:
        """Put what is wrong with an event into it."""
        self._named += 1
        if self._named <= NAMED:
            self.add(f"event {event} of {second_text(event >> 30)} UTC {what}")
        elif self._named == NAMED + 1:
            self.add("and more events")
