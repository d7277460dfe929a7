"""`auditsvc rules list`: the loaded rules, as `auditctl -l` prints them."""

from __future__ import annotations

import typer

from auditsvc.host.terminal import visible
from auditsvc.kernel import Control
from auditsvc.rule import printing


def listing() -> None:
    """Show the loaded rules, list by list, in the order in which the kernel applies them."""
    with Control() as control:
        rules = control.rules()
    for rule in rules:
        typer.echo(visible(printing.text(rule)))
    if not rules:
        typer.echo("No rules")
