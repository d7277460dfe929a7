"""`auditsvc off`: new system calls are not traced."""

from __future__ import annotations

from auditsvc.cli.options import FormOption
from auditsvc.cli.switching import flip_and_show


def off(form: FormOption = None) -> None:
    """Switch tracing off for all tasks at once, and measure when it ended for a running task.

    Rules, audit daemon and the tasks' flags stay, so that `on` traces them again at once. A
    call that began before is still logged when it ends. Audit stays off until `on`, the
    service's next start, or the next boot.
    """
    flip_and_show(form, on=False)
