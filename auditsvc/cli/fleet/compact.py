"""`auditsvc fleet compact`: many small files of the table become few large ones."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from auditsvc import arrow
from auditsvc.cli.options import FormOption
from auditsvc.config import load_settings
from auditsvc.plural import counted
from auditsvc.render.output import wants_json, write_json
from auditsvc.store.partitions import date_of

if TYPE_CHECKING:
    from auditsvc.fleet.compact import Group

_MIB = 1 << 20


def compact(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be rewritten.")
    ] = False,
    target: Annotated[
        int,
        typer.Option(
            "--target",
            min=1,
            max=1024,
            metavar="MIB",
            help="The size of a file; a file of less than half of it is small.",
        ),
    ] = 128,
    form: FormOption = None,
) -> None:
    """Rewrite small files of days, and of hours of today, that are over into large ones.

    Each group of files is one commit; committers go on. Rows stay as they are. What it took out is
    deleted by `fleet prune`.
    """
    settings = load_settings().fleet
    room = arrow.use("auditsvc.fleet.compact")
    if dry_run:
        groups = room.list_groups(settings, now=time.time(), target=target * _MIB)
        found = [_facts(each) for each in groups]
    else:
        done = room.compact(settings, now=time.time(), target=target * _MIB)
        found = [
            _facts(each.group) | {"bytes_after": each.bytes, "done": each.is_done} for each in done
        ]
    if wants_json(form):
        write_json(found)
        return
    for each in found:
        typer.echo(_line(each))
    if not found:
        typer.echo("nothing is worth rewriting")


def _facts(group: Group) -> dict[str, object]:
    return {
        "day": date_of(group.day),
        "files": len(group.files),
        "rows": group.rows,
        "bytes": group.bytes,
    }


def _line(found: dict[str, object]) -> str:
    files = counted(int(str(found["files"])), "file")
    text = f"{found['day']}: {found['rows']} rows in {files}, {found['bytes']} bytes"
    if "done" not in found:
        return text
    if not found["done"]:
        return f"{text}: left as they are, as others changed them meanwhile"
    return f"{text} -> 1 file, {found['bytes_after']} bytes"
