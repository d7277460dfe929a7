"""`auditsvc coverage`: which tasks the kernel audits, why not the others, and what to do."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from auditsvc.cli.options import FormOption, StoreOption
from auditsvc.config import load_settings
from auditsvc.coverage.judge import CoverageState
from auditsvc.coverage.report import take_look
from auditsvc.coverage.rule_effect import Logs
from auditsvc.coverage.snapshot import Look, judgement_json, summary
from auditsvc.host.terminal import visible
from auditsvc.render.output import wants_json, write_json, write_table
from auditsvc.rule import printing

_SHOWN_PIDS = 6

_LOGS = {
    Logs.EVERY: "every call of a covered task is logged",
    Logs.SOME: "the rules ask for some calls: only these calls of a covered task are logged",
    Logs.NOTHING: "no rule asks for any call: nothing is logged",
}


def coverage(
    store: StoreOption = None,
    form: FormOption = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="List covered and exempt processes too, as JSON does."),
    ] = False,
    pid: Annotated[
        list[int] | None,
        typer.Option("--pid", help="Show this process only; may be repeated.", metavar="PID"),
    ] = None,
) -> int:
    """Show for each process whether its system calls can be logged, why not, and what to do.

    Exit status 1 if a task is known not to be covered, if audit is off, or if no rule asks
    for a record. Unknown tasks are listed, but are not a failure.
    """
    look = take_look(load_settings(store=store), pid)
    processes = [judgement_json(look, judgement) for judgement in look.judgements]
    if wants_json(form):
        write_json(summary(look) | {"list": processes})
    else:
        _write(look, processes, every=every or bool(pid))
    return 0 if look.is_complete else 1


def _write(look: Look, processes: list[dict[str, Any]], *, every: bool) -> None:
    """Write it for a person: the switch, the totals, then the processes by state and reason."""
    for line in _head(look):
        typer.echo(visible(line))
    for state in CoverageState:
        members = [each for each in processes if each["state"] == state]
        if not every and state in (CoverageState.COVERED, CoverageState.EXEMPT):
            continue
        for why in dict.fromkeys(each["why"] for each in members):
            _write_group(state, why, [each for each in members if each["why"] == why])


def _write_group(state: CoverageState, why: str, members: list[dict[str, Any]]) -> None:
    """Write those of one state and reason: a line for each unit, or program without a unit."""
    typer.echo()
    typer.echo(visible(f"{state.replace('_', ' ').upper()}: {why}"))
    remedies = {each["do"] for each in members}
    if len(remedies) == 1 and (common := remedies.pop()):
        typer.echo(visible(f"  What to do: {common}"))
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in members:
        unit = each["unit"] or each["exe"] or each["comm"]
        groups.setdefault((unit, each["do"]), []).append(each)
    write_table(
        (),
        (
            ("", _pids([each["pid"] for each in those]), those[0]["comm"], unit)
            + ((do,) if remedies else ())
            for (unit, do), those in groups.items()
        ),
    )


def _head(look: Look) -> list[str]:
    logged, lines = look.kernel.logged, []
    if not look.kernel.known:
        lines.append("Coverage is unknown.")
    elif not logged.enabled:
        switch = "on" if look.asked_off else "run"
        lines.append(f"Audit is off: nothing is logged. To switch it on: auditsvc {switch}.")
    else:
        lines.append(f"Audit is on: {_LOGS[logged.logs]}.")
    lines += [f"New tasks are not covered: {printing.text(rule)}" for rule in logged.never_task]
    lines += [f"Some calls are excluded: {printing.text(rule)}" for rule in logged.exceptions]
    count = look.tasks
    if look.share is not None:
        total = sum(count.values()) - count[CoverageState.EXEMPT]
        lines.append(
            f"{count[CoverageState.COVERED]} of {total} tasks are covered ({look.share:.1%}):"
            f" {count[CoverageState.NOT_COVERED]} not covered,"
            f" {count[CoverageState.UNKNOWN]} unknown; {count[CoverageState.EXEMPT]} exempt."
        )
    return lines + [f"Note: {note}" for note in look.notes]


def _pids(pids: list[int]) -> str:
    more = len(pids) - _SHOWN_PIDS
    return " ".join(map(str, pids[:_SHOWN_PIDS])) + (f" and {more} more" if more > 0 else "")
