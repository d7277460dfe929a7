"""The common part of `on` and `off`: shows the result of a flip."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from auditsvc.config import load_settings
from auditsvc.host.terminal import visible
from auditsvc.plural import counted
from auditsvc.render.output import wants_json, write_json
from auditsvc.switch import flip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.render.output import Form
    from auditsvc.switch import Flip, Probed


def flip_and_show(form: Form | None, *, on: bool) -> None:
    """Flip and show the result: sentences on a terminal, else JSON."""
    done = flip(load_settings().runtime_directory, on=on)
    if wants_json(form):
        write_json(asdict(done))
        return
    for sentence in _sentences(done):
        typer.echo(visible(sentence))


def _sentences(done: Flip) -> Iterator[str]:
    state = "on" if done.enabled else "off"
    if not done.changed:
        yield f"Audit was already {state}."
    else:
        yield f"Audit is {state}: the kernel answered after {_time(done.switch_us)}."
    if done.enabled:
        yield f"Traced: {done.traces}."
    if done.probe is not None:
        yield _probed(done.probe, on=bool(done.enabled))
    if done.in_flight is not None:
        yield f"Calls that began before and ended after, with a record: {done.in_flight}."
    if done.still_in_calls:
        yield (
            f"Tasks still in a call that began before: at most {done.still_in_calls}. Such a call "
            "has a record when it ends."
        )
    yield from (f"Note: {note}." for note in done.notes)


def _probed(probe: Probed, *, on: bool) -> str:
    whose = "a running task" if probe.forked == "before" else "a task forked afterwards"
    records = "each with a record" if not probe.missing else f"{probe.missing} WITHOUT a record"
    if on:
        return (
            f"The first traced call of {whose} began {_time(probe.first_call_us)} after the "
            f"request; {counted(probe.calls, 'call')} from there on, {records}; {probe.late} not "
            "traced after the kernel's answer."
        )
    return (
        f"The last traced call of {whose} began {_when(probe.last_call_us)} the request, the "
        f"first one not traced {_when(probe.ceased_us)} it; {counted(probe.calls, 'call')} up to "
        f"there, {records}; {probe.late} traced after the kernel's answer."
    )


def _when(microseconds: float | None) -> str:
    if microseconds is None:
        return "at an unknown time after"
    return f"{_time(abs(microseconds))} {'after' if microseconds >= 0 else 'before'}"


def _time(microseconds: float | None) -> str:
    if microseconds is None:
        return "-"
    if abs(microseconds) < 1000:
        return f"{microseconds:.0f} us"
    return f"{microseconds / 1000:.1f} ms"
