"""Where a record names its object, which records tell more than their call, and interpreters.

For the view `story` (in SQL) and for `auditsvc.search.summary` (in Python); maintained by hand.
"""

from __future__ import annotations

from typing import Final

from auditsvc.record.types import CONFIG_CHANGE, DAEMON_CONFIG, LOGIN

FIELDS: Final = (
    *("cmd", "unit", "acct", "sw", "vm", "path", "name", "data", "key", "feature", "table"),
    *("bool", "prog-id", "device", "printer", "selected-context", "fp", "ID", "id", "dev"),
    *("enforcing", "op"),
)
"""The fields that can be the object; the first that the record has is it. `ID` is the name that
auditd writes for `id`; the operation is the last: it says what was done, not to what."""

BY_TYPE: Final = {
    "LOGIN": ("auid",),
    # auditd's own have an address; ours (`auditsvc.access`) what was asked, and how it ended.
    "DAEMON_ACCEPT": ("addr", "cmd", "command"),
    "DAEMON_CLOSE": ("addr", "data"),
    "CRYPTO_SESSION": ("addr",),
}
"""The fields that are the object of records of a type, where others have it for something else;
the first that a record has, and of it the last one, if the record has it twice."""

SETTINGS: Final = (
    *("audit_enabled", "audit_failure", "audit_pid", "audit_rate_limit", "audit_backlog_limit"),
    *("audit_backlog_wait_time", "actions"),
)
"""Fields whose name is the object, and whose value is what it was changed to."""

VALUES: Final = ("val", "new")
"""What the object was changed to, where a record says that in a field of its own."""

BPF: Final = 1334
TELLING: Final = (LOGIN, 1325, 1328, BPF, 1403, 1404, 1405, 1421, 1422, 1700)
"""LOGIN, NETFILTER_CFG, FEATURE_CHANGE, BPF, MAC_POLICY_LOAD, MAC_STATUS, MAC_CONFIG_CHANGE,
IPE_CONFIG_CHANGE, IPE_POLICY_LOAD, ANOM_PROMISCUOUS: in a call that only carries a request these
say what was done. A CONFIG_CHANGE says it in any call."""

CARRIERS: Final = (
    *("write", "writev", "pwrite64", "send", "sendto", "sendmsg", "sendmmsg", "setsockopt"),
    *("ioctl", "bpf"),
)
"""Calls that carry a request: to a file of the kernel, by a message, by an option."""

DAEMON_ACCEPT: Final = 1207
DAEMON_CLOSE: Final = 1208
WITH_OPERATION: Final = (CONFIG_CHANGE, DAEMON_CONFIG, DAEMON_ACCEPT, DAEMON_CLOSE, BPF)
"""Types whose operation has a verb (`auditsvc.tables.verbs.OPERATIONS`)."""

END_OF: Final = "end of "
"""Before the operation of a DAEMON_CLOSE: its DAEMON_ACCEPT has the same."""

SCRIPTED: Final = ("python", "sh", "bash", "perl")
"""Interpreters: of these the task's name says more than the program's path."""
