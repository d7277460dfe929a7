"""The sources of rules: named files or sets, those of the settings, or the default set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.errors import RuleError
from auditsvc.rule import Add, OnError, read
from auditsvc.ruleset.controls import default, find, missing_folder
from auditsvc.ruleset.wanted import Wanted, sum_up

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditsvc.config import Settings
    from auditsvc.rule import Command, Line


def read_rules(
    settings: Settings,
    named: Sequence[str | Path] | None = None,
    errors: list[RuleError] | None = None,
) -> list[Line]:
    """Read the lines of the named files, folders and sets, by default of those in the settings.

    Errors are handled as by `rule.read`; an unknown name is an error too.
    """
    lines: list[Line] = []
    for each in named or settings.rules or ():
        try:
            path = find(each)
        except RuleError as error:
            if errors is None:
                raise
            errors.append(error)
        else:
            lines += read(path, errors=errors)
    if not named and settings.rules is None:
        lines = read(default(), errors=errors)
    return lines


def wanted_rules(
    settings: Settings, named: Sequence[str | Path] | None = None
) -> tuple[Wanted, list[str]]:
    """Sum up the lines of `read_rules`; also gives a note for each rule that is left out.

    If a file has -i or -c, wrong lines are left out, and so are rules for folders that do
    not exist on this host: the kernel would refuse them at each load, and the rules next to
    them would have to move. Otherwise the first wrong line raises RuleError.
    """
    errors: list[RuleError] = []
    wanted = sum_up(read_rules(settings, named, errors))
    if wanted.on_error is None:
        if errors:
            more = f"; {len(errors) - 1} more: see `auditsvc rules check`" if errors[1:] else ""
            raise RuleError(f"{errors[0]}{more}")
        return wanted, []
    left_out = [str(error) for error in errors]
    there = []
    for each in wanted.rules:
        lacking = missing_folder(each.rule)
        if lacking:
            left_out.append(f"{wanted.where[each.rule]}: `{each.rule}`: {lacking} does not exist")
        else:
            there.append(each)
    wanted.rules = there
    return wanted, left_out


def rules_in_use(settings: Settings) -> tuple[list[Add], list[str]]:
    """Read and check the rules for `run`; RuleError has file, line and column. No kernel access.

    Also gives notes on the lines that are left out. `run` adds rules and restores everything
    at its end, so it leaves out lines that delete rules or change settings (-D, -b, -e, -f,
    -r ...). If a file has -i or -c, rules for folders that do not exist on this host are
    left out too: the kernel would refuse them.
    """
    rules: list[Add] = []
    notes: list[str] = []
    paths = [default()] if settings.rules is None else [find(each) for each in settings.rules]
    for path in paths:
        lenient = False
        for line in read(path):
            if isinstance(line.command, OnError):
                lenient = True
                continue
            why = _left_out(line.command, lenient=lenient)
            if why:
                notes.append(f"{line.filename}:{line.number}: `{line.text}` is left out: {why}")
            elif isinstance(line.command, Add):
                rules.append(line.command)
    return rules, notes


def _left_out(command: Command, *, lenient: bool) -> str:
    if not isinstance(command, Add):
        return "run only adds rules"
    lacking = missing_folder(command.rule) if lenient else None
    return f"{lacking} does not exist" if lacking else ""
