"""`auditsvc report`: reports on the store, as aureport makes them of logs, and more."""

from __future__ import annotations

import os
import pwd
import sys
import tempfile
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from auditsvc.access.client import Access, recording
from auditsvc.arrow import use
from auditsvc.cli.lowering import lower
from auditsvc.cli.options import NoPagerOption, StoreOption
from auditsvc.cli.pager import Pager
from auditsvc.cli.recording import recorded
from auditsvc.cli.report_words import ReportCommand, listing
from auditsvc.config import load_settings
from auditsvc.errors import UsageError
from auditsvc.host.signals import alarm
from auditsvc.host.terminal import visible
from auditsvc.ingest.ingest import Ingest
from auditsvc.record.fields import UNSET, to_text
from auditsvc.render.waiting import waiting
from auditsvc.report import groups, types, writing
from auditsvc.report.catalogue import BY_NAME
from auditsvc.report.choice import Choice
from auditsvc.report.daily import review_of, week_before
from auditsvc.report.page import daily_page, page
from auditsvc.report.report import TOTALS, Question, make_daily, make_report
from auditsvc.store import open_store
from auditsvc.store.databases import file_url
from auditsvc.store.read.ausearch_times import end_second, start_second
from auditsvc.store.read.limits import MOST_SECONDS, Limits
from auditsvc.store.read.period import period_of
from auditsvc.store.read.time_span import ALL, END, Span

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import TextIO

    from auditsvc.config import Settings
    from auditsvc.report.daily import Daily
    from auditsvc.report.report import Answer

COMMAND: Final = ReportCommand
_DIGITS: Final = 10
"""Of the largest id."""
DAILY: Final = "daily"
"""The name of the report for the review of each day."""


