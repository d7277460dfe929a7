"""`auditsvc top`: who and what makes the most events just now."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from auditsvc.cli.ended import ended_by_signals
from auditsvc.cli.lowering import lower
from auditsvc.cli.recording import recorded
from auditsvc.config import load_settings
from auditsvc.errors import UsageError
from auditsvc.host.accounts import user_name
from auditsvc.plural import counted
from auditsvc.render.rows import Format, write_rows
from auditsvc.search.live_counts import GROUPS, LiveCounts
from auditsvc.search.own_processes import own_processes
from auditsvc.spool.segments import segments
from auditsvc.store.read.result import Result
from auditsvc.store.read.value_text import to_json

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from auditsvc.search.live_counts import Group

_CLEAR: Final = "\x1b[H\x1b[2J"
_USERS: Final = ("auid", "uid")


class TopForm(StrEnum):
    """The formats of `top`."""

    TABLE = "table"
    JSON = "json"


def top(
    *,
    by: Annotated[
        str, typer.Option("--by", help=f"What is counted: {', '.join(GROUPS)}.", metavar="GROUPS")
    ] = "exe,auid,syscall",
    every: Annotated[
        float,
        typer.Option(
            "--every", help="Seconds between two looks.", metavar="SECONDS", min=0.1, max=86400
        ),
    ] = 2.0,
    rows: Annotated[
        int, typer.Option("--rows", help="Groups that are shown.", metavar="N", min=1)
    ] = 20,
    once: Annotated[bool, typer.Option("--once", help="End after one look.")] = False,
    form: Annotated[
        TopForm, typer.Option("--format", help="json: an object a look, a line each.")
    ] = TopForm.TABLE,
) -> None:
    """Show who and what makes the most events just now, from the spool of this host's service.

    The calls of this process and of its ancestors (shell, sshd, terminal) are left out: to show
    events would make events. Ctrl-C ends it.
    """
    names = _groups(by)
    settings = load_settings()
    lower(settings)
    if not segments(settings.spool_directory):
        raise UsageError(
            f"there is no spool in {settings.spool_directory}", "start the service: auditsvc run"
        )
    own = [process.pid for process in own_processes(settings.host)]
    with ended_by_signals(), recorded(settings, "top") as access:
        spool = settings.spool_directory
        with LiveCounts(
            spool, settings.host, settings.decoder_name, by=names, leave_out=own
        ) as counts:
            began = time.monotonic()
            while True:
                time.sleep(every)
                found, now = counts.take(), time.monotonic()
                shown = found.most_common(rows)
                access.rows += len(shown)
                _write(names, shown, found, now - began, form)
                began = now
                if once:
                    return


def _groups(by: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in by.split(",")))
    for name in names:
        if name not in GROUPS:
            raise UsageError(f"--by: there is no {name!r}", f"there are {', '.join(GROUPS)}")
    return names


def _write(
    names: tuple[str, ...],
    shown: Sequence[tuple[Group, int]],
    found: Counter[Group],
    seconds: float,
    form: TopForm,
) -> None:
    total = found.total()
    if form is TopForm.JSON:
        rows = [
            {"events": count} | {name: getattr(group, name) for name in names}
            for group, count in shown
        ]
        look = {"seconds": round(seconds, 3), "events": total, "groups": len(found), "rows": rows}
        sys.stdout.write(f"{to_json(look, ascii_only=True)}\n")
        sys.stdout.flush()
        return
    if sys.stdout.isatty():
        sys.stdout.write(_CLEAR)
    rate = total / seconds
    sys.stdout.write(
        f"{counted(total, 'event')} in {seconds:.1f} s, {rate:.0f} a second,"
        f" {counted(len(found), 'group')}\n"
    )
    cells = (
        (f"{count / seconds:.1f}", count, *(_shown(name, getattr(group, name)) for name in names))
        for group, count in shown
    )
    write_rows(Result(("events/s", "events", *names), cells), Format.TABLE, sys.stdout)
    sys.stdout.flush()


def _shown(name: str, value: object) -> object:
    if name in _USERS and isinstance(value, int):
        return user_name(value) or value
    return value
