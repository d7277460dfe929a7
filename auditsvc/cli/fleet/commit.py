"""`auditsvc fleet commit`: takes batches of the inbox into the table."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import structlog
import typer

from auditsvc import arrow
from auditsvc.cli.options import FormOption
from auditsvc.config import load_settings
from auditsvc.errors import FleetError, UsageError
from auditsvc.host.terminal import visible
from auditsvc.plural import counted
from auditsvc.render.output import wants_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger()

_FIRST_PAUSE, _MOST_PAUSE = 1.0, 60.0


def commit(
    once: Annotated[bool, typer.Option("--once", help="All that waits now.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="On and on; looks again after each `--every`.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", min=0.1, max=3600.0, help="Seconds between two looks.")
    ] = 10.0,
    shards: Annotated[
        list[str] | None,
        typer.Option("--shard", help="Only these parts of the inbox; can be repeated."),
    ] = None,
    form: FormOption = None,
) -> None:
    """Commit the batches that hosts have shipped; any number of these may run."""
    if once == follow:
        raise UsageError("say how long", "give --once or --follow")
    settings = load_settings().fleet
    make = arrow.use("auditsvc.fleet.commit").Committer
    if follow:
        _follow(lambda: make(settings, shards=shards or ()), every)
    committer = make(settings, shards=shards or ())
    while committer.step():
        pass
    done, refused = committer.done, committer.refused
    if wants_json(form):
        write_json(
            {
                "batches": done.batches,
                "rows": done.rows,
                "commits": done.commits,
                "conflicts": done.conflicts,
                "refused": [each._asdict() for each in refused],
            }
        )
    else:
        batches = counted(done.batches, "batch", "batches")
        typer.echo(f"committed: {batches}, {counted(done.rows, 'row')}")
        for each in refused:
            typer.echo(visible(f"not taken: {each.name}: {each.why}"))
    if refused:
        raise typer.Exit(1)


def _follow(make: Callable[[], Any], every: float) -> NoReturn:
    """Commit on and on; what cannot be reached is waited for."""
    committer: Any = None
    pause, told = _FIRST_PAUSE, frozenset[Any]()
    while True:
        try:
            committer = committer or make()
            before = committer.done.rows
            while committer.step():
                pass
        except FleetError as error:
            log.error("cannot commit: waiting", why=str(error))  # noqa: TRY400 - no traceback
            committer = None  # the keys, or the authority, may be others by now
            time.sleep(pause)
            pause = min(_MOST_PAUSE, pause * 2)
            continue
        pause = _FIRST_PAUSE
        if rows := committer.done.rows - before:
            log.info("committed", rows=rows)
        for each in frozenset(committer.refused) - told:
            log.error("not taken", batch=each.name, why=each.why)
        told = frozenset(committer.refused)
        time.sleep(every)
