"""`auditsvc coverage`: which tasks the kernel audits, why the others are not, what to do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditsvc.cli.options import StoreOption
from auditsvc.cli.output import FormOption, wants_json, write_json, write_table
from auditsvc.config import Settings, load_settings
from auditsvc.coverage import evidence, periods
from auditsvc.coverage.judge import Evidence, State
from auditsvc.coverage.logged import Logs
from auditsvc.coverage.look import UNASKED, Kernel, Look, ask, epoch, judge_all, shown, summary
from auditsvc.errors import AuditsvcError, UsageError
from auditsvc.kernel import Control, tasks
from auditsvc.kernel.session import own_rules
from auditsvc.state import read_state
from auditsvc.terminal import visible

if TYPE_CHECKING:
    from auditsvc.coverage.periods import Periods

# The running service notes what it watches once a second.
_WAIT_SECONDS = 3.0
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


def take_look(settings: Settings, pids: list[int] | None = None) -> Look:
    """Take one look at the processes, all unless some are named; a note for what is not seen."""
    notes: list[str] = []
    known, now = _known(settings, notes), epoch()
    snapshot = tasks.snapshot()
    if snapshot.hidden:
        notes.append("processes of other users may be hidden from us: ask as root")
    kernel = _kernel(settings, notes)
    known = _note(settings, known, kernel, notes)
    found = Evidence()
    try:
        found = evidence.gather(settings.store, settings.host, snapshot.processes, now)
    except AuditsvcError as error:
        notes.append(f"judged without the rows of the store: {error}")
    found = Evidence(found.proven, found.threads, set(known.silent))
    judgements = judge_all(snapshot.processes, known, found, kernel)
    if pids:
        there = {judgement.process.pid for judgement in judgements}
        if missing := [str(pid) for pid in pids if pid not in there]:
            raise UsageError(
                f"there is no process {', '.join(missing)} that makes system calls",
                "give the pid of a process, not of a thread of it",
            )
        judgements = [each for each in judgements if each.process.pid in pids]
    return Look(kernel, judgements, now, notes)


def _known(settings: Settings, notes: list[str]) -> Periods:
    try:
        return periods.load(settings.runtime_directory)
    except AuditsvcError as error:
        notes.append(f"what was seen before is not known: {error}")
        return periods.nothing()


def _kernel(settings: Settings, notes: list[str]) -> Kernel:
    try:
        ours = own_rules(settings.runtime_directory)
        if ours and read_state(settings.runtime_directory) is None:
            ours = frozenset()  # it was killed: the pids in its rules may be others' by now
        with Control() as control:
            return ask(control, ours)
    except AuditsvcError as error:
        notes.append(f"whether tasks are covered is not known: {error}")
        return UNASKED


def _note(settings: Settings, known: Periods, kernel: Kernel, notes: list[str]) -> Periods:
    """Add this look to what is known, or wait until the running service has looked after it."""
    if not kernel.known:
        return known
    now = tasks.boottime()
    try:
        if read_state(settings.runtime_directory) is not None:
            ends = time.monotonic() + _WAIT_SECONDS
            while (known := periods.load(settings.runtime_directory)).until < now:
                if time.monotonic() > ends:
                    notes.append("the running service does not watch: see `auditsvc status`")
                    break
                time.sleep(0.05)
            else:
                return known
            known.note(now, kernel.logged.enabled, kernel.logged.stand)
            return known
        known.note(now, kernel.logged.enabled, kernel.logged.stand)
        periods.save(settings.runtime_directory, known)
    except AuditsvcError as error:
        notes.append(f"what the service saw is not known: {error}")
    except OSError as error:
        notes.append(f"this look cannot be kept: {error.filename}: {error.strerror}")
    return known


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
    lines += [f"New tasks are not covered: {rule}" for rule in logged.never_task]
    lines += [f"Some calls are taken out: {rule}" for rule in logged.exceptions]
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
