"""`auditsvc fleet`: the lake of many hosts; one file for each verb."""

from __future__ import annotations

import typer

from auditsvc.cli.options import show_help

app = typer.Typer(
    help="The lake of all hosts: make it, fill it, ask it, prove it.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.callback()(show_help)
VERBS = {
    "init": "Make the table of the lake.",
    "ship": "Ship what the store has to the inbox, as `run` does.",
    "commit": "Commit the batches that hosts have shipped.",
    "status": "Show what the lake has of each host, and who is silent.",
    "query": "Query the events of all hosts in SQL.",
    "spark-sql": "Start Spark's spark-sql on the lake.",
    "settings": "Show what Spark and Trino need to reach the lake.",
    "compact": "Rewrite small files of the table into large ones.",
    "verify": "Hold what the lake has of each host to what it said.",
    "prune": "Delete whole days of the table, and what is left over.",
}
