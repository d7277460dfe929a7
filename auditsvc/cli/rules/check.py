"""`auditsvc rules check`: errors in rule files, and rules that do not do what they seem to."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import typer

from auditsvc.cli.rules.options import PathsArgument
from auditsvc.config import load_settings
from auditsvc.host.terminal import visible
from auditsvc.plural import counted
from auditsvc.rule import Add
from auditsvc.ruleset.advice import advise
from auditsvc.ruleset.sources import read_rules
from auditsvc.ruleset.watched_paths import check_paths

if TYPE_CHECKING:
    from auditsvc.errors import RuleError


def check(paths: PathsArgument = None) -> int:
    """Check rules without the kernel: errors on stderr, warnings and notes on stdout.

    Each is one line that begins with FILE:LINE. Exit status 2 if there is an error.
    """
    errors: list[RuleError] = []
    lines = read_rules(load_settings(), paths, errors)
    found = [*advise(lines), *check_paths(lines)]
    order = {(line.filename, line.number): index for index, line in enumerate(lines)}
    for each in sorted(found, key=lambda each: order[each.filename, each.number]):
        typer.echo(visible(str(each)))
    for error in errors:
        typer.echo(visible(str(error)), err=True)
    rules = sum(isinstance(line.command, Add) for line in lines)
    if not errors:
        kinds = Counter(each.kind for each in found)
        notes = f", {counted(kinds['note'], 'note')}" if kinds["note"] else ""
        warnings = counted(kinds["warning"], "warning")
        typer.echo(f"{counted(rules, 'rule')}: no errors, {warnings}{notes}")
    return 2 if errors else 0
