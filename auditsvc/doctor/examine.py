"""All checks, in the order in which they are told."""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.doctor import (
    boot,
    clock,
    daemons,
    environment,
    kernel_settings,
    logins,
    rules,
    storage,
)
from auditsvc.doctor.finding import Finding, Level, ok, unseen
from auditsvc.errors import AuditsvcError, KernelError
from auditsvc.kernel import Control
from auditsvc.runtime.service_state import read_state
from auditsvc.runtime.switch_requests import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from auditsvc.config import Settings
    from auditsvc.doctor.machine import Machine
    from auditsvc.kernel import Features, Status
    from auditsvc.rule import Rule

_ABOUT_KERNEL: Final = (
    *("enabled", "locked", "failure mode", "rate limit", "backlog limit", "backlog wait time"),
    *("lost", "login uid immutable", "never,task", "rules", "rules: io_uring"),
    *("rules: 32-bit calls", "audit daemon"),
)
"""Findings for which the kernel must answer."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """What the kernel answered."""

    status: Status
    features: Features
    rules: list[Rule]


def ask_kernel() -> Kernel | KernelError:
    """Ask the kernel, or give how it refused."""
    try:
        with Control() as control:
            return Kernel(control.status(), control.features(), control.rules())
    except KernelError as error:
        return error


def examine(
    machine: Machine,
    kernel: Kernel | KernelError,
    settings: Settings | AuditsvcError,
    settings_file: Path,
) -> list[Finding]:
    """Make every check; `settings` may be how they could not be read."""
    return [
        *_of_boot(machine),
        *_of_place(machine),
        *_of_kernel(machine, kernel, settings),
        *_of_readers(machine, settings),
        *_of_logins(machine),
        *_of_storage(settings, settings_file),
        *_seen("clock", lambda: clock.clock(machine, _tai_offset())),
    ]


def _seen(name: str, check: Callable[[], Finding | list[Finding]]) -> list[Finding]:
    """Make a check; that something may not be read is a finding too."""
    try:
        found = check()
    except OSError as error:
        return [unseen(name, f"{error.filename}: {error.strerror} (ask as root)")]
    except AuditsvcError as error:
        return [unseen(name, str(error))]
    return found if isinstance(found, list) else [found]


def _of_boot(machine: Machine) -> Iterator[Finding]:
    yield from _seen("boot: audit=", lambda: boot.audit_parameter(machine))
    yield from _seen("boot: audit_backlog_limit=", lambda: boot.backlog_parameter(machine))
    yield from _seen("kernel: support", lambda: boot.support(machine))
    yield from _seen("kernel: x32 calls", lambda: boot.x32(machine))


def _of_place(machine: Machine) -> Iterator[Finding]:
    yield from _seen("namespaces", lambda: environment.namespaces(machine))
    yield from _seen("container", lambda: environment.container(machine))
    yield from _seen("capabilities", lambda: environment.capabilities(machine))


def _of_kernel(
    machine: Machine, kernel: Kernel | KernelError, settings: Settings | AuditsvcError
) -> Iterator[Finding]:
    name = "kernel: answers"
    if isinstance(kernel, KernelError):
        denied = kernel.errno == errno.EPERM
        yield Finding(
            name,
            Level.WARNING if denied else Level.ERROR,
            kernel.what,
            "the kernel's settings and rules are not known" if denied else "audit cannot be used",
            "sudo auditsvc doctor, on the host itself" if denied else kernel.hint,
        )
        for each in _ABOUT_KERNEL:
            yield unseen(each, "the kernel does not answer us")
        return
    yield ok(name, "yes")
    status = kernel.status
    # Without settings: what a service of the defaults would want.
    source, wanted = "netlink", 0
    serving, last = False, None
    if not isinstance(settings, AuditsvcError):
        source, wanted = settings.source, settings.kernel.backlog_limit
        try:
            running = read_state(settings.runtime_directory)
            made = requests(settings.runtime_directory)
        except AuditsvcError as error:
            yield unseen("service", str(error))
        else:
            serving = running is not None and running.pid == status.pid
            last = made[-1] if made else None
            yield ok("service", f"runs (pid {running.pid})" if running else "does not run")
    yield kernel_settings.enabled(status, serving=serving, last=last)
    yield kernel_settings.locked(status)
    yield kernel_settings.failure(status)
    yield kernel_settings.rate_limit(status)
    yield kernel_settings.backlog_limit(status, wanted=wanted, serving=serving)
    yield kernel_settings.backlog_wait_time(status)
    yield kernel_settings.lost(status)
    yield kernel_settings.loginuid_immutable(kernel.features)
    yield rules.blinding(kernel.rules)
    yield rules.reach(kernel.rules)
    yield rules.uring(kernel.rules)
    yield from _seen("rules: 32-bit calls", lambda: rules.half(kernel.rules, machine))
    yield from _seen(
        "audit daemon",
        lambda: daemons.incumbent(status, machine, serving=serving, source=source),
    )


def _of_readers(machine: Machine, settings: Settings | AuditsvcError) -> Iterator[Finding]:
    source, ours = "netlink", None
    if not isinstance(settings, AuditsvcError):
        source = settings.source
        try:
            running = read_state(settings.runtime_directory)
        except AuditsvcError:
            running = None  # said above
        ours = running.pid if running else None
        wanted = settings.kernel.receive_buffer
        yield from _seen("receive buffer", lambda: environment.receive_buffer(machine, wanted))
    yield from _seen("auditd.service", lambda: daemons.auditd_unit(machine, source=source))
    yield from _seen("journald: Audit=", lambda: daemons.journald(machine))
    yield from _seen("multicast readers", lambda: daemons.listeners(machine, ours=ours))


def _of_logins(machine: Machine) -> Iterator[Finding]:
    yield from _seen("login uid by PAM", lambda: logins.pam(machine))
    yield from _seen("sessions", lambda: logins.sessions(machine))


def _of_storage(settings: Settings | AuditsvcError, file: Path) -> Iterator[Finding]:
    if isinstance(settings, AuditsvcError):
        yield Finding(
            "settings",
            Level.ERROR,
            settings.what,
            "no command works with such settings, and the service does not start",
            settings.hint,
        )
        return
    yield ok("settings", "can be read")
    secret = storage.has_password(settings.store)
    yield from _seen("settings file", lambda: storage.settings_file(file, secret=secret))
    yield from _seen("modes", lambda: storage.modes(settings))
    yield from _seen("disk: spool", lambda: storage.spool_room(settings))
    yield from _seen("spool: names", lambda: storage.spool_names(settings))
    yield from _seen("disk: store", lambda: storage.store_room(settings))
    yield from _seen("store", lambda: storage.store(settings))
    yield from _seen("store: readers", lambda: storage.readers(settings))
    yield from _seen("service: store", lambda: storage.loading(settings))
    yield from _seen("decoder", lambda: storage.decoder(settings))


def _tai_offset() -> int:
    return round(time.clock_gettime(time.CLOCK_TAI) - time.time())
