"""Where the program runs and what it may do: namespaces, containers, capabilities, buffers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from auditsvc.doctor.finding import DoctorFinding, Level, ok, unknown
from auditsvc.host.service_user import NAME as USER

if TYPE_CHECKING:
    from auditsvc.doctor.machine import Machine

# PROC_USER_INIT_INO and PROC_PID_INIT_INO of include/linux/proc_ns.h.
INITIAL: Final = {"user": 0xEFFFFFFD, "pid": 0xEFFFFFFC}

_CAPABILITIES: Final = {
    "CAP_AUDIT_CONTROL": (30, "to be the audit daemon, and to change rules and settings"),
    "CAP_AUDIT_READ": (37, "to read the multicast group"),
    "CAP_NET_ADMIN": (12, "for a receive buffer above net.core.rmem_max"),
    "CAP_SYS_PTRACE": (19, "to find the programs of other users' processes"),
    "CAP_DAC_READ_SEARCH": (2, "to find which files other users' processes have open"),
}
"""Number (capabilities(7)) and use; the first is the only necessary one."""


def _foreign(machine: Machine) -> list[str] | None:
    """Kinds of namespace in which this process is not in the initial one; None if unknown."""
    links = {kind: machine.link(f"proc/self/ns/{kind}") for kind in INITIAL}
    if any(link is None for link in links.values()):
        return None
    return [kind for kind, number in INITIAL.items() if links[kind] != f"{kind}:[{number}]"]


def namespaces(machine: Machine) -> DoctorFinding:
    """The kernel allows audit in the initial user and pid namespaces only."""
    name, foreign = "namespaces", _foreign(machine)
    if foreign is None:
        return unknown(name, "/proc/self/ns has no such links")
    if not foreign:
        return ok(name, "the initial ones")
    return DoctorFinding(
        name,
        Level.ERROR,
        f"the {' and '.join(foreign)} namespace is not the host's",
        "the kernel refuses audit here, with any capabilities",
        "run on the host itself; to read what the host has logged: `auditsvc ingest FILE`",
    )


def container(machine: Machine) -> DoctorFinding:
    """Files that show that this is a container."""
    name = "container"
    marks = ("run/.containerenv", ".dockerenv", "run/systemd/container")
    found = [f"/{mark}" for mark in marks if machine.exists(mark)]
    if not found:
        return ok(name, "no sign of one")
    return DoctorFinding(
        name,
        Level.NOTE,
        f"there is {' and '.join(found)}",
        "a host has one audit system: its rules and records are those of all containers",
        "run the service on the host",
    )


def capabilities(machine: Machine) -> DoctorFinding:
    """The capabilities of this process; the service may have more."""
    name = "capabilities"
    held = effective(machine)
    if held is None:
        return unknown(name, "/proc/self/status has no CapEff line")
    if "user" in (_foreign(machine) or ()):
        return DoctorFinding(
            name,
            Level.NOTE,
            "those of another user namespace",
            "they count nothing to audit, which requires those of the host's user namespace",
            "sudo auditsvc doctor, on the host itself",
        )
    missing = {
        capability: use
        for capability, (number, use) in _CAPABILITIES.items()
        if not held >> number & 1
    }
    if not missing:
        return ok(name, f"all that the service uses: {', '.join(_CAPABILITIES)}")
    return DoctorFinding(
        name,
        Level.WARNING if "CAP_AUDIT_CONTROL" in missing else Level.NOTE,
        f"this process lacks {', '.join(missing)}",
        "; ".join(f"{capability} is needed {use}" for capability, use in missing.items()),
        "sudo auditsvc doctor",
    )


def service_user(machine: Machine, ours: int | None) -> DoctorFinding:
    """As which user the service runs; `ours` is its pid, if it runs."""
    name = "service's user"
    text = machine.text("etc/passwd")
    if text is None:
        return unknown(name, "there is no /etc/passwd")
    if not any(line.startswith(f"{USER}:") for line in text.splitlines()):
        return DoctorFinding(
            name,
            Level.WARNING,
            f"there is no user {USER}",
            "the service runs as root: a fault in it is one in a process of root's",
            "systemd-sysusers packaging/debian/auditsvc.sysusers; then restart the service",
        )
    uids = re.search(r"^Uid:\t(\d+)", machine.text(f"proc/{ours}/status") or "", re.MULTILINE)
    if ours is not None and uids is not None and uids[1] == "0":
        return DoctorFinding(
            name,
            Level.WARNING,
            f"the service (pid {ours}) is root and not {USER}",
            "a fault in it is one in a process of root's",
            "its log says why it stays root; under systemd: remove root.conf",
        )
    return ok(name, USER)


def receive_buffer(machine: Machine, wanted: int) -> DoctorFinding:
    """Whether the socket can have the buffer size of the settings (bytes)."""
    name = "receive buffer"
    text = machine.text("proc/sys/net/core/rmem_max")
    held = 0 if "user" in (_foreign(machine) or ()) else effective(machine)
    if held is not None and held >> _CAPABILITIES["CAP_NET_ADMIN"][0] & 1:
        return ok(name, f"{wanted} bytes, by CAP_NET_ADMIN")
    if text is None:
        return unknown(name, "there is no /proc/sys/net/core/rmem_max")
    limit = int(text)
    if limit >= wanted:
        return ok(name, f"{wanted} bytes within net.core.rmem_max ({limit})")
    return DoctorFinding(
        name,
        Level.WARNING,
        f"net.core.rmem_max is {limit}, the settings ask for {wanted}",
        "without CAP_NET_ADMIN a burst fills the smaller buffer, and audited tasks must wait",
        f"sysctl -w net.core.rmem_max={wanted}, or give the service CAP_NET_ADMIN",
    )


def effective(machine: Machine) -> int | None:
    """Effective capabilities of this process, as bits."""
    for line in (machine.text("proc/self/status") or "").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return None
