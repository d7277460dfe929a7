"""Takes the evidence of the assessor's page: from the kernel, the service, the disk, the store.

Every part that cannot be read is None (or a finding that says unknown); nothing is changed.
"""

from __future__ import annotations

import stat
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from auditsvc.compliance.model import REVIEW_DAYS
from auditsvc.compliance.report import make_report
from auditsvc.config import settings_file
from auditsvc.doctor import DoctorFinding, Machine, ask_kernel, examine
from auditsvc.errors import AuditsvcError
from auditsvc.status.health import judge
from auditsvc.status.report import make_report as make_status
from auditsvc.store.read.limits import Limits
from auditsvc.store.read.questions import Verified, asked_together, last_verified, ledger_counts
from auditsvc.store.read.sql import run_query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditsvc.compliance.model import Report
    from auditsvc.config import Settings

_SHORT: Final = Limits(seconds=10)
_OTHERS_WRITE: Final = 0o022
_REVIEWED: Final = "command = 'review' AND options LIKE 'daily%'"
_ACCESSES: Final = """
    SELECT count(*), max(event_id >> 30), max(CASE WHEN {reviewed} THEN event_id >> 30 END),
        count(DISTINCT CASE WHEN {reviewed} AND event_id >> 30 >= {since}
            THEN (event_id >> 30) / 86400 END)
    FROM access"""
_NEWEST: Final = """
    SELECT time, host, auid, uid, exe, syscall, success FROM syscalls ORDER BY event_id DESC
    LIMIT 1"""


@dataclass(frozen=True, slots=True)
class Accesses:
    """How often the store was read on record, and the last seconds of that and of a review."""

    count: int
    last: int | None
    review: int | None
    review_days: int
    """On how many of the last `REVIEW_DAYS` days the log was reviewed."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found. `now`: seconds since 1970."""

    settings: Settings
    now: int
    findings: dict[str, tuple[DoctorFinding, ...]]
    """Of the doctor, by name."""
    status: dict[str, dict[str, Any]]
    """The parts of `auditsvc status`."""
    problems: tuple[str, ...]
    """Why the service is not well; empty: it is."""
    is_running: bool
    rules: Report | None
    """The rules report on the framework's set; None: the set cannot be read."""
    newest: dict[str, Any] | None
    """Columns of the newest call, by name; empty: there is none; None: it cannot be read."""
    accesses: Accesses | None
    verified: Verified | None
    """None: the store cannot be read."""
    lost: dict[str, int] | None
    """Records that were lost, by cause, of the whole store."""
    writable_tools: tuple[str, ...]
    """Parts of the program that another user than root may change."""


def take(settings: Settings, rule_set: str | None) -> Evidence:
    """Take the evidence now."""
    with asked_together(settings.store):
        return _taken(settings, rule_set)


def _taken(settings: Settings, rule_set: str | None) -> Evidence:
    findings: dict[str, tuple[DoctorFinding, ...]] = {}
    for each in examine(Machine(), ask_kernel(), settings, settings_file()):
        findings[each.name] = (*findings.get(each.name, ()), each)
    status, now = make_status(settings), int(time.time())
    health = judge(status)
    return Evidence(
        settings=settings,
        now=now,
        findings=findings,
        status=status,
        problems=health.problems,
        is_running=bool(status["service"].get("running")),
        rules=_rules(settings, rule_set),
        newest=_newest(settings.store),
        accesses=_accesses(settings.store, now),
        verified=_verified(settings.store),
        lost=_lost(settings.store),
        writable_tools=tuple(_writable(_tools())),
    )


def _rules(settings: Settings, rule_set: str | None) -> Report | None:
    try:
        return make_report(settings, None if rule_set is None else [rule_set], 1)
    except AuditsvcError:
        return None


def _newest(url: str) -> dict[str, Any] | None:
    try:
        with run_query(url, _NEWEST, _SHORT) as rows:
            for row in rows:
                return dict(zip(rows.columns, row, strict=True))
    except AuditsvcError:
        return None
    return {}


def _accesses(url: str, now: int) -> Accesses | None:
    sql = _ACCESSES.format(reviewed=_REVIEWED, since=now - REVIEW_DAYS * 86400)
    try:
        with run_query(url, sql, _SHORT) as rows:
            for count, last, review, days in rows:
                return Accesses(int(str(count)), _second(last), _second(review), int(str(days)))
    except AuditsvcError:
        return None
    return None


def _verified(url: str) -> Verified | None:
    try:
        return last_verified(url)
    except AuditsvcError:
        return None


def _second(value: object) -> int | None:
    return None if value is None else int(str(value))


def _lost(url: str) -> dict[str, int] | None:
    try:
        found: dict[str, int] = {}
        for _, cause, unit, count in ledger_counts(url):
            if unit == "records" and "lost" in cause and count:
                found[cause] = found.get(cause, 0) + int(count)
    except AuditsvcError:
        return None
    return found


def _tools() -> Iterable[Path]:
    yield Path(sys.executable)
    package = Path(__file__).parents[1]
    yield package
    yield from package.rglob("*.py")
    yield from package.glob("*.so")


def _writable(paths: Iterable[Path]) -> Iterable[str]:
    for path in paths:
        for each in {path, path.resolve(), path.parent}:
            info = each.stat()
            if info.st_uid or (info.st_mode & _OTHERS_WRITE and not info.st_mode & stat.S_ISVTX):
                yield str(each)
