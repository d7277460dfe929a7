"""`auditsvc fleet spark-sql`: Spark's prompt on the lake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditsvc import arrow
from auditsvc.config import load_settings


def spark_sql(
    sql: Annotated[
        str, typer.Argument(help="One SQL statement of Spark; without it a prompt.", metavar="SQL")
    ] = "",
    master: Annotated[
        str, typer.Option("--master", help="The cluster, as spark://HOST:7077.")
    ] = "local[*]",
    more: Annotated[
        Path | None,
        typer.Option(
            "--with",
            metavar="FILE",
            help="More settings of Spark, as of its memory; with spark.jars in it no packages are"
            " loaded.",
        ),
    ] = None,
) -> None:
    """Start Spark's own spark-sql on the lake, with the views of `fleet query` but ways and ledger.

    It is that of SPARK_HOME or of the PATH. Keys are in a file that only this user can read, and
    that is deleted at the end. What is asked is not recorded.
    """
    room = arrow.use("auditsvc.fleet.spark")
    raise typer.Exit(room.run_spark_sql(load_settings().fleet, sql, master=master, more=more))
