"""The guard: notices when somebody else takes cover away, says who it was, and puts it back.

    before --differences--> rules and settings that changed --+--> restored (if that is asked for)
    spool  --deeds-------> who changed them -----------------+--> one DAEMON_CONFIG line each

The lines are the evidence; the view `tamper` is made of them.
"""

from auditsvc.guard.guard import Guard
from auditsvc.guard.sanctioned import Meant

__all__ = ["Guard", "Meant"]
