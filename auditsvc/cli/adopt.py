"""`auditsvc adopt`: changes over from auditd, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditsvc.adopt import back as returning
from auditsvc.adopt import change as changing
from auditsvc.adopt import daemons
from auditsvc.adopt.plan import FOLDER, Plan, logs_of, make_plan
from auditsvc.adopt.plan_line import Verdict
from auditsvc.cli.options import FormOption, StoreOption
from auditsvc.config import Settings, load_settings, settings_file
from auditsvc.errors import AuditsvcError, UsageError
from auditsvc.host.terminal import visible
from auditsvc.kernel.control import Control
from auditsvc.plural import counted
from auditsvc.render.output import wants_json, write_json, write_table


def adopt(
    *,
    apply: Annotated[
        bool, typer.Option("--apply", help="Do it. Without it, what would be done is shown.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done: the default.")
    ] = False,
    back: Annotated[
        bool, typer.Option("--back", help="The other way: stop auditsvc, and start auditd again.")
    ] = False,
    folder: Annotated[
        Path, typer.Option("--from", help="The folder of auditd.conf and rules.d.", metavar="DIR")
    ] = FOLDER,
    store: StoreOption = None,
    form: FormOption = None,
) -> int:
    """Change over from auditd: settings, rules, old logs and the kernel's socket; or back.

    Shows what each setting, rule file and plugin of auditd becomes, or what to do instead. With
    --apply: writes the settings (an earlier file is kept aside), loads auditd's logs, stops
    auditd and becomes the audit daemon. All records in between are copied and loaded, each event
    once. If it is interrupted, run it again.

    Exit status 1 if it cannot be done, or if records may be missing.
    """
    if apply and dry_run:
        raise UsageError("give --apply or --dry-run, not both", "see `auditsvc adopt --help`")
    settings = load_settings(store=store)
    if back:
        if not apply:
            _show_steps(returning.steps(settings, folder), form)
            return 0
        return 0 if returning.go_back(settings, folder, _say) else 1
    with Control() as control:
        loaded = control.rules()
    plan = make_plan(folder, settings, settings_file(), loaded, store)
    if not apply:
        _show(plan, settings, form)
        return 1 if plan.blockers else 0
    if plan.blockers:
        raise AuditsvcError(
            plan.blockers[0], "correct that; `auditsvc adopt` shows all of the plan"
        )
    if changing.is_done(settings):
        _say("auditsvc is the audit daemon already, and all is loaded; nothing to do")
        return 0
    return 0 if changing.change(plan, settings, _say) else 1


def _say(line: str) -> None:
    typer.echo(visible(line))


def _show_steps(steps: list[str], form: FormOption) -> None:
    if wants_json(form):
        write_json({"steps": steps})
        return
    for each in steps:
        _say(each)
    _say("nothing was changed; --apply does it")


def _show(plan: Plan, settings: Settings, form: FormOption) -> None:
    daemon = _daemon(settings)
    if wants_json(form):
        write_json({"daemon": daemon, **plan.as_json()})
        return
    for verdict in Verdict:
        lines = [each for each in plan.lines if each.verdict is verdict]
        if lines:
            if verdict is not Verdict.TAKEN:
                typer.echo()
            _say(f"{verdict} ({len(lines)})" if verdict is not Verdict.TAKEN else str(verdict))
            write_table((), ((each.where, each.said, each.becomes) for each in lines))
    logs = logs_of(plan.log)
    size = sum(each.stat().st_size for each in logs)
    typer.echo()
    _say(f"audit daemon: {daemon}")
    _say(f"logs to load: {counted(len(logs), 'file')}, {counted(size, 'byte')} ({plan.log})")
    _say(f"settings: {plan.path}")
    typer.echo()
    for line in plan.text.splitlines():
        _say(f"    {line}".rstrip())
    for each in plan.blockers:
        typer.echo(visible(f"auditsvc: {each}"), err=True)
    typer.echo()
    _say("nothing was changed; --apply does it" if not plan.blockers else "nothing was changed")


def _daemon(settings: Settings) -> str:
    pid = daemons.registered()
    if not pid:
        return "none"
    whose = "auditsvc" if daemons.is_ours(pid, settings.runtime_directory) else ""
    return f"{whose or daemons.program_of(pid)} (pid {pid})"
