"""`auditsvc status`: the state of kernel, service, forwarder and store."""

from __future__ import annotations

from auditsvc.cli.options import FormOption, StoreOption
from auditsvc.config import load_settings
from auditsvc.render.output import wants_json, write_json, write_table
from auditsvc.status.health import judge
from auditsvc.status.report import make_report


def status(
    store: StoreOption = None,
    form: FormOption = None,
) -> int:
    """Show the state of the kernel, the running service, the forwarder and the store.

    Exit status 0 if all is well, 1 if there is a problem, 3 if the service is not running.
    """
    facts = make_report(load_settings(store=store))
    health = judge(facts)
    facts = {"health": health.as_facts()} | facts
    if wants_json(form):
        write_json(facts)
        return health.status
    write_table(
        (),
        (
            (part if index == 0 else "", name, value)
            for part, values in facts.items()
            for index, (name, value) in enumerate(values.items())
        ),
    )
    return health.status
