"""`auditsvc on`: the kernel traces system calls again."""

from __future__ import annotations

from auditsvc.cli.options import FormOption
from auditsvc.cli.switching import flip_and_show


def on(form: FormOption = None) -> None:
    """Switch tracing on for all tasks at once, and measure when it began for a running task."""
    flip_and_show(form, on=True)
