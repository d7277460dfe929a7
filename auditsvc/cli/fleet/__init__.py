"""`auditsvc fleet`: the lake of many hosts; one file for each verb."""

from __future__ import annotations

import typer

from auditsvc.cli.fleet import (
    commit,
    compact,
    init,
    prune,
    query,
    settings,
    ship,
    spark_sql,
    status,
    verify,
)
from auditsvc.cli.options import Command, show_help

app = typer.Typer(
    help="Ship the store to the lake of all hosts, commit what they shipped, and ask it.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.callback()(show_help)
for name, verb, does in (
    ("init", init.init, "Make the table of the lake."),
    ("ship", ship.ship, "Ship what the store has to the inbox, as `run` does."),
    ("commit", commit.commit, "Commit the batches that hosts have shipped."),
    ("status", status.status, "Show what the lake has of each host, and who is silent."),
    ("query", query.query, "Query the events of all hosts in SQL."),
    ("spark-sql", spark_sql.spark_sql, "Start Spark's spark-sql on the lake."),
    ("settings", settings.settings, "Show what Spark and Trino need to reach the lake."),
    ("compact", compact.compact, "Rewrite small files of the table into large ones."),
    ("verify", verify.verify, "Hold what the lake has of each host to what it said."),
    ("prune", prune.prune, "Delete whole days of the table, and what is left over."),
):
    app.command(name, cls=Command, short_help=does)(verb)
