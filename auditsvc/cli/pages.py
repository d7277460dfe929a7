"""The pages that are made from the program: docs/, man pages, completion. For tools/make-pages.

PAGES: name in the repository -> what makes its text
others(root) -> {name: text} of man pages and scripts; `root` has docs/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from auditsvc import __version__
from auditsvc.cli import all_commands
from auditsvc.config import setting_names
from auditsvc.manual import completion
from auditsvc.manual.commands import commands_page, man_text
from auditsvc.manual.metrics_page import metrics_page
from auditsvc.manual.roff import to_man
from auditsvc.manual.rules_page import rules_page
from auditsvc.manual.settings_page import settings_page
from auditsvc.report import groups
from auditsvc.report.catalogue import REPORTS
from auditsvc.rule import Add, parse
from auditsvc.ruleset import controls
from auditsvc.search import live_counts
from auditsvc.service.reload import LIVE
from auditsvc.status.metrics import METRICS
from auditsvc.store.read import ausearch_times
from auditsvc.store.views import NAMES
from auditsvc.tables.record_types import RECORD_TYPES
from auditsvc.tables.syscalls import SYSCALLS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAGES: Final[dict[str, Callable[[], str]]] = {
    "docs/commands.md": lambda: commands_page(all_commands()),
    "docs/configuration.md": lambda: settings_page(LIVE),
    "docs/metrics.md": lambda: metrics_page(METRICS),
    "docs/rules.md": rules_page,
}
_MADE: Final = re.compile(r"Made by `make pages`[^.;]*; do not edit\.\s*")
_OTHER: Final = {
    "auditsvc.toml.5": ("docs/configuration.md", "settings of auditsvc"),
    "auditsvc-views.7": ("docs/sql.md", "views of auditsvc's store, for SQL"),
    "auditsvc.rules.7": ("docs/rules.md", "audit rules in files"),
}
_SCRIPTS: Final = {
    "bash/auditsvc": completion.bash,
    "zsh/_auditsvc": completion.zsh,
    "fish/auditsvc.fish": completion.fish,
}


def others(root: Path) -> dict[str, str]:
    """Make the man pages (`man1/auditsvc-run.1`) and the completion."""
    commands = all_commands()
    pages = {
        f"man1/{command.name}.1": to_man(man_text(command, commands), command.name, 1, __version__)
        for command in commands
    }
    for name, (source, about) in _OTHER.items():
        page, _, section = name.rpartition(".")
        title, _, body = _MADE.sub("", (root / source).read_text()).partition("\n")
        headed = f"{title}\n\n## Name\n\n{page} - {about}\n\n## Description\n{body}"
        pages[f"man{section}/{name}"] = to_man(headed, page, int(section), __version__)
    names = known_names()
    return pages | {name: write(commands, names) for name, write in _SCRIPTS.items()}


def known_names() -> completion.Names:
    """Gather the names that completion knows."""
    keys = {
        key
        for name in controls.names()
        for line in parse(controls.find(name).read_text())
        if isinstance(line.command, Add)
        for key in line.command.rule.keys
    }
    return completion.Names(
        {
            "calls": sorted({name for table in SYSCALLS.values() for name in table.values()}),
            "types": sorted(set(RECORD_TYPES.values())),
            "views": NAMES,
            "sets": controls.names(),
            "keys": sorted(keys),
            "reports": [*sorted(report.name for report in REPORTS), "daily"],
            "settings": setting_names(),
            "moments": ausearch_times.WORDS,
            "groups": tuple(groups.GROUPS),
            "live_groups": live_counts.GROUPS,
        }
    )
