"""`auditsvc rules report`: for each control, whether it is in force, and its events."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from auditsvc.cli.options import StoreOption
from auditsvc.cli.recording import recorded
from auditsvc.compliance.as_json import as_json
from auditsvc.compliance.model import Judged, Report, Seen, moment
from auditsvc.compliance.page import page
from auditsvc.compliance.report import make_report
from auditsvc.config import load_settings
from auditsvc.host.terminal import visible
from auditsvc.plural import counted
from auditsvc.render.fit import fitted
from auditsvc.render.output import write_json, write_table


class ReportForm(StrEnum):
    """The formats of the report."""

    TABLE = "table"
    JSON = "json"
    HTML = "html"


def report(
    sets: Annotated[
        list[str] | None,
        typer.Argument(
            help="Shipped sets, rule files or folders. Default: the rules that `run` loads.",
            metavar="SET|PATH",
            show_default=False,
        ),
    ] = None,
    days: Annotated[
        int, typer.Option("--days", help="Count events of this many days.", min=1, metavar="DAYS")
    ] = 30,
    store: StoreOption = None,
    form: Annotated[
        ReportForm | None,
        typer.Option(
            "--format", help="Default: table on a terminal, else json.", show_default=False
        ),
    ] = None,
) -> int:
    """Show for each control whether its rules are in force, and their events.

    Exit status 1 if rules of a control are not in force, or if that is unknown.
    """
    settings = load_settings(store=store)
    with recorded(settings, "rules_report", is_quiet=True) as access:
        result = make_report(settings, sets, days)
        access.rows = len(result.controls)
    chosen = form or (ReportForm.TABLE if sys.stdout.isatty() else ReportForm.JSON)
    if chosen is ReportForm.HTML:
        typer.echo(page(result), nl=False)
    elif chosen is ReportForm.JSON:
        write_json(as_json(result))
    else:
        _write(result)
    return 0 if result.proven else 1


def _write(result: Report) -> None:
    """Write it for a person."""
    for line in result.remarks:
        typer.echo(fitted(visible(line), sys.stdout))
    covered = "unknown" if result.share is None else str(result.share)
    for framework in dict.fromkeys(each.control.framework for each in result.controls):
        typer.echo(f"\n{visible(framework) or 'Rules without a control'}")
        members = [each for each in result.controls if each.control.framework == framework]
        write_table(
            ("CONTROL", "ABOUT", "RULES", "KERNEL", "COVERED", "EVENTS", "LAST SEEN"),
            (_row(each, covered) for each in members),
        )
    tally = ", ".join(f"{number} {state}" for state, number in result.tally().items())
    total, days = counted(len(result.controls), "control"), counted(result.days, "day")
    typer.echo()
    typer.echo(fitted(f"{total}: {tally}; events of the last {days}", sys.stdout))


def _row(judged: Judged, covered: str) -> tuple[object, ...]:
    control, seen = judged.control, judged.seen
    asked = [
        f"{each.setting.name} {each.setting.value} required, "
        f"{'unknown' if each.now is None else f'is {each.now}'}"
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
        *(("unknown", "unknown") if seen is None else (seen.count, _last(seen))),
    )


def _last(seen: Seen) -> str:
    return "never" if seen.last is None else moment(seen.last)[:16].replace("T", " ")
