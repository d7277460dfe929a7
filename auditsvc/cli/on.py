"""`auditsvc on`: the kernel traces again."""

from __future__ import annotations

from auditsvc.cli.flipping import flip_and_say
from auditsvc.cli.output import FormOption


def on(form: FormOption = None) -> None:
    """Switch tracing on for all tasks at once, and measure when a running task was traced."""
    flip_and_say(form, on=True)
