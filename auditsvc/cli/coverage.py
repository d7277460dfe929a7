"""`auditsvc coverage`: which tasks the kernel audits, why not the others, and what to do."""

from __future__ import annotations

import shutil
import sys
from textwrap import wrap
from typing import Annotated, Any

import typer

from auditsvc.cli.options import FormOption, StoreOption
from auditsvc.config import load_settings
from auditsvc.coverage.judge import CoverageState
from auditsvc.coverage.report import take_look
from auditsvc.coverage.rule_effect import Logs
from auditsvc.coverage.snapshot import Look, judgement_json, summary
from auditsvc.host.terminal import visible
from auditsvc.render.output import wants_json, write_json
from auditsvc.rule import printing

_SHOWN_PIDS = 3
_COLUMNS = 80

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
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else _COLUMNS
    for line in _head(look):
        _wrapped(line, "", columns)
    for state in CoverageState:
        members = [each for each in processes if each["state"] == state]
        if not every and state in (CoverageState.COVERED, CoverageState.EXEMPT):
            continue
        for why in dict.fromkeys(each["why"] for each in members):
            _write_group(state, why, [each for each in members if each["why"] == why])


def _write_group(state: CoverageState, why: str, members: list[dict[str, Any]]) -> None:
    """Write those of one state and reason: each advice once, then a line for each unit."""
    typer.echo()
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else _COLUMNS
    _wrapped(f"{state.replace('_', ' ').upper()}: {why}", "", columns)
    for remedy in dict.fromkeys(each["do"] for each in members):
        if remedy:
            _wrapped(f"What to do: {remedy}", "  ", columns)
        groups: dict[str, list[dict[str, Any]]] = {}
        for each in members:
            if each["do"] == remedy:
                groups.setdefault(each["unit"] or each["exe"] or each["comm"], []).append(each)
        for unit, those in groups.items():
            typer.echo(_line(those[0]["comm"], [each["pid"] for each in those], unit, columns))


def _line(comm: str, pids: list[int], unit: str, columns: int) -> str:
    """Give one line: name, pids, and the end of the unit's path if all of it has no room."""
    begin = f"    {visible(comm):<15} {_pids(pids)}  "
    name, room = visible(unit), columns - len(begin)
    return (begin + (name if len(name) <= room else "..." + name[3 - room :]))[:columns]


def _wrapped(text: str, indent: str, columns: int) -> None:
    for line in wrap(
        visible(text), columns, initial_indent=indent, subsequent_indent=f"{indent}  "
    ):
        typer.echo(line)


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
