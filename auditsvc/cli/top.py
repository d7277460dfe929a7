"""`auditsvc top`: who and what makes the most events just now."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from auditsvc.cli.ended import ended_by_signals
from auditsvc.cli.lowering import lower
from auditsvc.cli.recording import recorded
from auditsvc.cli.search_options import Container, Unit
from auditsvc.config import load_settings
from auditsvc.errors import UsageError
from auditsvc.host.accounts import user_name
from auditsvc.host.users import as_name
from auditsvc.plural import counted
from auditsvc.render.rows import Format, write_rows
from auditsvc.search.live_counts import GROUPS, LiveCounts
from auditsvc.search.own_processes import own_processes
from auditsvc.search.places import Place
from auditsvc.spool.segments import segments
from auditsvc.store.read.result import Result
from auditsvc.value_text import to_json

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from auditsvc.search.live_counts import Group

_CLEAR: Final = "\x1b[H\x1b[2J"
_USERS: Final = ("auid", "uid")
_SHORT: Final = 12
"""Digits of a container's id that are shown, as the runtimes do."""
_SOON: Final = 0.1
"""Seconds until an event's process is looked at, which may end."""


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
    container: Container = None,
    unit: Unit = None,
    once: Annotated[bool, typer.Option("--once", help="End after one look.")] = False,
    form: Annotated[
        TopForm, typer.Option("--format", help="json: an object a look, a line each.")
    ] = TopForm.TABLE,
) -> None:
    """Show who and what makes the most events just now, from the spool of this host's service.

    The calls of this process and of its ancestors (shell, sshd, terminal) are left out: to show
    events would make events. Containers and units are those in which a process of this host is
    when its event arrives, by /proc. Ctrl-C ends it.
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
            *(spool, settings.host, settings.decoder_name),
            by=names,
            leave_out=own,
            place=Place.asked(container, unit),
        ) as counts:
            began = time.monotonic()
            while True:
                _wait(counts, every)
                found, now = counts.take(), time.monotonic()
                shown = found.most_common(rows)
                access.rows += len(shown)
                look = _Look(names, shown, found, now - began)
                if form is TopForm.JSON:
                    _write_json(look)
                else:
                    _write_table(look, counts.names)
                began = now
                if once:
                    return


def _wait(counts: LiveCounts, seconds: float) -> None:
    """Wait so long, and look at what arrives meanwhile if its processes must be seen."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, _SOON) if counts.is_hasty else left)
        if counts.is_hasty:
            counts.gather()


def _groups(by: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in by.split(",")))
    for name in names:
        if name not in GROUPS:
            raise UsageError(f"--by: there is no {name!r}", f"there are {', '.join(GROUPS)}")
    return names


class _Look(NamedTuple):
    """What one look found."""

    names: tuple[str, ...]
    shown: Sequence[tuple[Group, int]]
    """The largest groups."""
    found: Counter[Group]
    seconds: float


def _write_json(look: _Look) -> None:
    names, shown, found, seconds = look
    rows = [
        {"events": count} | {name: getattr(group, name) for name in names} for group, count in shown
    ]
    said = {
        "seconds": round(seconds, 3),
        "events": found.total(),
        "groups": len(found),
        "rows": rows,
    }
    sys.stdout.write(f"{to_json(said, ascii_only=True)}\n")
    sys.stdout.flush()


def _write_table(look: _Look, containers: Mapping[str, str]) -> None:
    """Write a look; `containers` are their names by id."""
    names, shown, found, seconds = look
    total = found.total()
    if sys.stdout.isatty():
        sys.stdout.write(_CLEAR)
    rate = total / seconds
    sys.stdout.write(
        f"{counted(total, 'event')} in {seconds:.1f} s, {rate:.0f} a second,"
        f" {counted(len(found), 'group')}\n"
    )

    def shown_of(name: str, value: object) -> object:
        if name in _USERS and isinstance(value, int):
            known = user_name(value)
            return as_name(known) if known else value
        if name == "container" and isinstance(value, str):
            return containers.get(value) or value[:_SHORT]
        return value

    cells = (
        (
            f"{count / seconds:.1f}",
            count,
            *(shown_of(name, getattr(group, name)) for name in names),
        )
        for group, count in shown
    )
    write_rows(Result(("events/s", "events", *names), cells), Format.TABLE, sys.stdout)
    sys.stdout.flush()
