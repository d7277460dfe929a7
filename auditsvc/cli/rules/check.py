"""`auditsvc rules check`: what is wrong in rule files, and what does not do what it seems to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from auditsvc.cli.rules.options import PathsArgument
from auditsvc.config import load_settings
from auditsvc.host.terminal import visible
from auditsvc.rule import Add
from auditsvc.ruleset.advice import advise
from auditsvc.ruleset.sources import read_rules

if TYPE_CHECKING:
    from auditsvc.errors import RuleError


def check(paths: PathsArgument = None) -> int:
    """Read rules and ask nobody: errors on stderr (exit status 2), warnings on stdout.

    Each is one line that begins with FILE:LINE.
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
        typer.echo(f"{rules} rules: no errors, {len(warnings)} warnings")
    return 2 if errors else 0
