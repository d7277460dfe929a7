"""Whether the clock is synchronised: only then can rows of two hosts be put in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.doctor.finding import DoctorFinding, Level, ok

if TYPE_CHECKING:
    from auditsvc.doctor.machine import Machine

_SERVICES: Final = (
    *("chronyd", "ntpd", "ntp-daemon", "openntpd", "phc2sys", "systemd-timesyn"),
    *("VBoxService", "vmtoolsd"),
)


def clock(machine: Machine, tai_offset: int) -> DoctorFinding:
    """`tai_offset`: CLOCK_TAI minus CLOCK_REALTIME in seconds, which the kernel gets from NTP."""
    name = "clock"
    if machine.exists("run/systemd/timesync/synchronized"):
        return ok(name, "synchronised by systemd-timesyncd")
    services = [f"{machine.program(pid)} (pid {pid})" for pid in machine.running(*_SERVICES)]
    if services and tai_offset:
        return ok(name, f"synchronised by {', '.join(services)}")
    if services:
        return DoctorFinding(
            name,
            Level.NOTE,
            f"{', '.join(services)} runs; whether it has reached its servers is unknown",
            "until then, times may be wrong",
            "chronyc tracking, ntpq -p or timedatectl shows its state",
        )
    return DoctorFinding(
        name,
        Level.WARNING,
        "no time service found (a hypervisor may set the clock)",
        "times in rows drift, and rows of several hosts cannot be put in order",
        "apt install chrony, or dnf install chrony; systemctl enable --now chronyd",
    )
