"""`auditsvc rules diff`: compares the wanted rules with the kernel's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from auditsvc.cli.options import FormOption
from auditsvc.cli.rules.options import ExclusiveOption, PathsArgument
from auditsvc.config import load_settings
from auditsvc.host.terminal import visible
from auditsvc.kernel import Control
from auditsvc.kernel.load_rules import compare
from auditsvc.render.output import wants_json, write_json
from auditsvc.rule import printing
from auditsvc.ruleset.sources import wanted_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from auditsvc.rule import Rule
    from auditsvc.ruleset.difference import Difference


def diff(
    paths: PathsArgument = None, exclusive: ExclusiveOption = False, form: FormOption = None
) -> int:
    """Show what `rules load` would change; exit status 1 if there is a difference.

    A line begins with `+` (missing), `~` (at the wrong position) or `-` (unwanted). No
    difference are `?` (loaded by somebody else) and `:` (loaded by the running service, or a
    setting that counts when the service stops).
    """
    settings = load_settings()
    wanted, _left_out = wanted_rules(settings, paths)
    with Control() as control:
        found = compare(control, wanted, settings.runtime_directory, exclusive=exclusive)
    if wants_json(form):
        write_json(as_json(found))
    else:
        for line in [*changed(found), *left_alone(found)]:
            typer.echo(visible(line))
    return 0 if found.equal else 1


def changed(found: Difference) -> Iterator[str]:
    """Give a line for each setting and rule that is not as wanted."""
    for each in found.settings:
        yield f"+ {each} (now {each.now})"
    yield from _marked("+", found.missing)
    yield from _marked("~", found.misplaced)
    yield from _marked("-", found.unwanted)


def left_alone(found: Difference) -> Iterator[str]:
    """Give a line for each rule that is not wanted but stays, and each setting that waits."""
    yield from _marked("?", found.foreign)
    yield from _marked(":", found.held)
    for each in found.kept:
        yield f": {each} (counts when the service stops, which needs {each.now})"


def _marked(mark: str, rules: Iterable[Rule]) -> Iterator[str]:
    return (f"{mark} {printing.text(rule)}" for rule in rules)


def as_json(found: Difference) -> dict[str, Any]:
    """Give the difference as a JSON object."""
    return {
        "equal": found.equal,
        "settings": [
            {"name": each.name, "now": each.now, "wanted": each.wanted} for each in found.settings
        ],
        "missing": [printing.text(rule) for rule in found.missing],
        "misplaced": [printing.text(rule) for rule in found.misplaced],
        "unwanted": [printing.text(rule) for rule in found.unwanted],
        "foreign": [printing.text(rule) for rule in found.foreign],
        "service": [printing.text(rule) for rule in found.held],
        "waiting": [
            {"name": each.name, "needed": each.now, "wanted": each.wanted} for each in found.kept
        ],
    }
