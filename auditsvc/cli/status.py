"""`auditsvc status`: the kernel, the service, the store, at a glance."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from auditsvc.cli.options import StoreOption
from auditsvc.cli.output import FormOption, wants_json, write_json, write_table
from auditsvc.config import Settings, load_settings
from auditsvc.decode import decoder_in_use
from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.errors import AuditsvcError
from auditsvc.journal.choice import CONSUMER
from auditsvc.journal.process import read_state as read_forward_state
from auditsvc.kernel.control import Control
from auditsvc.query import run_query
from auditsvc.state import read_state
from auditsvc.switch import wanted_on


def status(
    store: StoreOption = None,
    form: FormOption = None,
) -> None:
    """Show what the kernel, the running service and the store say. Changes nothing."""
    settings = load_settings(store=store)
    facts: dict[str, dict[str, Any]] = {
        "kernel": _kernel(settings),
        "service": _service(settings),
        "forwarder": _forwarder(settings),
        "store": _store(settings),
    }
    if wants_json(form):
        write_json(facts)
        return
    write_table(
        (),
        (
            (part if place == 0 else "", name, value)
            for part, values in facts.items()
            for place, (name, value) in enumerate(values.items())
        ),
    )


def _kernel(settings: Settings) -> dict[str, Any]:
    try:
        with Control() as control:
            found = asdict(control.status()) | {"rules": len(control.rules())}
        # What was asked for last; where `enabled` says otherwise, somebody else has set it.
        return found | {"switch": "on" if wanted_on(settings.runtime_directory) else "off"}
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


def _forwarder(settings: Settings) -> dict[str, Any]:
    """Tell how far behind the journal is; what the forwarder says is old where journald blocks."""
    try:
        state = read_forward_state(settings.runtime_directory)
    except OSError as error:
        return {"refused": f"{error.filename}: {error.strerror}"}
    facts: dict[str, Any] = {"enabled": settings.forward.enabled, "running": state is not None}
    if state is not None:
        facts |= {"age": round(time.time() - state.written, 1)} | asdict(state)
    try:
        with run_query(settings.store, _LAG) as rows:
            for arrivals, oldest in rows:
                seconds = max(0.0, time.time() - int(str(oldest))) if oldest is not None else 0.0
                facts |= {"waiting_transactions": arrivals, "lag_seconds": round(seconds, 1)}
    except AuditsvcError as error:
        facts["refused"] = str(error)
    return facts


# What arrived in the store and was not read back from the journal yet.
_LAG = f"""
    SELECT count(a.seq), min(a.high) >> {SERIAL_BITS}
    FROM consumer c LEFT JOIN arrival a ON a.seq >= c.seq
    WHERE c.name = '{CONSUMER}' GROUP BY c.name"""  # noqa: S608 - made of our own words


def _store(settings: Settings) -> dict[str, Any]:
    try:
        with run_query(
            settings.store, "SELECT cause, sum(count) FROM ledger GROUP BY cause"
        ) as rows:
            return {str(cause): int(str(count)) for cause, count in rows}
    except AuditsvcError as error:
        return {"refused": str(error)}
