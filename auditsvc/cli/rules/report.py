"""`auditsvc rules report`: control by control, whether it is in force and what it has seen."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from auditsvc.cli.options import StoreOption
from auditsvc.compliance.as_json import as_json
from auditsvc.compliance.model import Judged, Report, Seen, moment
from auditsvc.compliance.page import page
from auditsvc.compliance.report import make_report
from auditsvc.config import load_settings
from auditsvc.host.terminal import visible
from auditsvc.render.output import write_json, write_table


class ReportForm(StrEnum):
    """How the report looks."""

    TABLE = "table"
    JSON = "json"
    HTML = "html"


def report(
    sets: Annotated[
        list[str] | None,
        typer.Argument(
            help="Shipped sets, rule files or folders. Default: what `run` loads.",
            metavar="[SET|PATH]...",
            show_default=False,
        ),
    ] = None,
    days: Annotated[int, typer.Option("--days", help="How far back events count.", min=1)] = 30,
    store: StoreOption = None,
    form: Annotated[
        ReportForm | None,
        typer.Option(
            "--format", help="Default: table on a terminal, else json.", show_default=False
        ),
    ] = None,
) -> int:
    """Show for each control whether its rules are there, loaded and covered, and what they saw.

    Exit status 1 when some control's rules are not in force, or when that is not known.
    """
    settings = load_settings(store=store)
    made = make_report(settings, sets, days)
    chosen = form or (ReportForm.TABLE if sys.stdout.isatty() else ReportForm.JSON)
    if chosen is ReportForm.HTML:
        typer.echo(page(made), nl=False)
    elif chosen is ReportForm.JSON:
        write_json(as_json(made))
    else:
        _write(made)
    return 0 if made.proven else 1


def _write(made: Report) -> None:
    """Write it for a person."""
    for line in made.remarks:
        typer.echo(visible(line))
    covered = "not known" if made.share is None else str(made.share)
    for framework in dict.fromkeys(each.control.framework for each in made.controls):
        typer.echo(f"\n{visible(framework) or 'Rules that name no control'}")
        members = [each for each in made.controls if each.control.framework == framework]
        write_table(
            ("CONTROL", "ABOUT", "RULES", "KERNEL", "COVERED", "EVENTS", "LAST SEEN"),
            (_row(each, covered) for each in members),
        )
    tally = ", ".join(f"{number} {state}" for state, number in made.tally().items())
    typer.echo(f"\n{len(made.controls)} controls: {tally}; events of the last {made.days} days")


def _row(judged: Judged, covered: str) -> tuple[object, ...]:
    control, seen = judged.control, judged.seen
    asked = [
        f"{each.setting.name} {each.setting.value} asked, "
        f"{'not known' if each.now is None else f'is {each.now}'}"
        for each in judged.settings
    ]
    kernel = "; ".join([str(judged.state), *asked])
    if not judged.findings:
        return (control.id, control.title, 0, kernel, None, None, None)
    return (
        control.id,
        control.title,
        len(judged.findings),
        kernel,
        covered,
        *(("not known", "not known") if seen is None else (seen.count, _last(seen))),
    )


def _last(seen: Seen) -> str:
    return "never" if seen.last is None else moment(seen.last)[:16].replace("T", " ")
