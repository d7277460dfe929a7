"""The result of `auditsvc verify`, for the running service, which makes it an event of the log.

`verified.json` in the runtime directory, valid until the next boot.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from auditsvc.record.daemon import Actor
from auditsvc.runtime import boot_file

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = "verified.json"


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What was verified, and by whom."""

    proved: bool
    findings: int
    lines: int
    events: int
    who: Actor
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    def fields(self) -> str:
        """Write the fields of its record."""
        state = "proved" if self.proved else "not-proved"
        return f"state={state} findings={self.findings} lines={self.lines} events={self.events}"


def write_result(directory: Path, result: VerifyResult) -> None:
    """Write the result; AuditsvcError or OSError if that fails."""
    boot_file.remember(directory / _NAME, asdict(result))


class ResultWatch:
    """Gives the running service each new result once."""

    def __init__(self, directory: Path) -> None:
        """A result from before does not count as new."""
        self._directory = directory
        last = self._read()
        self._seen = "" if last is None else last.token

    def new(self) -> VerifyResult | None:
        """Give the result since the last call; None if there is none."""
        last = self._read()
        if last is None or last.token == self._seen:
            return None
        self._seen = last.token
        return last

    def _read(self) -> VerifyResult | None:
        try:
            values = boot_file.recall(self._directory / _NAME)
            if values is None:
                return None
            return VerifyResult(
                bool(values["proved"]),
                int(values["findings"]),
                int(values["lines"]),
                int(values["events"]),
                Actor(**values["who"]),
                str(values["token"]),
            )
        except (boot_file.DamagedError, ValueError, TypeError, KeyError):
            return None
