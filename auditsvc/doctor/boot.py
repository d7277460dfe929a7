"""How the kernel was built and booted, as far as it concerns audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.doctor.finding import DoctorFinding, Level, ok, unknown

if TYPE_CHECKING:
    from auditsvc.doctor.machine import Machine

_OFF: Final = ("0", "off")
_ON: Final = ("1", "on")
_EARLY_BACKLOG: Final = 8192
"""The STIG and CIS guides ask for the same."""


def audit_parameter(machine: Machine) -> DoctorFinding:
    """audit= of the kernel's command line (audit_enable in kernel/audit.c)."""
    name, value = "boot: audit=", machine.parameter("audit")
    if value in _ON:
        return ok(name, f"audit={value}: every task since boot can be traced")
    if value in _OFF:
        return DoctorFinding(
            name,
            Level.ERROR,
            f"audit={value}",
            "the kernel refuses audit until it is booted without this parameter",
            _boot_with(machine, "audit=1"),
        )
    return DoctorFinding(
        name,
        Level.WARNING,
        "not given",
        "a task that was forked before audit was first enabled in this boot is never traced; "
        "`auditsvc coverage` lists them",
        _boot_with(machine, "audit=1"),
    )


def backlog_parameter(machine: Machine) -> DoctorFinding:
    """audit_backlog_limit= of the kernel's command line (64 if it is not given)."""
    name, value = "boot: audit_backlog_limit=", machine.parameter("audit_backlog_limit")
    if machine.parameter("audit") not in _ON:
        return ok(name, "not relevant without audit=1")
    limit = int(value, 0) if value and value.isalnum() and value[:1].isdecimal() else None
    if limit is not None and limit >= _EARLY_BACKLOG:
        return ok(name, f"{limit}")
    return DoctorFinding(
        name,
        Level.WARNING,
        f"{value}" if value is not None else "not given (64)",
        "records made before the service starts are lost if they do not fit into this queue",
        _boot_with(machine, f"audit_backlog_limit={_EARLY_BACKLOG}"),
    )


def support(machine: Machine) -> DoctorFinding:
    """CONFIG_AUDIT and CONFIG_AUDITSYSCALL."""
    name, config = "kernel: support", machine.kernel_config()
    wanted = ("CONFIG_AUDIT", "CONFIG_AUDITSYSCALL")
    if config is None:
        # fs/proc/base.c makes it only with CONFIG_AUDIT.
        if machine.exists("proc/self/loginuid"):
            return ok(name, "CONFIG_AUDIT (from /proc/self/loginuid; other options are unknown)")
        return unknown(name, "the kernel's build options cannot be read")
    missing = [option for option in wanted if config.get(option) != "y"]
    if not missing:
        return ok(name, "CONFIG_AUDIT and CONFIG_AUDITSYSCALL")
    return DoctorFinding(
        name,
        Level.ERROR,
        f"built without {' and '.join(missing)}",
        "this kernel cannot audit system calls",
        "boot a kernel of the distribution, or build one with these options",
    )


def x32(machine: Machine) -> DoctorFinding:
    """Whether x32 programs run: no rule matches their calls (number over 2047)."""
    name, config = "kernel: x32 calls", machine.kernel_config()
    if config is None:
        return unknown(name, "the kernel's build options cannot be read")
    if config.get("CONFIG_X86_X32_ABI") != "y":
        return ok(name, "this kernel has none")
    value = machine.parameter("syscall.x32")
    off = config.get("CONFIG_X86_X32_DISABLED") == "y"
    if value in {"n", "0"} or (off and value not in {"y", "1"}):
        return ok(name, "switched off at boot")
    return DoctorFinding(
        name,
        Level.WARNING,
        "the kernel runs x32 programs",
        "no audit rule matches an x32 call: any program can make calls that are not logged",
        "boot a kernel that is built without CONFIG_X86_X32_ABI; with a Debian kernel: "
        + _boot_with(machine, "syscall.x32=n"),
    )


def _boot_with(machine: Machine, words: str) -> str:
    """Give the command that sets a boot parameter permanently."""
    if machine.exists("usr/sbin/grubby") or machine.exists("sbin/grubby"):
        return f"grubby --update-kernel=ALL --args={words}; then reboot"
    if machine.exists("etc/default/grub"):
        return f"add {words} to GRUB_CMDLINE_LINUX in /etc/default/grub; update-grub; then reboot"
    return f"add {words} to the kernel's command line in the boot loader; then reboot"
