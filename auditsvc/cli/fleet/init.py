"""`auditsvc fleet init`: makes the table."""

from __future__ import annotations

import typer

from auditsvc import arrow
from auditsvc.config import load_settings


def init() -> None:
    """Make the table of the lake [fleet]; nothing else makes it."""
    settings = load_settings().fleet
    made = arrow.use("auditsvc.fleet.lake").create_table(settings)
    typer.echo(f"{'made' if made else 'there already'}: {settings.table}")
