"""The kernel's audit interface: receives records, sends control requests.

Only `netlink` uses an audit socket. `control` has one method for each request;
`messages` has the structs of both.
"""

from auditsvc.kernel.control import Control
from auditsvc.kernel.messages import Features, SignalInfo, Status
from auditsvc.kernel.netlink import Record, RecordSocket

__all__ = ["Control", "Features", "Record", "RecordSocket", "SignalInfo", "Status"]
