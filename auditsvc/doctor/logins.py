"""Whether auid shows who logged in: pam_loginuid(8) sets it, for services that use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.doctor.finding import DoctorFinding, Level, ok
from auditsvc.host.processes import parse_stat
from auditsvc.plural import counted
from auditsvc.record.fields import UNSET, to_text

if TYPE_CHECKING:
    from auditsvc.doctor.machine import Machine

_MODULE: Final = "pam_loginuid.so"
_ENTRIES: Final = (
    *("atd", "cockpit", "cron", "crond", "gdm-fingerprint", "gdm-password", "gdm-smartcard"),
    *("lightdm", "login", "remote", "sddm", "sshd", "vsftpd", "xdm"),
)
"""Services by which people log in or their jobs start."""
_INSIDE: Final = ("su", "su-l", "sudo", "sudo-i", "runuser", "runuser-l", "polkit-1")
"""Services that are used after a login: setting it there hides who logged in."""
_BEFORE_LOGIN: Final = ("agetty", "getty", "mingetty", "login", "systemd")


def pam(machine: Machine) -> list[DoctorFinding]:
    """Which services set the login uid, and which must not."""
    name = "login uid by PAM"
    present = [each for each in (*_ENTRIES, *_INSIDE) if machine.exists(f"etc/pam.d/{each}")]
    if not present:
        return [DoctorFinding(name, Level.NOTE, "unknown: /etc/pam.d has no login service")]
    found = []
    for service in present:
        sets = _sets(machine, service, set())
        if service in _ENTRIES and not sets:
            found.append(
                DoctorFinding(
                    name,
                    Level.WARNING,
                    f"/etc/pam.d/{service} does not set it",
                    f"users who log in by {service} have no auid: rows do not show who it was",
                    f"add the line `session required {_MODULE}` to /etc/pam.d/{service}",
                )
            )
        elif service in _INSIDE and sets:
            found.append(
                DoctorFinding(
                    name,
                    Level.WARNING,
                    f"/etc/pam.d/{service} sets it again",
                    "rows show the account that the user changed to, not who logged in",
                    f"remove {_MODULE} from /etc/pam.d/{service}",
                )
            )
    entries = [each for each in present if each in _ENTRIES]
    return found or [ok(name, f"set by {', '.join(entries)}" if entries else "no login service")]


def _sets(machine: Machine, service: str, seen: set[str]) -> bool:
    """Whether a service's file, or a file that it includes, uses the module."""
    seen.add(service)
    for line in (machine.text(f"etc/pam.d/{service}") or "").splitlines():
        words = line.partition("#")[0].split()
        if any(word.endswith(_MODULE) for word in words):
            return True
        included = None
        if len(words) > 1 and words[0] == "@include":
            included = words[1]
        elif len(words) > 2 and words[1] in {"include", "substack"}:
            included = words[2]
        if included is not None and included not in seen and _sets(machine, included, seen):
            return True
    return False


def sessions(machine: Machine) -> DoctorFinding:
    """Processes on a terminal without a login uid."""
    name = "sessions"
    unset = []
    for pid in machine.processes():
        text = machine.text(f"proc/{pid}/stat")
        if not text:
            continue
        stat = parse_stat(text.encode(errors="surrogateescape"))
        comm = to_text(stat.comm)[0]
        auid = (machine.text(f"proc/{pid}/loginuid") or "").strip()
        if stat.terminal and auid == str(UNSET) and comm not in _BEFORE_LOGIN:
            unset.append(f"{comm} ({pid})")
    if not unset:
        return ok(name, "every process on a terminal has a login uid")
    return DoctorFinding(
        name,
        Level.WARNING,
        f"{counted(len(unset), 'process', 'processes')} on a terminal without one, such as "
        f"{', '.join(unset[:3])}",
        "their rows do not show who it was: their login service does not set it, or a "
        "container or a console without login started them",
        f"add `session required {_MODULE}` to the login service's file in /etc/pam.d; log in again",
    )
