"""`auditsvc fleet settings`: what Spark and Trino need to reach the lake."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from auditsvc import arrow
from auditsvc.config import load_settings
from auditsvc.host.files import replace_file


class For(StrEnum):
    """What is shown."""

    SPARK = "spark"
    SPARK_VIEWS = "spark-views"
    TRINO = "trino"


def settings(
    engine: Annotated[
        For,
        typer.Option(
            "--for",
            help="spark: a file for `--properties-file`; spark-views: statements for `spark-sql"
            " -i`, which make the views of a session; trino: a catalog's file.",
        ),
    ],
    into: Annotated[
        Path | None,
        typer.Option(
            "--into", metavar="FILE", help="Write it there, with the keys; its mode is 0600."
        ),
    ] = None,
) -> None:
    """Show the settings with which another engine reads the table of the lake.

    Keys are not shown: what stands for them is to be replaced, or comes from Trino's environment.
    """
    fleet = load_settings().fleet
    room = arrow.use("auditsvc.fleet.spark")
    if engine is For.SPARK_VIEWS:
        text = room.views_text(fleet)
    else:
        text = room.settings_text(engine.value, fleet, with_keys=into is not None)
    if into is None:
        typer.echo(text, nl=False)
        return
    replace_file(into, text)
