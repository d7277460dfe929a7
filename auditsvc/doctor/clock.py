"""Whether somebody keeps the clock: rows of two hosts can be put in order only then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.doctor.finding import Finding, Level, ok

if TYPE_CHECKING:
    from auditsvc.doctor.machine import Machine

_KEEPERS: Final = (
    *("chronyd", "ntpd", "ntp-daemon", "openntpd", "phc2sys", "systemd-timesyn"),
    *("VBoxService", "vmtoolsd"),
)


def clock(machine: Machine, tai_offset: int) -> Finding:
    """`tai_offset`: CLOCK_TAI less CLOCK_REALTIME in seconds, which the kernel has from NTP."""
    name = "clock"
    if machine.there("run/systemd/timesync/synchronized"):
        return ok(name, "synchronised by systemd-timesyncd")
    keepers = [f"{machine.program(pid)} (pid {pid})" for pid in machine.running(*_KEEPERS)]
    if keepers and tai_offset:
        return ok(name, f"kept by {', '.join(keepers)}")
    if keepers:
        return Finding(
            name,
            Level.NOTE,
            f"{', '.join(keepers)} runs; whether it has reached its servers is not to be seen here",
            "until it has, times may be wrong",
            "chronyc tracking, ntpq -p or timedatectl shows it",
        )
    return Finding(
        name,
        Level.WARNING,
        "nobody is seen who keeps it (a hypervisor may)",
        "times in rows drift, and rows of several hosts cannot be put in order",
        "apt install chrony, or dnf install chrony; systemctl enable --now chronyd",
    )
