"""The doctor's checks, each on a machine made of files or on invented answers."""

from __future__ import annotations

import errno
import gzip
import os
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.findings import shows

from auditsvc.doctor import (
    KernelAnswers,
    Level,
    Machine,
    daemons,
    environment,
    examine,
    kernel_settings,
    logins,
    rules,
)
from auditsvc.errors import ConfigError, KernelError
from auditsvc.kernel import Features, Status
from auditsvc.record.daemon import Actor
from auditsvc.rule import parse
from auditsvc.runtime.switch_requests import Request

STATUS = Status(1, 1, 0, 0, 16384, 0, 0, 0x7F, 15000, 0)
GOOD_CONFIG = "CONFIG_AUDIT=y\nCONFIG_AUDITSYSCALL=y\nCONFIG_IA32_EMULATION=y\n"
UNSET = "4294967295"
SOCKET = "systemd-journald-audit.socket"
UNIT = f"usr/lib/systemd/system/sockets.target.wants/{SOCKET}"
NETLINK = "sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode\n"


def loaded(*lines):
    """Rules as the kernel would list them."""
    return [line.command.rule for line in parse("\n".join(lines))]


# --- the kernel's answers -------------------------------------------------------------------


def test_enabled():
    """Off is an error only where somebody else than we put it off under a running service."""
    off = replace(STATUS, enabled=0)
    asked = Request(False, 1.0, Actor(pid=7, uid=0, auid=1000))
    shows(kernel_settings.enabled(STATUS, serving=True, last=asked), Level.OK)
    shows(kernel_settings.enabled(off, serving=False, last=None), Level.WARNING, "start auditsvc")
    shows(kernel_settings.enabled(off, serving=True, last=None), Level.ERROR, "tamper")
    shows(kernel_settings.enabled(off, serving=True, last=asked), Level.NOTE, "1000", "auditsvc on")


@pytest.mark.parametrize(
    ("check", "values", "level"),
    [
        (kernel_settings.locked, {}, Level.OK),
        (kernel_settings.locked, {"enabled": 2}, Level.NOTE),
        (kernel_settings.failure, {}, Level.OK),
        (kernel_settings.failure, {"failure": 0}, Level.NOTE),
        (kernel_settings.failure, {"failure": 2}, Level.WARNING),
        (kernel_settings.rate_limit, {}, Level.OK),
        (kernel_settings.rate_limit, {"rate_limit": 500}, Level.ERROR),
        (kernel_settings.backlog_wait_time, {}, Level.OK),
        (kernel_settings.backlog_wait_time, {"backlog_wait_time": 0}, Level.WARNING),
        (kernel_settings.lost, {}, Level.OK),
        (kernel_settings.lost, {"lost": 3}, Level.WARNING),
    ],
)
def test_settings_of_the_kernel(check, values, level):
    """Each as AUDIT_GET gives it."""
    shows(check(replace(STATUS, **values)), level)


@pytest.mark.parametrize(
    ("limit", "serving", "level"),
    [
        (16384, True, Level.OK),
        (64, False, Level.OK),
        (64, True, Level.WARNING),
        (0, True, Level.NOTE),
    ],
)
def test_backlog_limit(limit, serving, level):
    """A running service has raised it; if it is lower, somebody took it back."""
    status = replace(STATUS, backlog_limit=limit)
    shows(kernel_settings.backlog_limit(status, wanted=16384, serving=serving), level)


def test_loginuid_immutable():
    """The feature's bit, not its lock."""
    shows(kernel_settings.loginuid_immutable(Features(2, 0)), Level.OK)
    shows(kernel_settings.loginuid_immutable(Features(1, 2)), Level.NOTE, "--loginuid-immutable")


# --- rules ----------------------------------------------------------------------------------


def test_blinding():
    """The command that deletes exactly that rule."""
    shows(rules.never_task_rules(loaded("-a always,exit -S all")), Level.OK)
    found = rules.never_task_rules(loaded("-a never,task", "-a never,task -F uid=5"))
    shows(found, Level.ERROR, "auditctl -d never,task;", "auditctl -d never,task -F uid=5")


