"""Error messages for the ways in which the kernel refuses an audit request."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from auditsvc.errors import IncumbentError, KernelError
from auditsvc.holder.left import holders
from auditsvc.host.processes import has_ended

PLUGIN = "to run beside it use --source multicast, or run as its plugin with --source stdin"


def refused(action: str, number: int) -> KernelError:
    """Make the error for an `action` that the kernel refused; `number` is a positive errno."""
    what, hint = _REASONS.get(number, (os.strerror(number), ""))
    return KernelError(f"{action}: {what}", hint, number)


def incumbent(pid: int) -> IncumbentError:
    """Make the error for registering while the process `pid` is the audit daemon.

    The kernel asks its socket and not the process: that may have ended, and a holder of ours that
    nobody can find (somebody emptied /run) still have it open.
    """
    if has_ended(pid):
        return _ended(pid)
    try:
        program = str(Path(f"/proc/{pid}/exe").readlink())
    except OSError:
        program = "program unknown"
    return IncumbentError(
        f"another process is the audit daemon: pid {pid} ({program})",
        f"stop it, or {PLUGIN}",
        errno.EEXIST,
        pid,
    )


def _ended(pid: int) -> IncumbentError:
    what = f"the audit daemon (pid {pid}) has ended, and its record socket is still open"
    if found := holders():
        those = ", ".join(map(str, found))
        what += f" in a holder of auditsvc (pid {those}) that this run does not find"
        hint = (
            "use the runtime directory of the run that has ended; if that was emptied, "
            f"`kill -9 {' '.join(map(str, found))}` (what it keeps is lost), or start again ten "
            "minutes after that run ended"
        )
    else:
        what += " in another process"
        hint = (
            "systemd may keep it: start the service as it was started before; else end what has it"
        )
    return IncumbentError(what, hint, errno.EEXIST, pid)


_NO_AUDIT = (
    "this kernel has no audit",
    "it needs CONFIG_AUDIT and CONFIG_AUDITSYSCALL",
)
_CLOSED = (
    "this process may make no netlink socket",
    (
        "a filter of system calls closes them to it (auditsvc's own for what shows evidence, or "
        "RestrictAddressFamilies= of a unit): ask `auditsvc status` as root"
    ),
)
_PRIVILEGE = (
    "this needs root with CAP_AUDIT_CONTROL (CAP_AUDIT_READ to read records), in the host's "
    "own pid namespace and not in a container"
)
_NAMESPACE = (
    "the kernel was booted with audit=0, or this is the user namespace of a container: "
    "run on the host itself"
)
_REASONS = {
    errno.EPERM: ("the kernel does not permit it", _PRIVILEGE),
    errno.ECONNREFUSED: ("the kernel refuses audit here", _NAMESPACE),
    errno.EPROTONOSUPPORT: _NO_AUDIT,
    # The family itself is never missing: the kernel has it wherever it has sockets.
    errno.EAFNOSUPPORT: _CLOSED,
    errno.EINVAL: ("the kernel does not accept this request", "the kernel may be too old for it"),
}
