"""The state of kernel, service, forwarder and store, as JSON values. Changes nothing.

A part that cannot be read has `refused` with the reason instead of its facts.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from auditsvc.decode import decoder_in_use
from auditsvc.errors import AuditsvcError
from auditsvc.kernel.control import Control
from auditsvc.retention import archive_due
from auditsvc.retention import report as retention
from auditsvc.runtime.forward_state import CONSUMER
from auditsvc.runtime.forward_state import read_state as read_forward_state
from auditsvc.runtime.service_state import read_state
from auditsvc.runtime.switch_requests import wanted_on
from auditsvc.status import fleet
from auditsvc.store.read.questions import asked_together, lag, ledger_totals

if TYPE_CHECKING:
    from auditsvc.config import Settings

Facts = dict[str, Any]


def make_report(settings: Settings) -> dict[str, Facts]:
    """Gather the facts of each part, by its name."""
    with asked_together(settings.store):
        return {
            "kernel": _kernel(settings),
            "service": _service(settings),
            "forwarder": _forwarder(settings),
            "store": _store(settings),
            "retention": _retention(settings),
            "archive": _archive(settings),
            "fleet": _fleet(settings),
        }


def _kernel(settings: Settings) -> Facts:
    try:
        with Control() as control:
            found = asdict(control.status()) | {"rules": len(control.rules())}
        # The last request; if `enabled` differs, another program has changed it.
        return found | {"switch": "on" if wanted_on(settings.runtime_directory) else "off"}
    except AuditsvcError as error:
        return {"refused": str(error)}


def _service(settings: Settings) -> Facts:
    try:
        state = read_state(settings.runtime_directory)
    except AuditsvcError as error:
        return {"refused": str(error)}
    if state is None:
        return {"running": False, "decoder": decoder_in_use(settings.decoder_name)}
    return {"running": True, "age": _age(state.written)} | asdict(state)


def _forwarder(settings: Settings) -> Facts:
    """How far the journal is behind; the forwarder's state is old if journald blocks it."""
    try:
        state = read_forward_state(settings.runtime_directory)
    except OSError as error:
        return {"refused": f"{error.filename}: {error.strerror}"}
    facts: Facts = {"enabled": settings.forward.enabled, "running": state is not None}
    if state is not None:
        facts |= {"age": _age(state.written)} | asdict(state)
    try:
        behind = lag(settings.store, CONSUMER)
    except AuditsvcError as error:
        return facts | {"refused": str(error)}
    if behind is not None:
        facts["waiting_transactions"] = behind.arrivals
        facts["lag_seconds"] = round(behind.seconds, 1)
    return facts


def _store(settings: Settings) -> Facts:
    try:
        return dict(ledger_totals(settings.store))
    except AuditsvcError as error:
        return {"refused": str(error)}


def _retention(settings: Settings) -> Facts:
    try:
        return retention.make_report(settings.store, settings.retention)
    except AuditsvcError as error:
        return {"refused": str(error)}


def _archive(settings: Settings) -> Facts:
    try:
        return archive_due.make_report(settings.store, settings.archive, time.time())
    except AuditsvcError as error:
        return {"refused": str(error)}


def _fleet(settings: Settings) -> Facts:
    try:
        return fleet.make_report(settings)
    except AuditsvcError as error:
        return {"refused": str(error)}


def _age(written: float) -> float:
    return round(time.time() - written, 1)
