"""`auditsvc compliance`: each line of a framework, met or not, and what would meet it."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from auditsvc.cli.options import StoreOption
from auditsvc.cli.recording import recorded
from auditsvc.compliance.assess import assess
from auditsvc.compliance.assessment import Assessment
from auditsvc.compliance.assessment_page import assessment_page
from auditsvc.compliance.frameworks import FRAMEWORKS
from auditsvc.config import load_settings
from auditsvc.host.terminal import visible
from auditsvc.render.fit import fitted
from auditsvc.render.output import write_json


class FrameworkName(StrEnum):
    """The frameworks."""

    PCI = "pci"
    STIG = "stig"
    NIST = "nist"
    CIS = "cis"
    ISO = "iso"


class PageForm(StrEnum):
    """The formats."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


def compliance(
    framework: Annotated[
        FrameworkName, typer.Argument(help="Which one.", show_default="pci")
    ] = FrameworkName.PCI,
    store: StoreOption = None,
    form: Annotated[
        PageForm | None,
        typer.Option(
            "--format", help="Default: text on a terminal, else json.", show_default=False
        ),
    ] = None,
) -> int:
    """Show for each line of a framework whether it is met, by evidence that is taken now.

    Under a line that is not met stands the setting or command that would meet it. Changes nothing.
    Exit status 1 if a line is not met or not known.
    """
    settings = load_settings(store=store)
    with recorded(settings, "compliance", is_quiet=True) as access:
        found = assess(settings, FRAMEWORKS[framework])
        access.rows = len(found.lines)
    chosen = form or (PageForm.TEXT if sys.stdout.isatty() else PageForm.JSON)
    if chosen is PageForm.HTML:
        typer.echo(assessment_page(found), nl=False)
    elif chosen is PageForm.JSON:
        write_json(found.as_json())
    else:
        _write(found)
    return 0 if found.is_met else 1


def _write(found: Assessment) -> None:
    typer.echo(f"{found.framework}: {visible(found.host)}")
    width = max(len(each.standing) for each in found.lines)
    for each in found.lines:
        title = f"\n{each.standing:{width}}  {each.line.id}  {each.line.title}"
        typer.echo(fitted(title, sys.stdout, indent=width + 2))
        for answer in each.answers:
            lines = [answer.found, *([f"-> {answer.remedy}"] if answer.remedy else [])]
            for line in lines:
                shown = f"{'':{width}}  {visible(line)}"
                typer.echo(fitted(shown, sys.stdout, indent=width + 2))
    tally = ", ".join(f"{count} {standing}" for standing, count in found.tally().items())
    typer.echo(f"\n{len(found.lines)} lines: {tally}")
