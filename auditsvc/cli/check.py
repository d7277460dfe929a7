"""`auditsvc check`: whether the store is whole."""

from __future__ import annotations

import typer

from auditsvc.cli.doing import told
from auditsvc.cli.options import FormOption, StoreOption
from auditsvc.config import load_settings
from auditsvc.errors import StoreError
from auditsvc.host.terminal import visible
from auditsvc.render.output import wants_json, write_json
from auditsvc.store.check import Outcome
from auditsvc.store.check import check as check_store


def check(store: StoreOption = None, form: FormOption = None) -> int:
    """Check the store's file, its references, its ledger and its sums; nothing is changed.

    Exit status 1 if something is wrong. Reads the whole store; the service goes on writing.
    """
    settings = load_settings(store=store)
    found: list[Outcome] = []
    with told() as tell:
        for outcome in check_store(settings.store, tell):
            found.append(outcome)
            if not wants_json(form):
                typer.echo(visible(f"{outcome.what}: {outcome.problem or 'ok'}"))
    problems = [outcome for outcome in found if outcome.problem]
    if wants_json(form):
        write_json([outcome._asdict() for outcome in found])
    if problems:
        raise StoreError(
            f"the store has problems in {len(problems)} of {len(found)} checks",
            "docs/backup.md says how to restore a backup, or to load the spool into a new store",
        )
    return 0
