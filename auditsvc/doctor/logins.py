"""Whether auid says who logged in: pam_loginuid(8) sets it, and only for the services that ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.doctor.finding import Finding, Level, ok
from auditsvc.host.processes import parse_stat
from auditsvc.record.fields import UNSET, to_text

if TYPE_CHECKING:
    from auditsvc.doctor.machine import Machine

_MODULE: Final = "pam_loginuid.so"
_ENTRIES: Final = (
    *("atd", "cockpit", "cron", "crond", "gdm-fingerprint", "gdm-password", "gdm-smartcard"),
    *("lightdm", "login", "remote", "sddm", "sshd", "vsftpd", "xdm"),
)
"""Services by which people or their jobs come in."""
_INSIDE: Final = ("su", "su-l", "sudo", "sudo-i", "runuser", "runuser-l", "polkit-1")
"""Services that are used after a login: setting it there hides who it was."""
_BEFORE_LOGIN: Final = ("agetty", "getty", "mingetty", "login", "systemd")


def pam(machine: Machine) -> list[Finding]:
    """Which services set the login uid, and which must not."""
    name = "login uid by PAM"
    there = [each for each in (*_ENTRIES, *_INSIDE) if machine.there(f"etc/pam.d/{each}")]
    if not there:
        return [Finding(name, Level.NOTE, "not known: /etc/pam.d has no login service")]
    found = []
    for service in there:
        sets = _sets(machine, service, set())
        if service in _ENTRIES and not sets:
            found.append(
                Finding(
                    name,
                    Level.WARNING,
                    f"/etc/pam.d/{service} does not set it",
                    f"who comes in by {service} has no auid: rows do not say who it was",
                    f"the line `session required {_MODULE}` in /etc/pam.d/{service}",
                )
            )
        elif service in _INSIDE and sets:
            found.append(
                Finding(
                    name,
                    Level.WARNING,
                    f"/etc/pam.d/{service} sets it anew",
                    "rows name the account that was changed to, not the person who logged in",
                    f"take {_MODULE} out of /etc/pam.d/{service}",
                )
            )
    entries = [each for each in there if each in _ENTRIES]
    return found or [ok(name, f"set by {', '.join(entries)}" if entries else "no login service")]


def _sets(machine: Machine, service: str, seen: set[str]) -> bool:
    """Whether a service's file, or one that it includes, calls the module."""
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


def sessions(machine: Machine) -> Finding:
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
    return Finding(
        name,
        Level.WARNING,
        f"{len(unset)} processes on a terminal have none, such as {', '.join(unset[:3])}",
        "their rows do not say who it was: their login service does not set it, or they were "
        "started by a container or a console without login",
        f"`session required {_MODULE}` in the login service's file in /etc/pam.d; log in again",
    )
