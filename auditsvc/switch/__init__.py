"""Switches the kernel's `enabled` flag, and measures from when running tasks are traced or not.

`measure` does it, with a `probe` (a task that numbers its calls) and its `probe_records`
from the multicast group; `blocked_calls` counts the tasks that are still in a call.
"""

from auditsvc.switch.measure import flip
from auditsvc.switch.model import Flip, Probed

__all__ = ["Flip", "Probed", "flip"]
