"""Seals the rows of segments that are about to be deleted, in a thread of its own.

    sealing = Sealing(settings, last)
    sealing.start()
    ...                                  # later
    sealing.digest, sealing.problem      # once it is not alive

The segments are decoded again and compared with the store, so what is sealed are the rows that
their lines give.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from auditsvc.errors import AuditsvcError, of_system
from auditsvc.evidence.finding import Report
from auditsvc.evidence.report import spool_of, start_of_rows
from auditsvc.evidence.rows import RowCheck
from auditsvc.evidence.seal import write_seal
from auditsvc.host.priority import give_way

if TYPE_CHECKING:
    from auditsvc.config import Settings


class Sealing(threading.Thread):
    """Seals all segments up to one."""

    def __init__(self, settings: Settings, last: int) -> None:
        super().__init__(name="sealing", daemon=True)
        self.last = last
        self.digest = ""
        """Of the seal, "" if it was not made."""
        self.altered: list[str] = []
        """What is not as the lines say."""
        self.problem = ""
        """Why it was not made."""
        self._settings = settings

    def run(self) -> None:
        """Seal, with less of the processor than what collects and loads."""
        give_way()
        try:
            self._seal()
        except AuditsvcError as error:
            self.problem = str(error)
        except OSError as error:
            self.problem = of_system(error)
        except Exception as error:  # noqa: BLE001 - else nobody sees why segments are kept
            self.problem = f"evidence: {type(error).__name__}: {error}"

    def _seal(self) -> None:
        settings, report = self._settings, Report()
        start = start_of_rows(settings.spool_directory, report)
        check = RowCheck(settings.store, spool_of(settings), report, beside_loading=True)
        seal = check.seal(start, self.last)
        self.altered = [each.what for each in report.findings]
        self.digest = write_seal(settings.spool_directory, seal)