@pytest.mark.parametrize(
    ("lines", "level"),
    [
        ([], Level.WARNING),
        (["-a never,exit -S all"], Level.WARNING),
        (["-a always,exit -S all"], Level.OK),
        (["-a always,exit -S open"], Level.NOTE),
        (["-a never,exit -F pid=1", "-a always,exit -S all"], Level.NOTE),
    ],
)
def test_reach(lines, level):
    """Whether every call is logged."""
    shows(rules.reach(loaded(*lines)), level)


@pytest.mark.parametrize(
    ("lines", "level"),
    [
        ([], Level.OK),
        (["-a always,exit -S all"], Level.WARNING),
        (["-a always,exit -S all", "-a always,io_uring -S all"], Level.OK),
    ],
)
def test_uring(lines, level):
    """Who asks for every call asks for the ring's operations too."""
    shows(rules.uring(loaded(*lines)), level)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs a machine with both kinds")
@pytest.mark.parametrize(
    ("lines", "line", "level"),
    [
        (["-a always,exit -F arch=b64 -S openat -k o"], "", Level.WARNING),
        (["-a always,exit -F arch=b64 -S openat -k o"], "ia32_emulation=0", Level.OK),
        (
            [
                "-a always,exit -F arch=b64 -S openat -k o",
                "-a always,exit -F arch=b32 -S openat -k o",
            ],
            "",
            Level.OK,
        ),
        (["-a always,exit -S all"], "", Level.OK),
    ],
)
def test_half(machine, lines, line, level):
    """A 32-bit program makes the same calls."""
    files = {"proc/config.gz": gzip.compress(GOOD_CONFIG.encode()), "proc/cmdline": line}
    shows(rules.only_64_bit(loaded(*lines), machine(files)), level)


# --- who else -------------------------------------------------------------------------------


def test_incumbent(machine):
    """Our service, another process, one that died, none."""
    here = machine({"proc/77/comm": "auditd\n", "proc/77/exe": "->/usr/sbin/auditd"})
    other, dead = replace(STATUS, pid=77), replace(STATUS, pid=78)

    def check(status, *, serving=False, source="netlink"):
        return daemons.incumbent(status, here, serving=serving, source=source)

    shows(check(other), Level.WARNING, "pid 77 (/usr/sbin/auditd)", "auditsvc adopt", "multicast")
    shows(check(other, serving=True), Level.OK, "our service")
    shows(check(other, source="multicast"), Level.OK)
    machine({"proc/79/comm": "beat\n", "proc/79/exe": "->/usr/bin/beat"})
    found = check(replace(STATUS, pid=79))
    shows(found, Level.WARNING, "pid 79 (/usr/bin/beat)", "stop pid 79")
    assert "adopt" not in found.mend  # it changes over from auditd alone
    shows(check(dead), Level.WARNING, "no longer exists")
    shows(check(STATUS), Level.WARNING, "kernel's log")
    shows(check(replace(STATUS, enabled=0)), Level.NOTE)


def test_our_unit(machine):
    """Enabled, or the next boot is not audited; where there is none, nothing is known."""
    unit = "usr/lib/systemd/system/auditsvc.service"
    shows(daemons.our_unit(machine({unit: ""})), Level.OK, "systemd does not run")
    here = machine({"run/systemd/system/x": ""})
    shows(daemons.our_unit(here), Level.WARNING, "not enabled", "systemctl enable auditsvc.service")
    link = "etc/systemd/system/multi-user.target.wants/auditsvc.service"
    shows(daemons.our_unit(machine({link: f"->/{unit}"})), Level.OK, "enabled")


def test_a_service_without_a_unit(machine):
    """Started by something else: that is no fault."""
    here = machine({"run/systemd/system/x": ""})
    shows(daemons.our_unit(here), Level.OK, "no such unit")


