"""`auditsvc rules check`: errors in rule files, and rules that do not do what they seem to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from auditsvc.cli.rules.options import PathsArgument
from auditsvc.config import load_settings
from auditsvc.host.terminal import visible
from auditsvc.plural import counted
from auditsvc.rule import Add
from auditsvc.ruleset.advice import advise
from auditsvc.ruleset.sources import read_rules

if TYPE_CHECKING:
    from auditsvc.errors import RuleError


def check(paths: PathsArgument = None) -> int:
    """Check rules without asking the kernel: errors on stderr, warnings on stdout.

    Each is one line that begins with FILE:LINE. Exit status 2 if there is an error.
    """
    errors: list[RuleError] = []
    lines = read_rules(load_settings(), paths, errors)
    warnings = advise(lines)
    for warning in warnings:
        typer.echo(visible(str(warning)))
    for error in errors:
        typer.echo(visible(str(error)), err=True)
    rules = sum(isinstance(line.command, Add) for line in lines)
    if not errors:
        typer.echo(f"{counted(rules, 'rule')}: no errors, {counted(len(warnings), 'warning')}")
    return 2 if errors else 0
