"""What a command is doing now, on a terminal: one line on stderr that goes when it is done."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.store.backup import Tell


@contextmanager
def told() -> Iterator[Tell]:
    """Give a function that shows what is done, and which share of it; elsewhere it does nothing."""
    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield lambda _what, _share: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    # Lines that go to the same terminal stand above it; those that go to a file stay there.
    above = sys.stdout.isatty()
    with Progress(*columns, console=console, transient=True, redirect_stdout=above) as shown:
        task = shown.add_task("", total=None)

        def tell(what: str, share: float | None) -> None:
            total = None if share is None else 1.0
            shown.update(task, description=what, completed=share or 0.0, total=total)

        yield tell
