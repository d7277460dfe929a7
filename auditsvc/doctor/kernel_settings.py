"""The kernel's audit settings: AUDIT_GET's answer, read as a physician would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.doctor.finding import Finding, Level, ok
from auditsvc.kernel.messages import LOCKED, LOGINUID_IMMUTABLE

if TYPE_CHECKING:
    from auditsvc.kernel import Features, Status
    from auditsvc.runtime.switch_requests import Request


def enabled(status: Status, *, serving: bool, last: Request | None) -> Finding:
    """Whether audit is on; `serving`: our service has the daemon's place; `last` switch asked."""
    name = "enabled"
    if status.enabled:
        return ok(name, "on")
    if last is not None and not last.on:
        return Finding(
            name,
            Level.NOTE,
            f"off, as was asked for (auid {last.who.auid}, uid {last.who.uid}, pid {last.who.pid})",
            "no system call is traced until it is put on",
            "auditsvc on",
        )
    if serving:
        return Finding(
            name,
            Level.ERROR,
            "off, and nobody asked us for that",
            "the service runs and no system call reaches it: see the view `tamper`",
            "auditsvc on",
        )
    return Finding(
        name,
        Level.WARNING,
        "off",
        "no system call is traced",
        "systemctl start auditsvc (it switches audit on)",
    )


def locked(status: Status) -> Finding:
    """-e 2."""
    if status.enabled != LOCKED:
        return ok("locked", "no: rules and settings can be changed")
    return Finding(
        "locked",
        Level.NOTE,
        "locked (-e 2)",
        "rules, limits and the switch stay as they are until the next boot; collecting works",
        "reboot, if something must be changed",
    )


def failure(status: Status) -> Finding:
    """What the kernel does when it loses a record (-f)."""
    name = "failure mode"
    match status.failure:
        case 1:
            return ok(name, "1: a lost record is said in the kernel's log")
        case 0:
            return Finding(
                name,
                Level.NOTE,
                "0: silent",
                "the kernel does not say in its log that it lost records; the ledger does",
                _set("-f 1"),
            )
        case other:
            return Finding(
                name,
                Level.WARNING,
                f"{other}: panic",
                "the machine stops when a record is lost, which who floods audit can bring about",
                _set("-f 1"),
            )


def rate_limit(status: Status) -> Finding:
    """-r."""
    if not status.rate_limit:
        return ok("rate limit", "none")
    return Finding(
        "rate limit",
        Level.ERROR,
        f"{status.rate_limit} records a second",
        "what is above is thrown away, and one call makes several records",
        _set("-r 0"),
    )


def backlog_limit(status: Status, *, wanted: int, serving: bool) -> Finding:
    """-b, against the setting that `run` raises it to."""
    name, limit = "backlog limit", status.backlog_limit
    if not limit:
        return Finding(
            name,
            Level.NOTE,
            "none",
            "a reader that stands still lets the kernel's queue fill the memory",
            _set(f"-b {wanted}"),
        )
    if limit >= wanted:
        return ok(name, f"{limit} records ({status.backlog} wait)")
    if not serving:
        return ok(name, f"{limit} records; `run` raises it to {wanted}")
    return Finding(
        name,
        Level.WARNING,
        f"{limit} records, less than the setting kernel.backlog_limit ({wanted})",
        "somebody lowered it: bursts make audited tasks wait, and then lose records",
        _set(f"-b {wanted}"),
    )


def backlog_wait_time(status: Status) -> Finding:
    """How long an audited task waits for room in the queue."""
    name, ticks = "backlog wait time", status.backlog_wait_time
    if ticks:
        return ok(name, f"{ticks} jiffies")
    return Finding(
        name,
        Level.WARNING,
        "0",
        "no task waits when the queue is full: records are lost at once",
        _set("--backlog_wait_time 15000"),
    )


def lost(status: Status) -> Finding:
    """Records that the kernel gave up since boot or since somebody set the counter back."""
    if not status.lost:
        return ok("lost", "0 records")
    return Finding(
        "lost",
        Level.WARNING,
        f"{status.lost} records since boot, or since it was set to 0",
        "the ledger's `kernel_lost` says how many of them while the service ran; those before "
        "it came are lost to everybody",
        _set("-b 65536") + "; `auditctl --reset-lost` begins the count anew",
    )


def loginuid_immutable(features: Features) -> Finding:
    """Whether a login uid, once set, can be changed (with CAP_AUDIT_CONTROL)."""
    name = "login uid immutable"
    if features.on & LOGINUID_IMMUTABLE:
        return ok(name, "yes")
    return Finding(
        name,
        Level.NOTE,
        "no",
        "root can give itself another auid, so auid says who logged in only as far as root is "
        "trusted",
        _set("--loginuid-immutable") + " (after login services that set it twice were mended)",
    )


def _set(line: str) -> str:
    return f"the line `{line}` in the rule files and `auditsvc rules load`, or `auditctl {line}`"
