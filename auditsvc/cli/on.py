"""`auditsvc on`: the kernel traces again."""

from __future__ import annotations

from auditsvc.cli.options import FormOption
from auditsvc.cli.switching import flip_and_say


def on(form: FormOption = None) -> None:
    """Switch tracing on for all tasks at once, and measure when a running task was traced."""
    flip_and_say(form, on=True)
