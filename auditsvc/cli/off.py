"""`auditsvc off`: no system call begins an event any more."""

from __future__ import annotations

from auditsvc.cli.options import FormOption
from auditsvc.cli.switching import flip_and_say


def off(form: FormOption = None) -> None:
    """Switch tracing off for all tasks at once, and measure when a running task was free of it.

    Rules, daemon and the tasks' flags stay, so that `on` traces them again at once. A call
    that began before is still logged when it ends. Audit is off until `on`, the service's
    next start, or the next boot.
    """
    flip_and_say(form, on=False)
