"""How the kernel was built and booted, as far as audit goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.doctor.finding import Finding, Level, ok, unseen

if TYPE_CHECKING:
    from auditsvc.doctor.machine import Machine

_OFF: Final = ("0", "off")
_ON: Final = ("1", "on")
_EARLY_BACKLOG: Final = 8192
"""What the STIG and CIS guides ask for, too."""


def audit_parameter(machine: Machine) -> Finding:
    """audit= of the kernel's command line (audit_enable in kernel/audit.c)."""
    name, value = "boot: audit=", machine.parameter("audit")
    if value in _ON:
        return ok(name, f"audit={value}: every task since boot can be traced")
    if value in _OFF:
        return Finding(
            name,
            Level.ERROR,
            f"audit={value}",
            "the kernel refuses audit until it is booted without this",
            _boot_with(machine, "audit=1"),
        )
    return Finding(
        name,
        Level.WARNING,
        "not given",
        "a task that was forked before audit was first enabled in this boot is never traced; "
        "`auditsvc coverage` lists them",
        _boot_with(machine, "audit=1"),
    )


def backlog_parameter(machine: Machine) -> Finding:
    """audit_backlog_limit= of the kernel's command line (64 if it is not given)."""
    name, value = "boot: audit_backlog_limit=", machine.parameter("audit_backlog_limit")
    if machine.parameter("audit") not in _ON:
        return ok(name, "of no matter without audit=1")
    limit = int(value, 0) if value and value.isalnum() and value[:1].isdecimal() else None
    if limit is not None and limit >= _EARLY_BACKLOG:
        return ok(name, f"{limit}")
    return Finding(
        name,
        Level.WARNING,
        f"{value}" if value is not None else "not given (64)",
        "records made before the service starts must fit into this queue, or are lost",
        _boot_with(machine, f"audit_backlog_limit={_EARLY_BACKLOG}"),
    )


def support(machine: Machine) -> Finding:
    """CONFIG_AUDIT and CONFIG_AUDITSYSCALL."""
    name, config = "kernel: support", machine.kernel_config()
    wanted = ("CONFIG_AUDIT", "CONFIG_AUDITSYSCALL")
    if config is None:
        # fs/proc/base.c makes it only with CONFIG_AUDIT.
        if machine.there("proc/self/loginuid"):
            return ok(name, "CONFIG_AUDIT (from /proc/self/loginuid; the rest is not told here)")
        return unseen(name, "the kernel does not tell how it was built")
    missing = [option for option in wanted if config.get(option) != "y"]
    if not missing:
        return ok(name, "CONFIG_AUDIT and CONFIG_AUDITSYSCALL")
    return Finding(
        name,
        Level.ERROR,
        f"built without {' and '.join(missing)}",
        "this kernel cannot trace system calls by audit",
        "boot a kernel of the distribution, or build one with these options",
    )


def x32(machine: Machine) -> Finding:
    """Whether x32 programs run: no rule matches their calls (number over 2047)."""
    name, config = "kernel: x32 calls", machine.kernel_config()
    if config is None:
        return unseen(name, "the kernel does not tell how it was built")
    if config.get("CONFIG_X86_X32_ABI") != "y":
        return ok(name, "there are none")
    value = machine.parameter("syscall.x32")
    off = config.get("CONFIG_X86_X32_DISABLED") == "y"
    if value in {"n", "0"} or (off and value not in {"y", "1"}):
        return ok(name, "switched off at boot")
    return Finding(
        name,
        Level.WARNING,
        "the kernel runs x32 programs",
        "no audit rule matches an x32 call: whoever can run a program can make untraced calls",
        "boot a kernel that is built without CONFIG_X86_X32_ABI; one of Debian's: "
        + _boot_with(machine, "syscall.x32=n"),
    )


def _boot_with(machine: Machine, words: str) -> str:
    """Say the command that makes a boot parameter stay."""
    if machine.there("usr/sbin/grubby") or machine.there("sbin/grubby"):
        return f"grubby --update-kernel=ALL --args={words}; then reboot"
    if machine.there("etc/default/grub"):
        return f"add {words} to GRUB_CMDLINE_LINUX in /etc/default/grub; update-grub; then reboot"
    return f"add {words} to the kernel's command line in the boot loader; then reboot"
