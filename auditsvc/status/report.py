"""The state of kernel, service, forwarder and store, as JSON values. Changes nothing.

A part that cannot be read has `refused` with the reason instead of its facts.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TypeVar

from auditsvc.decode import decoder_in_use
from auditsvc.errors import AuditsvcError, of_system
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
    from collections.abc import Callable

    from auditsvc.config import Settings

Answer = TypeVar("Answer")

Facts = dict[str, Any]

_LONG: Final = 5.0
"""Seconds; who waited so long in vain for the store does not ask it again."""


class _Asked:
    """The store, which several parts ask one after the other."""

    def __init__(self) -> None:
        self._refused: AuditsvcError | None = None
        """Why it was waited for in vain."""

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """Give the answer to a question; AuditsvcError, at once if one was waited for in vain."""
        if self._refused is not None:
            raise self._refused
        began = time.monotonic()
        try:
            return question()
        except AuditsvcError as error:
            if time.monotonic() - began >= _LONG:
                self._refused = error
            raise

    def facts(self, question: Callable[[], Facts]) -> Facts:
        """Give the facts of a part, or why there are none."""
        try:
            return self.ask(question)
        except AuditsvcError as error:
            return {"refused": str(error)}


def make_report(settings: Settings) -> dict[str, Facts]:
    """Gather the facts of each part, by its name."""
    url, asked = settings.store, _Asked()
    with asked_together(url):
        return {
            "kernel": _kernel(settings),
            "service": _service(settings),
            "forwarder": _forwarder(settings, asked),
            "store": asked.facts(lambda: dict(ledger_totals(url))),
            "retention": asked.facts(lambda: retention.make_report(url, settings.retention)),
            "archive": _archive(settings, asked),
            "fleet": _fleet(settings, asked),
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


def _forwarder(settings: Settings, asked: _Asked) -> Facts:
    """How far the journal is behind; the forwarder's state is old if journald blocks it."""
    try:
        state = read_forward_state(settings.runtime_directory)
    except OSError as error:
        return {"refused": of_system(error)}
    facts: Facts = {"enabled": settings.forward.enabled, "running": state is not None}
    if state is not None:
        facts |= {"age": _age(state.written)} | asdict(state)
    try:
        behind = asked.ask(lambda: lag(settings.store, CONSUMER))
    except AuditsvcError as error:
        return facts | {"refused": str(error)}
    if behind is not None:
        facts["waiting_transactions"] = behind.arrivals
        facts["lag_seconds"] = round(behind.seconds, 1)
    return facts


def _archive(settings: Settings, asked: _Asked) -> Facts:
    def question() -> Facts:
        return archive_due.make_report(settings.store, settings.archive, time.time())

    return question() if settings.archive.to is None else asked.facts(question)


def _fleet(settings: Settings, asked: _Asked) -> Facts:
    def question() -> Facts:
        return fleet.make_report(settings)

    return question() if settings.fleet.bucket is None else asked.facts(question)


def _age(written: float) -> float:
    return round(time.time() - written, 1)