@pytest.mark.parametrize(
    ("unit", "check", "says"),
    [
        ("auditd.service", daemons.auditd_unit, "auditsvc adopt"),
        ("audit-rules.service", daemons.auditd_rules, "deletes all rules"),
    ],
)
def test_units_of_auditd(machine, unit, check, says):
    """Enabled by any target; not relevant for a reader beside it."""
    link = f"etc/systemd/system/multi-user.target.wants/{unit}"
    shows(check(machine({}), source="netlink"), Level.OK)
    both = machine({link: f"->/lib/systemd/system/{unit}"})
    shows(check(both, source="netlink"), Level.WARNING, says, f"systemctl disable {unit}")
    shows(check(both, source="multicast"), Level.OK)


@pytest.mark.parametrize(
    ("files", "level", "says"),
    [
        ({}, Level.NOTE, "the default is unknown"),
        ({"etc/systemd/journald.conf": "[Journal]\n#Audit=no\n"}, Level.WARNING, "default"),
        ({"etc/systemd/journald.conf": "[Journal]\n#Audit=yes\n"}, Level.NOTE, "default"),
        (
            {"etc/systemd/journald.conf": "[Journal]\nAudit=off\n"},
            Level.WARNING,
            "switches audit off",
        ),
        ({"etc/systemd/journald.conf": "[Journal]\nAudit=\n"}, Level.OK, "does not change"),
        (
            {"etc/systemd/journald.conf": "[Other]\nAudit=no\n[Journal]\nAudit = keep\n"},
            Level.OK,
            "",
        ),
        (
            {
                "etc/systemd/journald.conf": "[Journal]\nAudit=no\n",
                "usr/lib/systemd/journald.conf.d/50.conf": "[Journal]\nAudit=yes\n",
                "etc/systemd/journald.conf.d/50.conf": "[Journal]\nAudit=keep\n",
                "usr/lib/systemd/journald.conf.d/10.conf": "[Journal]\nAudit=yes\n",
            },
            Level.OK,
            "/etc/systemd/journald.conf.d/50.conf",
        ),
        (
            {
                "etc/systemd/journald.conf": "[Journal]\nAudit=no\n",
                f"etc/systemd/system/{SOCKET}": "->/dev/null",
            },
            Level.OK,
            "masked",
        ),
    ],
)
def test_journald(machine, files, level, says):
    """Drop-ins by name, those in /etc before those of the vendor; a masked socket ends it all."""
    base = {"run/systemd/system/x": "", UNIT: f"->../{SOCKET}"}
    shows(daemons.journald(machine(base | files)), level, says)


def test_journald_without_socket_or_systemd(machine):
    """Without its socket journald cannot reach the kernel's audit."""
    assert "does not run" in daemons.journald(machine({})).found
    here = machine({"run/systemd/system/x": ""})
    shows(daemons.journald(here), Level.OK, "not enabled")


def test_listeners(machine):
    """A socket's inode tells whose it is, also where the port does not."""
    files = {
        "proc/net/netlink": NETLINK
        + "0 9 0 00000000 0 0 0 2 0 6\n"
        + "0 9 4294962 00000001 0 0 0 2 0 900\n"
        + "0 15 1 00000001 0 0 0 2 0 901\n",
        "proc/self/ns/net": "->net:[1]",
        "proc/1/ns/net": "->net:[1]",
        "proc/5/fd/3": "->socket:[900]",
        "proc/5/comm": "systemd-journal\n",
        "proc/6/fd/3": "->socket:[901]",
    }
    here = machine(files)
    found = daemons.listeners(here, ours=None)
    shows(found, Level.NOTE, "pid 5 (systemd-journal)")
    assert "pid 6" not in found.found
    shows(daemons.listeners(here, ours=5), Level.OK)


def test_listeners_elsewhere(machine):
    """Another network namespace has a table of its own, which says nothing of the host's group."""
    files = {"proc/self/ns/net": "->net:[2]", "proc/1/ns/net": "->net:[1]"}
    shows(daemons.listeners(machine(files), ours=None), Level.NOTE, "unknown")
    here = machine({"proc/net/netlink": NETLINK})
    shows(daemons.listeners(here, ours=None), Level.NOTE, "unknown")


# --- the place ------------------------------------------------------------------------------

HOST = {
    "proc/self/ns/user": "->user:[4026531837]",
    "proc/self/ns/pid": "->pid:[4026531836]",
}


