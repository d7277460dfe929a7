"""`auditsvc status`: the kernel, the service, the store, at a glance."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import typer

from auditsvc.cli.options import StoreOption
from auditsvc.config import Settings, load_settings
from auditsvc.decode import decoder_in_use
from auditsvc.errors import AuditsvcError
from auditsvc.kernel.control import Control
from auditsvc.query import run_query
from auditsvc.state import read_state
from auditsvc.terminal import visible


class Form(StrEnum):
    """How the answer looks."""

    TABLE = "table"
    JSON = "json"


def status(
    store: StoreOption = None,
    form: Annotated[
        Form | None,
        typer.Option(
            "--format", help="Default: table on a terminal, else json.", show_default=False
        ),
    ] = None,
) -> None:
    """Show what the kernel, the running service and the store say. Changes nothing."""
    settings = load_settings(store=store)
    facts: dict[str, dict[str, Any]] = {
        "kernel": _kernel(),
        "service": _service(settings),
        "store": _store(settings),
    }
    if (form or (Form.TABLE if sys.stdout.isatty() else Form.JSON)) is Form.JSON:
        typer.echo(json.dumps(facts, indent=2))
        return
    from rich.console import Console  # noqa: PLC0415 - the service loads the verbs too
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, show_header=False)
    for part, values in facts.items():
        for place, (name, value) in enumerate(values.items()):
            table.add_row(part if place == 0 else "", name, Text(visible(str(value))))
    Console().print(table)


def _kernel() -> dict[str, Any]:
    try:
        with Control() as control:
            return asdict(control.status()) | {"rules": len(control.rules())}
    except AuditsvcError as error:
        return {"refused": str(error)}


def _service(settings: Settings) -> dict[str, Any]:
    try:
        state = read_state(settings.runtime_directory)
    except AuditsvcError as error:
        return {"refused": str(error)}
    if state is None:
        return {"running": False, "decoder": decoder_in_use(settings.decoder_name)}
    return {"running": True, "age": round(time.time() - state.written, 1)} | asdict(state)


def _store(settings: Settings) -> dict[str, Any]:
    try:
        with run_query(
            settings.store, "SELECT cause, sum(count) FROM ledger GROUP BY cause"
        ) as rows:
            return {str(cause): int(str(count)) for cause, count in rows}
    except AuditsvcError as error:
        return {"refused": str(error)}
