"""`auditsvc doctor`: what is wrong with audit on this machine, and how to fix it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import typer

from auditsvc.cli.options import FormOption, StoreOption
from auditsvc.config import load_settings, settings_file
from auditsvc.doctor import DoctorFinding, Level, Machine, ask_kernel, examine
from auditsvc.errors import AuditsvcError
from auditsvc.render.output import wants_json, write_json, write_table


def doctor(store: StoreOption = None, form: FormOption = None) -> int:
    """Check everything that audit depends on; say what each finding means and how to fix it.

    Changes nothing. What cannot be read without privilege is reported as unknown. Exit
    status 1 if a finding is an error.
    """
    try:
        settings = load_settings(store=store)
    except AuditsvcError as error:
        found = examine(Machine(), ask_kernel(), error, settings_file())
    else:
        found = examine(Machine(), ask_kernel(), settings, settings_file())
    levels = Counter(each.level for each in found)
    if wants_json(form):
        write_json(
            {
                "levels": {level.value: levels[level] for level in Level},
                "findings": [asdict(each) for each in found],
            }
        )
    else:
        _show(found)
        typer.echo("\n" + ", ".join(f"{levels[level]} {level}" for level in Level))
    return 1 if levels[Level.ERROR] else 0


def _show(found: list[DoctorFinding]) -> None:
    """Write the most severe first; below each what it means, and after an arrow how to fix it."""
    rank = list(Level)
    rows: list[tuple[str, str, str]] = []
    for each in sorted(found, key=lambda each: -rank.index(each.level)):
        rows.append((each.level, each.name, each.found))
        rows += [("", "", each.means)] if each.means else []
        rows += [("", "", f"-> {each.mend}")] if each.mend else []
    write_table((), rows)