def test_namespaces(machine):
    """The initial ones have fixed numbers."""
    shows(environment.namespaces(machine({})), Level.NOTE, "unknown")


@pytest.mark.parametrize(
    ("kind", "level"), [(None, Level.OK), ("user", Level.ERROR), ("pid", Level.ERROR)]
)
def test_other_namespaces(machine, kind, level):
    """Audit is refused in any other."""
    files = HOST | ({f"proc/self/ns/{kind}": f"->{kind}:[4026532178]"} if kind else {})
    shows(environment.namespaces(machine(files)), level, kind or "")


def test_container(machine):
    """Traces that engines leave."""
    shows(environment.container(machine({})), Level.OK)
    shows(environment.container(machine({"run/.containerenv": ""})), Level.NOTE, ".containerenv")


@pytest.mark.parametrize(
    ("bits", "level", "says"),
    [
        ("000001ffffffffff", Level.OK, "CAP_AUDIT_CONTROL"),
        ("000001ffbfffffff", Level.WARNING, "lacks CAP_AUDIT_CONTROL"),
        ("000001dfffffffff", Level.NOTE, "lacks CAP_AUDIT_READ"),
        ("0000000000000000", Level.WARNING, "CAP_NET_ADMIN"),
    ],
)
def test_capabilities(machine, bits, level, says):
    """Bits of CapEff."""
    here = machine(HOST | {"proc/self/status": f"Name:\tx\nCapEff:\t{bits}\n"})
    shows(environment.capabilities(here), level, says)


@pytest.mark.parametrize(
    ("passwd", "uid", "level", "says"),
    [
        ("root:x:0:0::/:/bin/sh\n", "0", Level.WARNING, "no user auditsvc"),
        ("auditsvc:x:900:900::/:/bin/false\n", "900", Level.OK, "auditsvc"),
        ("auditsvc:x:900:900::/:/bin/false\n", "0", Level.WARNING, "is root"),
    ],
)
def test_as_which_user_the_service_runs(machine, passwd, uid, level, says):
    """A service of root's is told, with the reason that can be changed."""
    files = {"etc/passwd": passwd, "proc/7/status": f"Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\n"}
    shows(environment.service_user(machine(HOST | files), 7), level, says)


def test_capabilities_of_another_user_namespace(machine):
    """All bits are set there, and none counts."""
    files = HOST | {
        "proc/self/ns/user": "->user:[4026532178]",
        "proc/self/status": "CapEff:\t000001ffffffffff\n",
        "proc/sys/net/core/rmem_max": "212992\n",
    }
    here = machine(files)
    shows(environment.capabilities(here), Level.NOTE, "nothing to audit")
    shows(environment.receive_buffer(here, 1 << 25), Level.WARNING, "212992")


@pytest.mark.parametrize(
    ("bits", "limit", "level"),
    [("1000", 212992, Level.OK), ("0", 212992, Level.WARNING), ("0", 1 << 25, Level.OK)],
)
def test_receive_buffer(machine, bits, limit, level):
    """Either the capability or the system's limit."""
    files = {
        "proc/self/status": f"CapEff:\t{bits}\n",
        "proc/sys/net/core/rmem_max": f"{limit}\n",
    }
    shows(environment.receive_buffer(machine(HOST | files), 1 << 25), level)


# --- logins ---------------------------------------------------------------------------------


def test_pam(machine):
    """Includes count, comments do not; su must not set it anew."""
    line = "session required pam_loginuid.so\n"
    files = {
        "etc/pam.d/login": "@include common-session\n",
        "etc/pam.d/common-session": "# nothing\nsession include deeper\n",
        "etc/pam.d/deeper": "@include common-session\nsession optional pam_loginuid.so\n",
        "etc/pam.d/sshd": "# " + line,
        "etc/pam.d/su": "session substack deeper\n",
        "etc/pam.d/sudo": "session required pam_limits.so\n",
    }
    found = logins.pam(machine(files))
    assert [each.level for each in found] == [Level.WARNING] * 2
    assert [each.found.split()[0] for each in found] == ["/etc/pam.d/sshd", "/etc/pam.d/su"]


