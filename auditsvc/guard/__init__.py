"""The guard: finds when somebody else reduces coverage, reports who it was, and restores it.

    before --differences--> rules and settings that changed --+--> restored (if set so)
    spool  --CONFIG_CHANGE--> who changed them ---------------+--> one DAEMON_CONFIG line each

The lines are the evidence; the view `tamper` shows them.
"""

from auditsvc.guard.guard import Guard
from auditsvc.guard.sanctioned import Sanctioned

__all__ = ["Guard", "Sanctioned"]
