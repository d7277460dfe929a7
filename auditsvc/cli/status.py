"""`auditsvc status`: the state of kernel, service, forwarder and store."""

from __future__ import annotations

import shutil
import time

import typer

from auditsvc.cli.options import FormOption, StoreOption
from auditsvc.config import load_settings
from auditsvc.host.terminal import visible
from auditsvc.render.output import wants_json, write_json
from auditsvc.status.glance import glance
from auditsvc.status.health import judge
from auditsvc.status.report import make_report


def status(
    store: StoreOption = None,
    form: FormOption = None,
) -> int:
    """Show the state of the kernel, the running service, the forwarder and the store.

    On a terminal at a glance, in local time; JSON has every fact. Exit status: 0 if all is well,
    1 if there is a problem, 3 if the service is not running.
    """
    facts = make_report(load_settings(store=store))
    health = judge(facts)
    if wants_json(form):
        write_json({"health": health.as_facts()} | facts)
        return health.status
    columns = shutil.get_terminal_size().columns
    for line in glance(facts, health, time.time(), columns):
        typer.echo(visible(line))
    return health.status