def test_pam_well(machine):
    """One line that says which services set it."""
    [found] = logins.pam(machine({"etc/pam.d/crond": "session required pam_loginuid.so\n"}))
    shows(found, Level.OK, "crond")


def test_pam_absent(machine):
    """No file, no knowledge."""
    [found] = logins.pam(machine({}))
    shows(found, Level.NOTE, "unknown")


def test_sessions(machine):
    """A process on a terminal should have a login uid; getty and what has no terminal need none."""

    def process(pid, comm, terminal, auid):
        return {
            f"proc/{pid}/stat": f"{pid} ({comm}) S 1 1 1 {terminal} 1 " + "0 " * 40,
            f"proc/{pid}/loginuid": auid,
        }

    well = process(1, "init", 0, UNSET) | process(2, "agetty", 1025, UNSET)
    well |= process(3, "bash", 34816, "1000")
    shows(logins.sessions(machine(well)), Level.OK)
    ill = process(4, "b (a) sh", 34816, UNSET)
    shows(logins.sessions(machine(ill)), Level.WARNING, "1 process on", "b (a) sh (4)")


# --- all of it --------------------------------------------------------------------------------

SILENT = KernelError("asking for audit's status: no", "as root", errno.EPERM)


def by_name(found):
    """Findings by their name; a name that comes twice is told apart by its text."""
    return {each.name: each for each in found}


def test_examine_a_machine_that_is_well(machine, settings):
    """Every matter has its finding, and none is worse than a note."""
    files = HOST | {
        "proc/cmdline": "audit=1 audit_backlog_limit=8192",
        "proc/config.gz": gzip.compress(GOOD_CONFIG.encode()),
        "proc/self/status": "CapEff:\t000001ffffffffff\n",
        "proc/net/netlink": NETLINK,
        "run/systemd/timesync/synchronized": "",
        "etc/pam.d/login": "session required pam_loginuid.so\n",
        "proc/77/comm": "x",
    }
    kernel = KernelAnswers(
        replace(STATUS, pid=77),
        Features(2, 0),
        loaded("-a always,exit -S all", "-a always,io_uring -S all"),
    )
    beside = settings.model_copy(update={"source": "multicast"})
    found = examine(machine(files), kernel, beside, Path("/nowhere.toml"))
    assert {each.level for each in found} <= {Level.OK, Level.NOTE}, found
    assert len(by_name(found)) == len(found) >= 30


def test_examine_without_an_answer_of_the_kernel(machine, settings):
    """What it did not tell is said, matter by matter, and is no error for want of privilege."""
    told = by_name(
        examine(
            machine({}), KernelAnswers(STATUS, Features(0, 0), []), settings, Path("/nowhere.toml")
        )
    )
    silent = by_name(examine(machine({}), SILENT, settings, Path("/nowhere.toml")))
    assert set(told) - {"service"} == set(silent)
    assert silent["kernel: answers"].level == Level.WARNING
    assert silent["lost"].found == "unknown: the kernel does not answer"
    refused = KernelError("no audit", "", errno.ECONNREFUSED)
    found = by_name(examine(machine({}), refused, settings, Path("/nowhere.toml")))
    assert found["kernel: answers"].level == Level.ERROR


def test_examine_with_wrong_settings(machine):
    """The rest is looked at all the same."""
    wrong = ConfigError("setting store: wrong", "correct it")
    found = by_name(examine(machine({}), SILENT, wrong, Path("/nowhere.toml")))
    shows(found["settings"], Level.ERROR, "setting store: wrong", "correct it")
    assert "boot: audit=" in found


def test_what_may_not_be_read_is_said(machine, settings, monkeypatch):
    """A file that is there and refused is a finding, not an end."""

    def refuse(_self, path):
        raise PermissionError(errno.EACCES, "Permission denied", f"/{path}")

    monkeypatch.setattr(Machine, "text", refuse)
    found = by_name(examine(machine({}), SILENT, settings, Path("/nowhere.toml")))
    assert found["boot: audit="].level == Level.NOTE
    assert "/proc/cmdline: Permission denied" in found["boot: audit="].found
