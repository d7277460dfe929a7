"""Which rules `run` loads: those that the settings name, or those that come with the package."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from auditsvc.rule import Add, read

if TYPE_CHECKING:
    from auditsvc.config import Settings

DEFAULT = "10-all-syscalls.rules"


def rules_in_use(settings: Settings) -> tuple[list[Add], list[str]]:
    """Read and check the rules (RuleError names file, line and column); the kernel is not asked.

    Beside them come notes on the lines that are left out: `run` adds rules and puts
    everything back at its end, so lines that delete rules or set the kernel (-D, -b,
    -e, -f, -r ...) are not for it.
    """
    if settings.rules is None:
        with as_file(files("auditsvc.rules") / DEFAULT) as path:
            lines = read(path)
    else:
        lines = [line for path in settings.rules for line in read(path)]
    rules = [line.command for line in lines if isinstance(line.command, Add)]
    notes = [
        f"{line.filename}:{line.number}: `{line.text}` is left out: run only adds rules"
        for line in lines
        if not isinstance(line.command, Add)
    ]
    return rules, notes
