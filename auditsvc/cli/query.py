"""`auditsvc query`: SQL on the store, always read-only."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from auditsvc import arrow
from auditsvc.cli.answering import (
    ExactOption,
    FormOption,
    SinceOption,
    TimeoutOption,
    UntilOption,
    show_answer,
)
from auditsvc.cli.lowering import lower
from auditsvc.cli.options import NoPagerOption, StoreOption
from auditsvc.config import load_settings
from auditsvc.errors import UsageError
from auditsvc.store.read.period import period_of
from auditsvc.store.read.sql import run_query

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from auditsvc.config import Settings
    from auditsvc.store.read.result import Result


def query(
    sql: Annotated[str, typer.Argument(help="One SQL statement.", metavar="SQL")],
    *,
    store: StoreOption = None,
    form: FormOption = None,
    exact: ExactOption = False,
    since: SinceOption = None,
    until: UntilOption = None,
    archive: Annotated[
        bool,
        typer.Option(
            "--archive",
            help="Ask the archive [archive] and the store as one, in SQLite's SQL. Needs"
            " auditsvc[archive].",
        ),
    ] = False,
    timeout: TimeoutOption = 300.0,
    no_pager: NoPagerOption = False,
) -> None:
    """Query the store in SQL.

    The views are story, all_events, syscalls, paths, sockaddrs, events, records, files,
    connections, logins, denials, commands, changes, processes, names, tamper, coverage, access,
    activity, origins, partials, pruned and ledger; --since and --until apply to those with an
    event_id: all but processes, names, activity, pruned and ledger. The format "lines" has a
    line for each column. On a terminal all formats escape control and invisible characters. In
    CSV, text that begins like a formula (= + - @) gets a ' before it.
    """
    settings = load_settings(store=store)
    lower(settings, pages=sys.stdout.isatty() and not no_pager)
    period = period_of(since, until)
    run = _of_archive(settings) if archive else partial(run_query, settings.store, views_only=True)
    show_answer(
        settings,
        "query",
        sql,
        lambda limits: run(sql, limits, period),
        form=form,
        exact=exact,
        seconds=timeout,
        no_pager=no_pager,
    )


def _of_archive(settings: Settings) -> Callable[..., AbstractContextManager[Result]]:
    """Give what asks archive and store; ConfigError without an archive or what it needs."""
    if settings.archive.to is None:
        raise UsageError("there is no archive", 'set archive.to = "/FOLDER" (AUDITSVC_ARCHIVE__TO)')
    return partial(arrow.use("auditsvc.archive.ask").run_archive_query, settings)
