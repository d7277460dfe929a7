"""The kernel's audit interface: records in, control requests out.

`netlink` is the only module that touches an audit socket; `control` speaks the
requests; `messages` holds the structs of both.
"""

from auditsvc.kernel.control import Control
from auditsvc.kernel.messages import Features, SignalInfo, Status
from auditsvc.kernel.netlink import Record, RecordSocket

__all__ = ["Control", "Features", "Record", "RecordSocket", "SignalInfo", "Status"]
