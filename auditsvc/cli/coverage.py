"""`auditsvc coverage`: which tasks the kernel audits, why the others are not, what to do."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from auditsvc.cli.options import FormOption, StoreOption
from auditsvc.config import load_settings
from auditsvc.coverage.judge import State
from auditsvc.coverage.report import take_look
from auditsvc.coverage.rule_effect import Logs
from auditsvc.coverage.snapshot import Look, shown, summary
from auditsvc.host.terminal import visible
from auditsvc.render.output import wants_json, write_json, write_table
from auditsvc.rule import printing

_SHOWN_PIDS = 6

_LOGS = {
    Logs.EVERY: "every call of a covered task is logged",
    Logs.SOME: "the rules ask for some calls: only those of a covered task are logged",
    Logs.NOTHING: "no rule asks for any call: nothing is logged now",
}


def coverage(
    store: StoreOption = None,
    form: FormOption = None,
    everybody: Annotated[
        bool,
        typer.Option("--all", help="List the covered and exempt too, as JSON does."),
    ] = False,
    pid: Annotated[
        list[int] | None,
        typer.Option("--pid", help="Judge this process alone; may be repeated.", metavar="PID"),
    ] = None,
) -> int:
    """Show for each process whether its system calls can be logged, why not, and what to do.

    Exit status 1 when a task is known not to be covered, or when audit is off or has no
    rule. What is not known is said and is no failure.
    """
    look = take_look(load_settings(store=store), pid)
    processes = [shown(look, judgement) for judgement in look.judgements]
    if wants_json(form):
        write_json(summary(look) | {"list": processes})
    else:
        _write(look, processes, everybody=everybody or bool(pid))
    return 0 if look.well else 1


def _write(look: Look, processes: list[dict[str, Any]], *, everybody: bool) -> None:
    """Write it for a person: the switch first, then the sum, then whom it concerns and why."""
    for line in _head(look):
        typer.echo(visible(line))
    for state in State:
        members = [each for each in processes if each["state"] == state]
        if not everybody and state in (State.COVERED, State.EXEMPT):
            continue
        for why in dict.fromkeys(each["why"] for each in members):
            _write_group(state, why, [each for each in members if each["why"] == why])


def _write_group(state: State, why: str, members: list[dict[str, Any]]) -> None:
    """Write those of one state and reason: a line for each unit, or program outside of any."""
    typer.echo()
    typer.echo(visible(f"{state.replace('_', ' ').upper()}: {why}"))
    remedies = {each["do"] for each in members}
    if len(remedies) == 1 and (common := remedies.pop()):
        typer.echo(visible(f"  What to do: {common}"))
    places: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in members:
        place = each["unit"] or each["exe"] or each["comm"]
        places.setdefault((place, each["do"]), []).append(each)
    write_table(
        (),
        (
            ("", _pids([each["pid"] for each in those]), those[0]["comm"], place)
            + ((do,) if remedies else ())
            for (place, do), those in places.items()
        ),
    )


def _head(look: Look) -> list[str]:
    logged, lines = look.kernel.logged, []
    if not look.kernel.known:
        lines.append("Coverage is not known.")
    elif not logged.enabled:
        lines.append("Audit is off: nothing is logged now (auditsvc run switches it on).")
    else:
        lines.append(f"Audit is on: {_LOGS[logged.logs]}.")
    lines += [f"New tasks are not covered: {printing.text(rule)}" for rule in logged.never_task]
    lines += [f"Some calls are taken out: {printing.text(rule)}" for rule in logged.exceptions]
    count = look.tasks
    if look.share is not None:
        whole = sum(count.values()) - count[State.EXEMPT]
        lines.append(
            f"{count[State.COVERED]} of {whole} tasks are covered ({look.share:.1%}):"
            f" {count[State.NOT_COVERED]} not covered, {count[State.UNKNOWN]} unknown;"
            f" {count[State.EXEMPT]} exempt."
        )
    return lines + [f"Note: {note}" for note in look.notes]


def _pids(pids: list[int]) -> str:
    more = len(pids) - _SHOWN_PIDS
    return " ".join(map(str, pids[:_SHOWN_PIDS])) + (f" and {more} more" if more > 0 else "")