class ReportForm(StrEnum):
    """The formats of a report."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    HTML = "html"


def report(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A report (login, file, ...; see below), or daily. Default: the summary.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    *,
    store: StoreOption = None,
    form: Annotated[ReportForm, typer.Option("--format", help="How it is shown.")] = (
        ReportForm.TABLE
    ),
    summary: Annotated[
        bool, typer.Option("--summary", help="Instead of events: sums of the main object.")
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", help="Sums for each day, hour, host or auid: host,day.", metavar="GROUPS"
        ),
    ] = None,
    interpret: Annotated[
        bool, typer.Option("-i", "--interpret", help="Names of users instead of numbers.")
    ] = False,
    success: Annotated[bool, typer.Option("--success", help="Only events that succeeded.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Only events that failed.")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", help="Only events from this time on (UTC), as for query.", metavar="TIME"
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", help="Only events before this time (UTC).", metavar="TIME"),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "-ts", "--start", help="From this local time on, in aureport's words.", metavar="TIME"
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            "-te", "--end", help="Up to this local time, its second included.", metavar="TIME"
        ),
    ] = None,
    node: Annotated[
        list[str] | None,
        typer.Option("--node", help="Only events of this host; can be repeated.", metavar="HOST"),
    ] = None,
    auid: Annotated[
        str | None,
        typer.Option(
            "--auid", help="Only events of this login user: name, number, unset.", metavar="USER"
        ),
    ] = None,
    add: Annotated[
        bool, typer.Option("--add", help="Without events that delete an account or label.")
    ] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Without events that add one.")] = False,
    no_config: Annotated[
        bool, typer.Option("-nc", "--no-config", help="Without CONFIG_CHANGE events.")
    ] = False,
    reviewed: Annotated[
        bool,
        typer.Option(
            "--reviewed", help="Of daily: record that you have reviewed it, instead of showing it."
        ),
    ] = False,
    note: Annotated[
        str, typer.Option("--note", help="What the review found, for its record.", metavar="TEXT")
    ] = "",
    file: Annotated[
        Path | None,
        typer.Option(
            "-if", "--input", help="Report on this log instead of the store.", metavar="FILE"
        ),
    ] = None,
    archive: Annotated[
        bool,
        typer.Option(
            "--archive",
            help="Report on the archive [archive] and the store as one: the events of that time are"
            " copied to a temporary store first, so give a time. Needs auditsvc[archive].",
        ),
    ] = False,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help="Do not put ' before CSV cells that spreadsheets take as formulas."
        ),
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            help="End after this time; 0: never.",
            metavar="SECONDS",
            min=0,
            max=MOST_SECONDS,
        ),
    ] = 300.0,
    no_pager: NoPagerOption = False,
) -> None:
    """Report on the store by aureport's rules.

    Times are shown in UTC. Under each report stands what the store knows to be missing.
    """
    settings = load_settings(store=store)
    lower(settings, reads_files=True, pages=True)
    is_daily = name == DAILY
    if is_daily and (summary or by or success or failed or auid or form is ReportForm.CSV):
        raise UsageError(
            "report daily takes a time, hosts and -i; as table, json or html",
            "for the rest ask for the report of its own: auditsvc report --help",
        )
    if archive and (file or reviewed):
        raise UsageError("--archive goes with neither --input nor --reviewed", "leave one out")
    if (reviewed and (not is_daily or file)) or (note and not reviewed):
        raise UsageError("--reviewed goes with daily of the store, and --note with --reviewed")
    question = Question(
        name=TOTALS if is_daily else _name(name),
        choice=Choice(
            span=_span(since, until, start, end, is_daily=is_daily),
            success=_outcome(success=success, failed=failed),
            hosts=tuple(to_text(os.fsencode(each))[0] for each in node or ()),
            auid=None if auid is None else _user(auid),
            no_config=no_config,
            without=(*(types.DELETES if add else ()), *(types.ADDS if delete else ())),
        ),
        summary=summary,
        by=() if by is None else groups.parse(by),
        interpret=interpret,
    )
    if reviewed:
        _record_review(settings, question.choice.span, note)
        return
    limits = Limits(timeout)
    with (
        Pager(sys.stdout, wanted=form is ReportForm.TABLE and not no_pager) as pager,
        recorded(settings, "report") if file is None else nullcontext(Access()) as access,
        waiting() as line,
        alarm(limits.seconds, limits.late()),
        _of_archive(settings, question, limits, is_daily=is_daily)
        if archive
        else _log(settings.store, file) as url,
    ):
        if is_daily:
            with make_daily(url, question.choice, limits, interpret=interpret) as made:
                access.rows = sum(len(section.rows) for section in made.sections)
                with pager.writing() as out:
                    _write_daily(made, form, line.output(out))
        else:
            with make_report(url, question, limits) as answer:
                rows = line.counted(access.counted(answer.rows))
                with pager.writing() as out:
                    _write(replace(answer, rows=rows), form, line.output(out), exact=exact)
        sys.stdout.flush()


report.__doc__ = f"{report.__doc__}\n\nReports:\n\n\b\n{listing()}\n"


def _record_review(settings: Settings, span: Span, note: str) -> None:
    """Record that the daily report of this time was reviewed; QueryError if that cannot be."""
    required = settings.model_copy(
        update={"access": settings.access.model_copy(update={"required": True})}
    )
    what = review_of(span)
    with (
        open_store(settings.store, read=True),
        recording(required, "review", f"{what}: {note}" if note else what, None),
    ):
        pass
    typer.echo(f"on record: review of {what}")


def _name(name: str | None) -> str:
    if name is None or name == TOTALS:
        return TOTALS
    if name not in BY_NAME:
        near = [each for each in sorted(BY_NAME) if name and each.startswith(name)]
        near = near or get_close_matches(name, BY_NAME, 1)
        hint = f"did you mean {near[0]}; " if near else ""
        every = ", ".join(sorted([*BY_NAME, "daily"]))
        raise UsageError(f"there is no report {name!r}", f"{hint}there are {every}")
    return name


def _outcome(*, success: bool, failed: bool) -> bool | None:
    if success and failed:
        raise UsageError("--success and --failed exclude each other", "leave one of them out")
    return True if success else False if failed else None


def _span(
    since: str | None, until: str | None, start: str | None, end: str | None, *, is_daily: bool
) -> Span:
    """Give the time that is asked for, for `daily` yesterday; UsageError if there is none."""
    if is_daily and not (since or until or start or end):
        since, until = "yesterday", "today"
    found = period_of(since, until)
    local = datetime.now(UTC).astimezone()
    if start is not None:
        found = found.both(Span(low=start_second(start, local)))
    if end is not None:
        found = found.both(Span(high=end_second(end, local)))
    if is_daily and found.high == END:  # nothing said when it ends, and it shows that
        found = found.both(Span(high=int(local.timestamp())))
    if found.high < found.low:
        raise UsageError("the end of the time is not after its beginning", "see --help")
    return found


def _user(text: str) -> int:
    if text in ("unset", "-1"):
        return UNSET
    if text.isascii() and text.isdecimal():
        if int(text[:_DIGITS]) > UNSET or len(text) > _DIGITS:
            raise UsageError(
                f"--auid {text}: not the number of a user", f"the largest is {UNSET - 1}"
            )
        return int(text)
    try:
        return pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError):  # a name may hold no NUL, and only what the locale encodes
        raise UsageError(f"--auid: there is no user {text!r} here", "give the number") from None


@contextmanager
def _log(url: str, file: Path | None) -> Iterator[str]:
    """Give the URL of the store, or of one that is made of a log for this report."""
    if file is None:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="auditsvc-report-") as folder:
        made = file_url(Path(folder) / "store.db")
        job = Ingest(load_settings(store=made), [file])
        job.run(lambda _: None)
        for note in (*job.notes, *map(str, job.errors[:-1])):
            _say(note)
        if job.errors:
            raise job.errors[-1]
        yield made


def _of_archive(
    settings: Settings, question: Question, limits: Limits, *, is_daily: bool
) -> AbstractContextManager[str]:
    """Give the URL of a store with the events of the archive and the store that are asked for."""
    made = use("auditsvc.archive.made_store")
    choice = question.choice
    wanted = made.Wanted(
        span=ALL if question.name == "log" else choice.span,
        thin=week_before(choice.span) if is_daily else None,
        with_names=question.interpret,
    )
    url: AbstractContextManager[str] = made.made_store(settings, wanted, limits)
    return url


def _write(answer: Answer, form: ReportForm, out: TextIO, *, exact: bool) -> None:
    if form is ReportForm.HTML:
        out.write(page(answer, datetime.now(UTC)))
    elif form is ReportForm.TABLE:
        writing.write_table(answer, out)
    elif form is ReportForm.JSON:
        writing.write_json(answer, out)
    else:
        writing.write_csv(answer, out, exact=exact)
        _say(answer.proof.line)


def _write_daily(made: Daily, form: ReportForm, out: TextIO) -> None:
    if form is ReportForm.HTML:
        out.write(daily_page(made, datetime.now(UTC)))
    elif form is ReportForm.JSON:
        writing.write_daily_json(made, out)
    else:
        writing.write_daily(made, out)


def _say(what: str) -> None:
    typer.echo(f"auditsvc: {visible(what)}", err=True)
