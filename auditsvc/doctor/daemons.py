"""Who else reads audit records or switches audit: an audit daemon, auditd's unit, journald."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.doctor.environment import INITIAL
from auditsvc.doctor.finding import DoctorFinding, Level, ok, unknown
from auditsvc.host.netlink_sockets import audit_sockets

if TYPE_CHECKING:
    from auditsvc.doctor.machine import Machine
    from auditsvc.kernel import Status

OUR_UNIT: Final = "auditsvc.service"
ENABLED: Final = "enabled"
_UNITS: Final = ("etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system")
_JOURNALD: Final = ("etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd")
_SOCKET: Final = "systemd-journald-audit.socket"


def incumbent(status: Status, machine: Machine, *, serving: bool, source: str) -> DoctorFinding:
    """Which process is registered as the audit daemon; `source` is the setting."""
    name, pid = "audit daemon", status.pid
    if serving:
        return ok(name, f"our service (pid {pid})")
    if pid and machine.exists(f"proc/{pid}"):
        who = f"pid {pid} ({machine.program(pid)})"
        if source != "netlink":
            return ok(name, f"{who}; we read from {source}")
        is_auditd = machine.program(pid).rpartition("/")[2] == "auditd"
        stop = "auditsvc adopt" if is_auditd else f"stop pid {pid}"
        return DoctorFinding(
            name,
            Level.WARNING,
            who,
            "the kernel has one audit daemon: it refuses `auditsvc run` while this process is it",
            f"{stop}, or read beside it with --source multicast",
        )
    absent = f"pid {pid}, which no longer exists" if pid else "none"
    if not status.enabled:
        return DoctorFinding(
            name, Level.NOTE, absent, "no process reads records", "systemctl start auditsvc"
        )
    return DoctorFinding(
        name,
        Level.WARNING,
        absent,
        "audit is on, but records go to the kernel's log or nowhere, and are not counted as lost",
        "systemctl start auditsvc",
    )


def our_unit(machine: Machine) -> DoctorFinding:
    """Whether our service starts at boot."""
    if not machine.exists("run/systemd/system"):
        return ok(OUR_UNIT, "systemd does not run here")
    if _wanted(machine, OUR_UNIT):
        return ok(OUR_UNIT, ENABLED)
    if not any(machine.exists(f"{folder}/{OUR_UNIT}") for folder in _UNITS):
        return ok(OUR_UNIT, "there is no such unit")
    return DoctorFinding(
        OUR_UNIT,
        Level.WARNING,
        "not enabled",
        "after the next boot nothing is collected, and nobody is told",
        f"systemctl enable {OUR_UNIT}",
    )


def auditd_unit(machine: Machine, *, source: str) -> DoctorFinding:
    """Whether auditd starts at boot, in conflict with us."""
    return _at_boot(
        machine,
        "auditd.service",
        source,
        "at boot auditd and auditsvc both try to become the audit daemon; only one can",
        "auditsvc adopt; or, to take nothing over from it: systemctl disable auditd.service",
    )


def auditd_rules(machine: Machine, *, source: str) -> DoctorFinding:
    """Whether auditd's rules are loaded at boot beside ours: a unit of its own since audit 4."""
    return _at_boot(
        machine,
        "audit-rules.service",
        source,
        "at boot augenrules deletes all rules (`-D`), ours too if it comes second",
        "systemctl disable audit-rules.service; the setting `rules` may name /etc/audit/rules.d",
    )


def _at_boot(machine: Machine, unit: str, source: str, why: str, fix: str) -> DoctorFinding:
    """Whether a unit is enabled that hinders us as the audit daemon."""
    if not _wanted(machine, unit):
        return ok(unit, "not enabled")
    if source != "netlink":
        return ok(unit, f"enabled; we read from {source}")
    return DoctorFinding(unit, Level.WARNING, "enabled", why, fix)


