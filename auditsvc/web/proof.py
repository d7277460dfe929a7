"""The pages of the ledger and of coverage: what the store knows to be missing, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.report.choice import Choice
from auditsvc.report.proof import proof
from auditsvc.report.reader import open_reader

if TYPE_CHECKING:
    from auditsvc.report.proof import Proof
    from auditsvc.web.asking import Asking, Table

_LATEST: Final = 200


@dataclass(frozen=True, slots=True)
class Proven:
    """The rows of a view, and the judgement of the reports."""

    table: Table
    proof: Proof


def ledger(asking: Asking) -> Proven:
    """Give the ledger by source and cause."""
    sql = "SELECT kind, source, cause, count, unit FROM ledger ORDER BY kind, source, cause"
    return Proven(asking.rows(sql), _proof(asking))


def coverage(asking: Asking) -> Proven:
    """Give the latest changes in the coverage of processes."""
    sql = (
        "SELECT time, pid, comm, exe, state, reason, threads, covered FROM coverage"  # noqa: S608 - a number
        f" ORDER BY event_id DESC LIMIT {_LATEST + 1}"
    )
    return Proven(asking.rows(sql, _LATEST), _proof(asking))


def _proof(asking: Asking) -> Proof:
    with open_reader(asking.url, asking.limits) as reader:
        return proof(reader, Choice())
