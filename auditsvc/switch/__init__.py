"""Flipping the kernel's `enabled` as one thing, and measuring when a running task noticed.

`measure` does it, with a `probe` (a task that numbers its calls) and what is `heard` of it
through the multicast group; `blocked` counts the tasks that are still in a call.
"""

from auditsvc.switch.measure import flip
from auditsvc.switch.model import Flip, Probed

__all__ = ["Flip", "Probed", "flip"]