def journald(machine: Machine) -> DoctorFinding:
    """Whether journald switches audit on or off when it starts: journald.conf(5), Audit=.

    It does so only if it has its audit socket (server_open_audit in systemd).
    """
    name = "journald: Audit="
    if not machine.exists("run/systemd/system"):
        return ok(name, "systemd does not run here")
    if any(machine.link(f"{folder}/{_SOCKET}") == "/dev/null" for folder in _UNITS[:2]):
        return ok(name, f"no effect: {_SOCKET} is masked")
    if not _wanted(machine, _SOCKET):
        return ok(name, f"no effect: {_SOCKET} is not enabled")
    value, where = _audit_setting(machine)
    mend = f"systemctl mask --now {_SOCKET}; systemctl restart systemd-journald"
    match value.lower():
        case "no" | "false" | "0" | "off" | "n" | "f":
            return DoctorFinding(
                name,
                Level.WARNING,
                f"no ({where})",
                "each start of journald switches audit off for the whole machine",
                mend,
            )
        case "yes" | "true" | "1" | "on" | "y" | "t":
            return DoctorFinding(
                name,
                Level.NOTE,
                f"yes ({where})",
                "each start of journald switches audit on, also after `auditsvc off`; without "
                "an audit daemon, records then fill the kernel's log",
                mend,
            )
        case "" | "keep":
            return ok(name, f"does not change the switch ({where})")
        case _:
            return DoctorFinding(
                name,
                Level.NOTE,
                where,
                "depending on the version, each start of journald switches audit on or off",
                mend,
            )


def _audit_setting(machine: Machine) -> tuple[str, str]:
    """Give the value of Audit= and where it was found; "unset" if it is in no file."""
    main = next(
        (path for each in _JOURNALD if machine.exists(path := f"{each}/journald.conf")), None
    )
    drop_ins: dict[str, str] = {}
    for folder in reversed(_JOURNALD):  # one of the same name in an earlier folder replaces it
        for name in machine.names(f"{folder}/journald.conf.d"):
            if name.endswith(".conf"):
                drop_ins[name] = f"{folder}/journald.conf.d/{name}"
    value, where = "unset", "not set, and the default is unknown"
    default = None
    for path in filter(None, (main, *(drop_ins[name] for name in sorted(drop_ins)))):
        section = ""
        for raw in (machine.text(path) or "").splitlines():
            line = raw.strip()
            if line.startswith("["):
                section = line
            elif line.startswith("#Audit=") and path == main:
                default = line.removeprefix("#Audit=").strip()  # by convention the default
            elif section == "[Journal]" and line.partition("=")[0].strip() == "Audit":
                value, where = line.partition("=")[2].strip(), f"/{path}"
    if value == "unset" and default is not None:
        return default, f"the default shown in /{main}"
    return value, where


def listeners(machine: Machine, *, ours: int | None) -> DoctorFinding:
    """Which processes read the multicast group; `ours` is our service's pid."""
    name = "multicast readers"
    table = machine.text("proc/net/netlink")
    if table is None:
        return unknown(name, "there is no /proc/net/netlink")
    if not _in_hosts_network(machine):
        return unknown(name, "the group is in the host's network namespace; this is another")
    found = {each.link: each for each in audit_sockets(table) if each.multicast}
    if not found:
        return ok(name, "none")
    holders = _holders(machine, set(found))
    readers, others = [], False
    for link, each in sorted(found.items()):
        pids = holders.get(link, [])
        others = others or ours not in pids
        who = ", ".join(f"pid {pid} ({machine.program(pid)})" for pid in pids)
        readers.append(who or f"an unknown process (port {each.port})")
    if not others:
        return ok(name, "; ".join(readers))
    return DoctorFinding(
        name,
        Level.NOTE,
        "; ".join(readers),
        "each gets a copy of every record, which costs processor time; journald also stores a "
        "second log",
        f"if it is journald and you do not need its copy: systemctl mask --now {_SOCKET}",
    )


def _in_hosts_network(machine: Machine) -> bool:
    """Whether /proc/net is the host's, as far as can be read."""
    try:
        return machine.link("proc/self/ns/net") == machine.link("proc/1/ns/net")
    except PermissionError:
        # Without privilege, a network namespace can be made only in another user namespace.
        return machine.link("proc/self/ns/user") == f"user:[{INITIAL['user']}]"


def _holders(machine: Machine, links: set[str]) -> dict[str, list[int]]:
    """Give the processes that have these sockets open, as far as can be read."""
    found: dict[str, list[int]] = {}
    for pid in machine.processes():
        try:
            held = {
                machine.link(f"proc/{pid}/fd/{number}")
                for number in machine.names(f"proc/{pid}/fd")
            }
        except PermissionError:
            continue  # shown as an unknown process
        for link in held & links:
            if link is not None:
                found.setdefault(link, []).append(pid)
    return found


def _wanted(machine: Machine, unit: str) -> bool:
    """Whether a target wants this unit."""
    return any(
        machine.exists(f"{folder}/{target}/{unit}")
        for folder in _UNITS
        for target in machine.names(folder)
        if target.endswith((".wants", ".requires"))
    )
