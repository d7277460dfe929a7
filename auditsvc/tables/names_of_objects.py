"""Where a record names its object, which records tell more than their call, and interpreters.

For the view `story` (in SQL) and for `auditsvc.search.summary` (in Python); maintained by hand.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from auditsvc.record.types import (
    CONFIG_CHANGE,
    DAEMON_ACCEPT,
    DAEMON_CLOSE,
    DAEMON_CONFIG,
    DAEMON_ERR,
    LOGIN,
)
from auditsvc.tables import verbs

FIELDS: Final = (
    *("cmd", "unit", "acct", "sw", "vm", "path", "name", "data", "key", "feature", "table"),
    *("bool", "prog-id", "device", "printer", "selected-context", "fp", "ID", "id", "dev"),
    "enforcing",
)
"""The fields that can be the object; the first that the record has is it. `ID` is the name that
auditd writes for `id`. Of a record without them it is the
operation, if that has no verb of its own."""

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

DAEMON_START: Final = 1200
DAEMON_ABORT: Final = 1202
DAEMON_ROTATE: Final = 1205
DAEMON_RESUME: Final = 1206
WITH_OPERATION: Final = (
    *(CONFIG_CHANGE, DAEMON_START, DAEMON_ABORT, DAEMON_CONFIG, DAEMON_ROTATE, DAEMON_RESUME),
    *(DAEMON_ACCEPT, DAEMON_CLOSE, DAEMON_ERR, BPF),
)
"""Types whose operation has a verb (`auditsvc.tables.verbs.OPERATIONS`)."""

END_OF: Final = "end of "
"""Before the operation of a DAEMON_CLOSE: its DAEMON_ACCEPT has the same."""

TAMPER: Final = "tamper"
"""The operation behind which stands, in `what=`, what it was."""

ABOUT_ACCOUNTS: Final = tuple(
    name
    for name, verb in verbs.TYPES.items()
    if verb.object_kind in ("account", "user-session")
)
"""Types of which the operation is never the object: it is no account."""


class Told(NamedTuple):
    """Where the record of an operation has its object, and more of it."""

    object: tuple[str, ...] = ()
    second: tuple[str, ...] = ()
    link: str = "to"
    """The word before the second."""


_DETAIL: Final = Told(("detail",))
_STATE: Final = Told(("state",))
BY_OPERATION: Final = {
    "start": Told(("ver",)),
    "rotate-logs": Told(),
    "resume-logging": Told(),
    "reconfigure": _STATE,
    "coverage": Told(("comm",), ("state",), "with result"),
    "coverage-look": Told(),
    "name": Told(("acct",), ("id", "ID"), "for id"),
    "cgroup": Told(("cgroup",), ("name", "container"), "of container"),
    "store": _STATE,
    "takeover": _STATE,
    "verify": _STATE,
    "access-unrecorded": Told(("of_uid",)),
    "switch": _STATE,
    "register": Told(),
    "discard": Told(("segment",)),
    "tamper rule_deleted": _DETAIL,
    "tamper rule_moved": _DETAIL,
    "tamper never_added": _DETAIL,
    "tamper rule_added": _DETAIL,
    "tamper switched_off": _DETAIL,
    "tamper switched_on": _DETAIL,
    "tamper setting": _DETAIL,
    "tamper replaced": Told(),
    "tamper given_up": _DETAIL,
    "tamper put_back": _DETAIL,
    "tamper log_altered": _DETAIL,
    "tamper rows_altered": Told(("findings",)),
    "error": Told(("reason",)),
    "lost": Told(),
    "forged": Told(),
    "replace": Told(),
}
"""By the operation, of records that have no other object then."""

SCRIPTED: Final = ("python", "sh", "bash", "perl")
"""Interpreters: of these the task's name says more than the program's path."""
