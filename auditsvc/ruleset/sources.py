"""Which rules are meant: those that are named, those of the settings, or those of the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.errors import RuleError
from auditsvc.rule import Add, OnError, read
from auditsvc.ruleset.controls import absent, default, find
from auditsvc.ruleset.wanted import Want, want

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
    """Read the lines of the files, folders and shipped sets that are named, else of those in use.

    Wrong ones as `rule.read` has it; that none of this name is there is an error too.
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
) -> tuple[Want, list[str]]:
    """Sum up what `read_rules` gives; beside it, a line for each that is left out.

    Where a file says -i or -c, wrong lines are left out, and rules that need what is not on
    this host: the kernel would refuse these each time, and those round them would have to
    move. Else the first wrong line is raised.
    """
    errors: list[RuleError] = []
    wanted = want(read_rules(settings, named, errors))
    if wanted.on_error is None:
        if errors:
            more = f"; {len(errors) - 1} more: see `auditsvc rules check`" if errors[1:] else ""
            raise RuleError(f"{errors[0]}{more}")
        return wanted, []
    left_out = [str(error) for error in errors]
    there = []
    for each in wanted.rules:
        lacking = absent(each.rule)
        if lacking:
            left_out.append(f"{wanted.where[each.rule]}: `{each.rule}`: {lacking} is not there")
        else:
            there.append(each)
    wanted.rules = there
    return wanted, left_out


def rules_in_use(settings: Settings) -> tuple[list[Add], list[str]]:
    """Read and check the rules (RuleError names file, line and column); the kernel is not asked.

    Beside them come notes on the lines that are left out. `run` adds rules and puts
    everything back at its end, so lines that delete rules or set the kernel (-D, -b,
    -e, -f, -r ...) are not for it. Where a file says -i or -c, neither are rules for
    what is not on this host: the kernel would refuse them.
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
    lacking = absent(command.rule) if lenient else None
    return f"{lacking} is not there" if lacking else ""
