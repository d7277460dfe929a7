"""`auditsvc rules load`: replaces the kernel's rules by the wanted ones, without a gap."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from auditsvc.cli.rules.diff import changed
from auditsvc.cli.rules.options import ExclusiveOption
from auditsvc.config import load_settings
from auditsvc.errors import LockedError, UsageError
from auditsvc.host.terminal import visible
from auditsvc.kernel import Control
from auditsvc.kernel.load_rules import compare
from auditsvc.kernel.load_rules import load as load_rules
from auditsvc.kernel.messages import LOCKED
from auditsvc.plural import counted
from auditsvc.ruleset.sources import wanted_rules
from auditsvc.ruleset.wanted import Wanted, has_key
from auditsvc.runtime.lock import exclusive_lock

if TYPE_CHECKING:
    from collections.abc import Sized

    from auditsvc.ruleset.difference import Difference


def load(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Rule files, folders, or names of shipped sets.",
            metavar="PATH",
            show_default=False,
        ),
    ] = None,
    exclusive: ExclusiveOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change and change nothing.")
    ] = False,
) -> int:
    """Add, move and delete only what differs; if the kernel refuses a part, undo everything.

    Rules of earlier loads that are no longer wanted are deleted; rules of others stay, unless
    --exclusive. A backlog limit below that of the running service counts when it stops. If the
    files have -i or -c, wrong or refused rules are left out instead, with
    one line for each; after -c the exit status is then 1.
    """
    settings = load_settings()
    if not paths:
        raise UsageError(
            "`rules load` needs the rules to load",
            "give a rule file, a folder or a set: auditsvc rules load /etc/auditsvc/rules.d",
        )
    wanted, left_out = wanted_rules(settings, paths)
    held = nullcontext() if dry_run else exclusive_lock(settings.runtime_directory)
    with Control() as control, held:
        found = compare(control, wanted, settings.runtime_directory, exclusive=exclusive)
        _show_not_deleted(wanted, found)
        if dry_run:
            _show(found, "would change")
        elif control.status().enabled == LOCKED and not found.equal:
            _show(found, "cannot change")
            raise LockedError(
                "audit is locked (-e 2): the rules cannot be changed", "only a reboot unlocks it"
            )
        else:
            skip = left_out.append if wanted.on_error else None
            done = load_rules(control, wanted, found, settings.runtime_directory, skip)
            _show(done, "changed")
    for line in left_out:
        typer.echo(visible(f"auditsvc: left out: {line}"), err=True)
    return 1 if left_out and wanted.on_error == "continue" else 0


def _show_not_deleted(wanted: Wanted, found: Difference) -> None:
    for line in wanted.delete_all:
        key = getattr(line.command, "key", None)
        staying = sum(has_key(rule, key) for rule in (*found.foreign, *found.held))
        if staying:
            typer.echo(
                visible(
                    f"{line.filename}:{line.number}: `{line.text}` does not delete "
                    f"{counted(staying, 'rule')} that others loaded; --exclusive does"
                )
            )


def _show(found: Difference, done: str) -> None:
    for line in changed(found):
        typer.echo(visible(line))
    counts: dict[str, Sized] = {
        "settings": found.settings,
        "added": found.missing,
        "moved": found.misplaced,
        "deleted": found.unwanted,
    }
    summary = ", ".join(f"{len(each)} {name}" for name, each in counts.items() if len(each))
    staying = [
        f"not changed: {counted(len(rules), 'rule')} of {whose}"
        for whose, rules in (("others", found.foreign), ("the running service", found.held))
        if rules
    ]
    staying += [
        f"`{each}` counts when the service stops, which needs {each.now}" for each in found.kept
    ]
    typer.echo("; ".join([f"{done}: {summary or 'nothing'}", *staying]))
