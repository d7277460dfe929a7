"""Makes a report as values; who shows it reads its rows within the block.

Example:
    with make_report(url, Question("login", choice)) as answer:
        for row in answer.rows: ...

"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from auditsvc.errors import UsageError
from auditsvc.report import avc, details, logs, rollup
from auditsvc.report.catalogue import BY_NAME
from auditsvc.report.choice import Choice
from auditsvc.report.daily import Daily, daily
from auditsvc.report.proof import Proof, proof
from auditsvc.report.reader import open_reader
from auditsvc.report.summaries import sums
from auditsvc.report.totals import totals
from auditsvc.store.read.limits import NO_LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from auditsvc.report.catalogue import Report
    from auditsvc.report.details import Line
    from auditsvc.report.groups import Group
    from auditsvc.report.reader import Reader
    from auditsvc.report.values import Value

TOTALS: Final = "summary"
"""The name of the report without a name."""
_OF_EVENT: Final = ("event_id", "time", "node")
"""Columns before those of a list."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which report is wanted: `summary` its sums instead of its list, `by` groups of these."""

    name: str = TOTALS
    choice: Choice = field(default_factory=Choice)
    summary: bool = False
    by: tuple[Group, ...] = ()
    interpret: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A report. Rows can be gone through once."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: Iterable[tuple[Value, ...]]
    proof: Proof
    is_list: bool = False
    """Whether a row is an event: its first columns are event_id, time and node."""
    hosts: int = 1
    """Hosts in the store."""


@contextmanager
def make_report(url: str, question: Question, limits: Limits = NO_LIMITS) -> Iterator[Answer]:
    """Make a report; StoreError if the store cannot be read, UsageError if there is none such."""
    check(question)
    with open_reader(url, limits) as reader:
        yield answer(reader, question)


@contextmanager
def make_daily(
    url: str, choice: Choice, limits: Limits = NO_LIMITS, *, interpret: bool = False
) -> Iterator[Daily]:
    """Make the daily report; StoreError if the store cannot be read."""
    with open_reader(url, limits) as reader:
        yield daily(reader, choice, interpret=interpret)


def check(question: Question) -> None:
    """Raise UsageError if a report has no such form."""
    if question.name == TOTALS:
        if any(not group.seconds and group.name != "host" for group in question.by):
            raise UsageError("the summary can be grouped by day, hour and host", "name a report")
        return
    report = BY_NAME[question.name]
    if report.object is None and (question.summary or question.by):
        raise UsageError(f"the report {report.name} has no sums", "leave out --summary and --by")


def answer(reader: Reader, question: Question) -> Answer:
    """Make a report on an open store."""
    choice = rollup.rounded(reader, question.choice)
    question = replace(question, choice=choice)
    below = proof(reader, choice)
    (hosts,) = reader.one("SELECT count(*) FROM host")
    if question.name == TOTALS:
        columns, rows = _totals(reader, question)
        return Answer(TOTALS, "Summary", columns, rows, below, hosts=hosts)
    report = BY_NAME[question.name]
    if question.interpret:
        report = report.interpreted()
    if report.name == "log":
        return Answer(report.name, report.title, logs.COLUMNS, logs.logs(reader), below)
    if question.summary or question.by:
        assert report.object is not None
        found = sums(reader, report, choice, question.by, interpret=question.interpret)
        columns = (*(group.name for group in question.by), "total", report.object.label)
        rows = ((*each.group, each.hits, each.value) for each in found)
        return Answer(report.name, f"{report.title}: sums", columns, rows, below, hosts=hosts)
    lines = _lines(reader, report, question)
    rows = ((line.event_id, line.time, line.node, *line.values) for line in lines)
    columns = (*_OF_EVENT, *(column.label for column in report.columns))
    return Answer(report.name, report.title, columns, rows, below, is_list=True, hosts=hosts)


def _lines(reader: Reader, report: Report, question: Question) -> Iterator[Line]:
    if report.name != "avc":
        return details.lines(reader, report, question.choice, interpret=question.interpret)
    rows = ((*row[:4], *row[5:]) for row in avc.rows(reader, question.choice))
    return details.shown(report, rows, details.hosts_of(reader), interpret=question.interpret)


def _totals(
    reader: Reader, question: Question
) -> tuple[tuple[str, ...], Iterator[tuple[Value, ...]]]:
    if not question.by:
        found = totals(reader, question.choice)
        return ("what", "number"), iter([(each.name, each.value) for each in found])
    return _grouped_totals(reader, question)


def _grouped_totals(
    reader: Reader, question: Question
) -> tuple[tuple[str, ...], Iterator[tuple[Value, ...]]]:
    """Give a row for each group that has events, with a column for each number."""
    groups: Sequence[tuple[tuple[Value, ...], Choice]] = [((), question.choice)]
    for group in question.by:
        groups = [
            ((*key, shown), inner)
            for key, choice in groups
            for shown, inner in group.parts(reader, choice)
        ]
    first = totals(reader, question.choice)
    columns = (*(group.name for group in question.by), *(total.name for total in first))

    def rows() -> Iterator[tuple[Value, ...]]:
        for key, choice in groups:
            found = totals(reader, choice)
            if found[-1].value:
                yield (*key, *(total.value for total in found))

    return columns, rows()
