"""`auditsvc fleet query`: SQL on the events of all hosts, always read-only."""

from __future__ import annotations

from typing import Annotated

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
from auditsvc.cli.options import NoPagerOption
from auditsvc.config import load_settings
from auditsvc.store.read.period import period_of


def query(
    sql: Annotated[str, typer.Argument(help="One SQL statement.", metavar="SQL")],
    *,
    form: FormOption = None,
    exact: ExactOption = False,
    since: SinceOption = None,
    until: UntilOption = None,
    timeout: TimeoutOption = 300.0,
    no_pager: NoPagerOption = False,
) -> None:
    """Query the events of all hosts in SQL.

    The views are those of a store (story, all_events, syscalls, paths, sockaddrs, events, records,
    files, connections, logins, denials, commands, changes, tamper, coverage, access, activity,
    origins, partials), with host and store before each event_id, and those over all hosts:
    programs, arguments, addresses, hashes, hops, ways, clock_skew, host_addresses, hosts, batches
    and ledger. It is SQLite's SQL; DuckDB answers. Conditions on time leave out days. Needs
    auditsvc[fleet].
    """
    settings = load_settings()
    lower(settings)
    period = period_of(since, until)
    fleet = arrow.use("auditsvc.fleet.query")
    show_answer(
        settings,
        "fleet_query",
        sql,
        lambda limits: fleet.run_fleet_query(settings, sql, limits, period),
        form=form,
        exact=exact,
        seconds=timeout,
        no_pager=no_pager,
        place=fleet.place_of(settings),
    )
