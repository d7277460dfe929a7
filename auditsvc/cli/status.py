"""`auditsvc status`: the state of kernel, service, forwarder and store."""

from __future__ import annotations

from auditsvc.cli.options import FormOption, StoreOption
from auditsvc.config import load_settings
from auditsvc.render.output import wants_json, write_json, write_table
from auditsvc.status.report import make_report


def status(
    store: StoreOption = None,
    form: FormOption = None,
) -> None:
    """Show the state of the kernel, the running service, the forwarder and the store."""
    facts = make_report(load_settings(store=store))
    if wants_json(form):
        write_json(facts)
        return
    write_table(
        (),
        (
            (part if index == 0 else "", name, value)
            for part, values in facts.items()
            for index, (name, value) in enumerate(values.items())
        ),
    )
