"""Which rules `run` loads: those that the settings name, or those that come with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.rule import Add, read
from auditsvc.rule_sets import default, find

if TYPE_CHECKING:
    from auditsvc.config import Settings


def rules_in_use(settings: Settings) -> tuple[list[Add], list[str]]:
    """Read and check the rules (RuleError names file, line and column); the kernel is not asked.

    Beside them come notes on the lines that are left out: `run` adds rules and puts
    everything back at its end, so lines that delete rules or set the kernel (-D, -b,
    -e, -f, -r ...) are not for it.
    """
    named = [default()] if settings.rules is None else [find(each) for each in settings.rules]
    lines = [line for path in named for line in read(path)]
    rules = [line.command for line in lines if isinstance(line.command, Add)]
    notes = [
        f"{line.filename}:{line.number}: `{line.text}` is left out: run only adds rules"
        for line in lines
        if not isinstance(line.command, Add)
    ]
    return rules, notes
