"""All checks, in the order of the report."""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.doctor import (
    bindings,
    boot,
    clock,
    daemons,
    environment,
    kernel_settings,
    logins,
    rules,
    signing_key,
    storage,
)
from auditsvc.doctor.finding import DoctorFinding, Level, ok, unknown
from auditsvc.errors import AuditsvcError, KernelError, of_system
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
"""Findings that need the kernel's answers."""


@dataclass(frozen=True, slots=True)
class KernelAnswers:
    """What the kernel answered."""

    status: Status
    features: Features
    rules: list[Rule]


def ask_kernel() -> KernelAnswers | KernelError:
    """Ask the kernel, or give its refusal."""
    try:
        with Control() as control:
            return KernelAnswers(control.status(), control.features(), control.rules())
    except KernelError as error:
        return error


def examine(
    machine: Machine,
    kernel: KernelAnswers | KernelError,
    settings: Settings | AuditsvcError,
    settings_file: Path,
) -> list[DoctorFinding]:
    """Make every check; `settings` may be the error from reading them."""
    return [
        *_of_boot(machine),
        *_of_environment(machine),
        *_of_kernel(machine, kernel, settings),
        *_of_readers(machine, settings),
        *_of_logins(machine),
        *_of_storage(settings, settings_file),
        *_check("clock", lambda: clock.clock(machine, _tai_offset())),
    ]


def _check(
    name: str, check: Callable[[], DoctorFinding | list[DoctorFinding]]
) -> list[DoctorFinding]:
    """Make a check; what cannot be read is a finding too."""
    try:
        found = check()
    except OSError as error:
        return [unknown(name, f"{of_system(error)} (run as root)")]
    except AuditsvcError as error:
        return [unknown(name, str(error))]
    return found if isinstance(found, list) else [found]


def _of_boot(machine: Machine) -> Iterator[DoctorFinding]:
    yield from _check("boot: audit=", lambda: boot.audit_parameter(machine))
    yield from _check("boot: audit_backlog_limit=", lambda: boot.backlog_parameter(machine))
    yield from _check("kernel: support", lambda: boot.support(machine))
    yield from _check("kernel: x32 calls", lambda: boot.x32(machine))


def _of_environment(machine: Machine) -> Iterator[DoctorFinding]:
    yield from _check("namespaces", lambda: environment.namespaces(machine))
    yield from _check("container", lambda: environment.container(machine))
    yield from _check("module audit", bindings.bindings)
    yield from _check("capabilities", lambda: environment.capabilities(machine))


def _of_kernel(
    machine: Machine, kernel: KernelAnswers | KernelError, settings: Settings | AuditsvcError
) -> Iterator[DoctorFinding]:
    name = "kernel: answers"
    if isinstance(kernel, KernelError):
        denied = kernel.errno == errno.EPERM
        yield DoctorFinding(
            name,
            Level.WARNING if denied else Level.ERROR,
            kernel.what,
            "the kernel's settings and rules are unknown" if denied else "audit cannot be used",
            "sudo auditsvc doctor, on the host itself" if denied else kernel.hint,
        )
        for each in _ABOUT_KERNEL:
            yield unknown(each, "the kernel does not answer")
        return
    yield ok(name, "yes")
    status = kernel.status
    # If the settings cannot be read: the defaults.
    source, wanted = "netlink", 0
    serving, last = False, None
    if not isinstance(settings, AuditsvcError):
        source, wanted = settings.source, settings.kernel.backlog_limit
        try:
            running = read_state(settings.runtime_directory)
            switched = requests(settings.runtime_directory)
        except AuditsvcError as error:
            yield unknown("service", str(error))
        else:
            serving = running is not None and running.pid == status.pid
            last = switched[-1] if switched else None
            yield ok("service", f"runs (pid {running.pid})" if running else "does not run")
    yield kernel_settings.enabled(status, serving=serving, last=last)
    yield kernel_settings.locked(status)
    yield kernel_settings.failure(status)
    yield kernel_settings.rate_limit(status)
    yield kernel_settings.backlog_limit(status, wanted=wanted, serving=serving)
    yield kernel_settings.backlog_wait_time(status)
    yield kernel_settings.lost(status)
    yield kernel_settings.loginuid_immutable(kernel.features)
    yield rules.never_task_rules(kernel.rules)
    yield rules.reach(kernel.rules)
    yield rules.uring(kernel.rules)
    yield from _check("rules: 32-bit calls", lambda: rules.only_64_bit(kernel.rules, machine))
    yield from _check(
        "audit daemon",
        lambda: daemons.incumbent(status, machine, serving=serving, source=source),
    )


def _of_readers(machine: Machine, settings: Settings | AuditsvcError) -> Iterator[DoctorFinding]:
    source, ours = "netlink", None
    if not isinstance(settings, AuditsvcError):
        source = settings.source
        try:
            running = read_state(settings.runtime_directory)
        except AuditsvcError:
            running = None  # reported above
        ours = running.pid if running else None
        yield from _check("service's user", lambda: environment.service_user(machine, ours))
        wanted = settings.kernel.buffer
        yield from _check("receive buffer", lambda: environment.receive_buffer(machine, wanted))
    yield from _check("auditsvc.service", lambda: daemons.our_unit(machine))
    yield from _check("auditd.service", lambda: daemons.auditd_unit(machine, source=source))
    yield from _check("audit-rules.service", lambda: daemons.auditd_rules(machine, source=source))
    yield from _check("journald: Audit=", lambda: daemons.journald(machine))
    yield from _check("multicast readers", lambda: daemons.listeners(machine, ours=ours))


def _of_logins(machine: Machine) -> Iterator[DoctorFinding]:
    yield from _check("login uid by PAM", lambda: logins.pam(machine))
    yield from _check("sessions", lambda: logins.sessions(machine))


def _of_storage(settings: Settings | AuditsvcError, file: Path) -> Iterator[DoctorFinding]:
    if isinstance(settings, AuditsvcError):
        yield DoctorFinding(
            "settings",
            Level.ERROR,
            settings.what,
            "no command works with these settings, and the service does not start",
            settings.hint,
        )
        return
    yield ok("settings", "can be read")
    secret = storage.has_password(settings.store)
    yield from _check("settings file", lambda: storage.settings_file(file, secret=secret))
    yield from _check("modes", lambda: storage.modes(settings))
    yield from _check("signing key", lambda: signing_key.signing_key(settings))
    yield from _check("disk: spool", lambda: storage.spool_room(settings))
    yield from _check("spool: names", lambda: storage.spool_names(settings))
    yield from _check("disk: store", lambda: storage.store_room(settings))
    yield from _check("store", lambda: storage.store(settings))
    yield from _check("store: readers", lambda: storage.readers(settings))
    yield from _check("archive", lambda: storage.archive(settings))
    yield from _check("service: store", lambda: storage.loading(settings))
    yield from _check("service: spool", lambda: storage.flood(settings))
    yield from _check("decoder", lambda: storage.decoder(settings))


def _tai_offset() -> int:
    return round(time.clock_gettime(time.CLOCK_TAI) - time.time())
