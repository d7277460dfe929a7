"""The doctor's checks of the boot: the kernel's parameters, loaders, configuration."""

from __future__ import annotations

import gzip

import pytest
from fixtures.findings import shows

from auditsvc.doctor import (
    Level,
    boot,
)

GOOD_CONFIG = "CONFIG_AUDIT=y\nCONFIG_AUDITSYSCALL=y\nCONFIG_IA32_EMULATION=y\n"


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("quiet audit=1", Level.OK),
        ("audit=on quiet", Level.OK),
        ("audit=0", Level.ERROR),
        ("audit=1 audit=off", Level.ERROR),
        ("quiet", Level.WARNING),
        ("noaudit=1", Level.WARNING),
    ],
)
def test_audit_parameter(machine, line, level):
    """The last audit= on the command line decides."""
    shows(boot.audit_parameter(machine({"proc/cmdline": line + "\n"})), level)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"usr/sbin/grubby": ""}, "grubby --update-kernel=ALL --args=audit=1"),
        ({"etc/default/grub": ""}, "update-grub"),
        ({}, "boot loader"),
    ],
)
def test_boot_loaders(machine, files, says):
    """The command is the one of this distribution."""
    shows(boot.audit_parameter(machine({"proc/cmdline": ""} | files)), Level.WARNING, says)


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("quiet", Level.OK),
        ("audit=1", Level.WARNING),
        ("audit=1 audit_backlog_limit=64", Level.WARNING),
        ("audit=1 audit_backlog_limit=much", Level.WARNING),
        ("audit=1 audit_backlog_limit=8192", Level.OK),
        ("audit=1 audit-backlog-limit=0x4000", Level.OK),
    ],
)
def test_backlog_parameter(machine, line, level):
    """With audit=1 the early queue must be large enough."""
    shows(boot.backlog_parameter(machine({"proc/cmdline": line})), level)


@pytest.mark.parametrize(
    ("files", "level", "says"),
    [
        ({"proc/config.gz": gzip.compress(GOOD_CONFIG.encode())}, Level.OK, "CONFIG_AUDITSYSCALL"),
        ({"proc/sys/kernel/osrelease": "6.1\n", "boot/config-6.1": GOOD_CONFIG}, Level.OK, ""),
        (
            {"proc/sys/kernel/osrelease": "6.1\n", "boot/config-6.1": "CONFIG_AUDIT=y\n"},
            Level.ERROR,
            "without CONFIG_AUDITSYSCALL",
        ),
        ({"proc/self/loginuid": "0"}, Level.OK, "loginuid"),
        ({}, Level.NOTE, "unknown"),
    ],
)
def test_support(machine, files, level, says):
    """From /proc/config.gz, the file in /boot, or what only such a kernel has."""
    shows(boot.support(machine(files)), level, says)


@pytest.mark.parametrize(
    ("config", "line", "level"),
    [
        ("CONFIG_AUDIT=y", "", Level.OK),
        ("CONFIG_X86_X32_ABI=y", "", Level.WARNING),
        ("CONFIG_X86_X32_ABI=y", "syscall.x32=n", Level.OK),
        ("CONFIG_X86_X32_ABI=y\nCONFIG_X86_X32_DISABLED=y", "", Level.OK),
        ("CONFIG_X86_X32_ABI=y\nCONFIG_X86_X32_DISABLED=y", "syscall.x32=y", Level.WARNING),
    ],
)
def test_x32(machine, config, line, level):
    """Calls that no rule matches."""
    files = {"proc/config.gz": gzip.compress(config.encode()), "proc/cmdline": line}
    shows(boot.x32(machine(files)), level)
