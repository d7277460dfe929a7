"""Checks of the kernel's audit settings (the answer to AUDIT_GET)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.doctor.finding import DoctorFinding, Level, ok
from auditsvc.kernel.messages import LOCKED, LOGINUID_IMMUTABLE
from auditsvc.plural import counted

if TYPE_CHECKING:
    from auditsvc.kernel import Features, Status
    from auditsvc.runtime.switch_requests import Request


def enabled(status: Status, *, serving: bool, last: Request | None) -> DoctorFinding:
    """Whether audit is on; `serving`: our service is the audit daemon; `last`: the last request."""
    name = "enabled"
    if status.enabled:
        return ok(name, "on")
    if last is not None and not last.on:
        return DoctorFinding(
            name,
            Level.NOTE,
            f"off, as requested (by auid {last.who.auid}, uid {last.who.uid}, pid {last.who.pid})",
            "no system call is traced until it is switched on",
            "auditsvc on",
        )
    if serving:
        return DoctorFinding(
            name,
            Level.ERROR,
            "off, although `auditsvc off` was not used",
            "the service runs but receives no records of system calls: see the view `tamper`",
            "auditsvc on",
        )
    return DoctorFinding(
        name,
        Level.WARNING,
        "off",
        "no system call is traced",
        "systemctl start auditsvc (it switches audit on)",
    )


def locked(status: Status) -> DoctorFinding:
    """-e 2."""
    if status.enabled != LOCKED:
        return ok("locked", "no: rules and settings can be changed")
    return DoctorFinding(
        "locked",
        Level.NOTE,
        "locked (-e 2)",
        "rules, limits and the switch cannot be changed until the next boot; collecting works",
        "reboot, if something must be changed",
    )


def failure(status: Status) -> DoctorFinding:
    """What the kernel does when it loses a record (-f)."""
    name = "failure mode"
    match status.failure:
        case 1:
            return ok(name, "1: a lost record is reported in the kernel's log")
        case 0:
            return DoctorFinding(
                name,
                Level.NOTE,
                "0: silent",
                "the kernel does not report lost records in its log; the ledger counts them",
                _set("-f 1"),
            )
        case other:
            return DoctorFinding(
                name,
                Level.WARNING,
                f"{other}: panic",
                "the machine stops when a record is lost, which any flood of records can cause",
                _set("-f 1"),
            )


def rate_limit(status: Status) -> DoctorFinding:
    """-r."""
    if not status.rate_limit:
        return ok("rate limit", "none")
    return DoctorFinding(
        "rate limit",
        Level.ERROR,
        f"{status.rate_limit} records per second",
        "records above this rate are lost, and one call makes several records",
        _set("-r 0"),
    )


def backlog_limit(status: Status, *, wanted: int, serving: bool) -> DoctorFinding:
    """-b, against the setting that `run` raises it to."""
    name, limit = "backlog limit", status.backlog_limit
    if not limit:
        return DoctorFinding(
            name,
            Level.NOTE,
            "none",
            "if the reader stops, the kernel's queue fills the memory",
            _set(f"-b {wanted}"),
        )
    if limit >= wanted:
        return ok(name, f"{limit} records ({status.backlog} wait)")
    if not serving:
        return ok(name, f"{limit} records; `run` raises it to {wanted}")
    return DoctorFinding(
        name,
        Level.WARNING,
        f"{limit} records, less than the setting kernel.backlog_limit ({wanted})",
        "another program lowered it: in bursts audited tasks wait, and then records are lost",
        _set(f"-b {wanted}"),
    )


def backlog_wait_time(status: Status) -> DoctorFinding:
    """How long an audited task waits for room in the queue."""
    name, ticks = "backlog wait time", status.backlog_wait_time
    if ticks:
        return ok(name, f"{ticks} jiffies")
    return DoctorFinding(
        name,
        Level.WARNING,
        "0",
        "if the queue is full no task waits, and records are lost at once",
        _set("--backlog_wait_time 15000"),
    )


def lost(status: Status) -> DoctorFinding:
    """Records that the kernel lost since boot or since its counter was reset."""
    if not status.lost:
        return ok("lost", "0 records")
    return DoctorFinding(
        "lost",
        Level.WARNING,
        f"{counted(status.lost, 'record')} since boot, or since the counter was reset",
        "the ledger's `kernel_lost` counts those lost while the service ran; those lost before "
        "it started are not counted there",
        _set("-b 65536") + "; `auditctl --reset-lost` resets the counter",
    )


def loginuid_immutable(features: Features) -> DoctorFinding:
    """Whether a login uid, once set, can be changed (with CAP_AUDIT_CONTROL)."""
    name = "login uid immutable"
    if features.on & LOGINUID_IMMUTABLE:
        return ok(name, "yes")
    return DoctorFinding(
        name,
        Level.NOTE,
        "no",
        "root can change its auid, so auid shows who logged in only as far as root is trusted",
        _set("--loginuid-immutable") + " (first fix login services that set it twice)",
    )


def _set(line: str) -> str:
    return f"add `{line}` to the rule files, then `auditsvc rules load PATH`; or `auditctl {line}`"
