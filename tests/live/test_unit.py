"""packaging/auditsvc.service on the real kernel, under a separate systemd.

A manager for a user, run by root in a mount namespace of its own, applies to the unit what the
system's manager does: capabilities, the filter of system calls, mounts, namespaces, limits.
What it leaves out: cgroups that it may not write (MemoryMax=, CPUWeight=, IPAddressDeny=,
DevicePolicy=), and the order at boot.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest
from fixtures.capabilities import NONE, OWN, bits
from fixtures.commands import AUDITSVC
from fixtures.loader import loader_of, reach_of_key
from fixtures.manager_cgroup import ENTER_CGROUP, leave_cgroups
from fixtures.other_user import SERVICE_UID, passwd_with_user, reachable_folder, with_user
from fixtures.waiting import until
from live.auditd import AUDITCTL, LIBRARIES, PEERS, Auditd, wait_all
from live.programs import fresh_auid
from live.test_takeover import BUSY, FULL, LARGE, load, rule

from auditsvc.host.capabilities import Capability
from auditsvc.host.priority import NICE

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_lock")]

PACKAGING = Path(__file__).parents[2] / "packaging"
AUDITD = """
[Service]
Type=exec
Environment=LD_LIBRARY_PATH={libraries}
ExecStart={auditd} -n -s nochange -c {folder}
Restart=on-failure
[Unit]
RefuseManualStop=yes
[Install]
WantedBy=empty.target
"""
SYSTEMD = Path("/lib/systemd/systemd")
PLACES = ["/root", "/home", "/tmp", "/var/tmp", "/dev/shm", "/etc", "/usr/lib", "/opt", "/run"]

BEGIN = (
    ENTER_CGROUP
    + """
mkdir -p /run/systemd
mount --make-rprivate /
mount --bind "$0" /etc/passwd  # with the service's user
mountpoint -q /run || mount --bind /run /run  # else units would get one of their own
mount -t tmpfs none /run/systemd
mkdir /run/systemd/system /run/systemd/inaccessible /run/systemd/inaccessible/dir
cd /run/systemd/inaccessible
mkfifo fifo; : > reg; mknod chr c 0 0; mknod blk b 0 0; chmod 0 *; cd /
exec /lib/systemd/systemd --user --unit=empty.target --log-target=console --log-level=notice
"""
)


@dataclass
class Manager:
    """A systemd for units of ours."""

    folder: Path
    environment: dict[str, str]

    def systemctl(self, *words: str, check: bool = True) -> str:
        """Ask it."""
        done = subprocess.run(
            ["systemctl", "--user", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert not check or done.returncode == 0, (
            done.stderr + self.log + self.systemctl("status", "auditsvc", check=False)
        )
        return done.stdout

    @property
    def log(self) -> str:
        """What manager and service said."""
        return (self.folder / "log").read_text(errors="replace")

    def show(self, name: str) -> str:
        """Give a property of the service."""
        return self.systemctl("show", "auditsvc", "--property", name, "--value").strip()

    def query(self, sql: str) -> list[dict[str, object]]:
        """Ask the service's store."""
        store = f"sqlite:///{self.folder}/config/auditsvc/auditsvc.db"
        done = subprocess.run(
            with_user(self.folder, AUDITSVC, "query", sql, "--store", store, "--format", "jsonl"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(x) for x in done.stdout.splitlines()]


@pytest.fixture
def manager():
    """Run a manager; skip where none comes up."""
    if not SYSTEMD.exists():
        pytest.skip("live: there is no systemd here")
    with reachable_folder() as folder:
        yield from _managed(folder)


def _managed(folder):
    units = folder / "config/systemd/user"
    units.mkdir(parents=True)
    (units / "empty.target").write_text("[Unit]\nDefaultDependencies=no\n")
    (folder / "runtime").mkdir(mode=0o711)
    passwd = passwd_with_user(folder)
    environment = os.environ | {
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_RUNTIME_DIR": str(folder / "runtime"),
    }
    made = Manager(folder, environment)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", BEGIN, str(passwd)],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        ends = time.monotonic() + 120
        while "empty.target" not in made.systemctl("list-units", check=False):
            if process.poll() is not None or time.monotonic() > ends:
                pytest.skip(f"live: no manager of ours comes up: {made.log[-300:]}")
            time.sleep(0.1)
        # As that of the system's manager, to whose services of other users it belongs.
        (folder / "runtime/systemd/notify").chmod(0o777)
        yield made
    finally:
        made.systemctl("stop", "auditsvc", check=False)
        process.send_signal(signal.SIGRTMIN + 24)  # a manager for a user ends, systemd(1)
        process.wait(120)
        leave_cgroups()


def install(manager, rules, *dropins):
    """Put the unit there as a package would, with paths of ours."""
    units = manager.folder / "config/systemd/user"
    text = (PACKAGING / "auditsvc.service").read_text()
    text = text.replace("/opt/auditsvc/bin/auditsvc", str(AUDITSVC))
    # They belong to the system's manager.
    text = re.sub(r"(?m)^(After|Before|Conflicts|WantedBy)=.*\n", "", text)
    (units / "auditsvc.service").write_text(text)
    file = manager.folder / "live.rules"
    file.write_text(rules)
    settings = manager.folder / "auditsvc.toml"
    settings.write_text(
        f'store = "sqlite:///{manager.folder}/config/auditsvc/auditsvc.db"\n'
        f'state_directory = "{manager.folder}/config/auditsvc"\n'
        f'runtime_directory = "{manager.folder}/runtime/auditsvc"\n'
        f'rules = ["{file}"]\n'
    )
    folder = units / "auditsvc.service.d"
    folder.mkdir()
    (folder / "test.conf").write_text(
        f"[Service]\nEnvironment=AUDITSVC_CONFIG={settings}\n"
        f"StandardOutput=append:{manager.folder}/log\nStandardError=append:{manager.folder}/log\n"
    )
    for each in dropins:
        (folder / f"{each.stem}.conf").write_text(each.read_text())
    manager.systemctl("daemon-reload")


def status_of(pid):
    """Give /proc/PID/status as a dictionary."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_the_unit_collects_and_its_watches_see(manager, programs):
    """With all restrictions of the unit: every path of a watch is seen, and nothing is refused."""
    auid = fresh_auid()
    watched = [Path(place) / f"auditsvc-{auid}" for place in PLACES]
    for folder in watched:
        folder.mkdir()
    try:
        forms = (  # in turns: each place has one, and each form places that a sandbox may hide
            f"-a always,exit -F dir={{}} -F perm=wa -F auid={auid} -k watch",
            "-w {} -p wa -k watch",
            f"-a always,exit -F path={{}}/file -F perm=wa -F auid={auid} -k watch",
        )
        lines = [form.format(each) for form, each in zip(cycle(forms), watched, strict=False)]
        lines.append(f"-a always,exit -S getppid -F auid={auid} -k call")
        install(manager, "\n".join(lines) + "\n")
        manager.systemctl("start", "auditsvc")
        pid = int(manager.show("MainPID"))
        facts = status_of(pid)
        assert facts["Uid"] == "\t".join([str(SERVICE_UID)] * 4)
        state = manager.folder / "config/auditsvc"
        assert {each.stat().st_uid for each in (state, *state.rglob("*"))} == {SERVICE_UID}
        assert (facts["Seccomp"], facts["NoNewPrivs"], facts["CapAmb"]) == ("2", "1", NONE)
        assert facts["CapPrm"] == bits(OWN)
        assert facts["CapBnd"] == bits({*OWN, Capability.AUDIT_READ, Capability.DAC_OVERRIDE})
        for kind in ("net", "uts", "mnt"):
            assert (
                Path(f"/proc/{pid}/ns/{kind}").readlink()
                != Path(f"/proc/self/ns/{kind}").readlink()
            )
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        permitted = [status_of(f"{pid}/task/{task.name}")["CapPrm"] for task in tasks]
        assert set(permitted) == {bits(OWN)}
        child = loader_of(pid)
        tasks = list(Path(f"/proc/{child}/task").iterdir())
        assert {status_of(f"{child}/task/{each.name}")["CapPrm"] for each in tasks} == {NONE}
        assert reach_of_key(pid, child, manager.folder / "config/auditsvc-key") == set()
        assert status_of(child)["Seccomp_filters"] > facts["Seccomp_filters"]  # one of its own
        nices = [task.joinpath("stat").read_text().rpartition(")")[2].split()[16] for task in tasks]
        assert str(max(NICE, os.nice(0))) in nices, nices  # the loader's thread
        for folder in watched:
            programs.run(auid, "/bin/sh", "-c", f": > {folder}/file")
        manager.systemctl("restart", "auditsvc")  # it puts back, and comes again
        programs.run(auid, "/bin/sh", "-c", f": > {watched[0]}/again")
        manager.systemctl("reload", "auditsvc")
        until(lambda: '"reloaded"' in manager.log, told=lambda: manager.log)
        manager.systemctl("stop", "auditsvc")
    finally:
        for folder in watched:
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
    seen = manager.query(
        "SELECT DISTINCT p.name FROM paths p JOIN syscalls s USING (event_id) WHERE s.key = 'watch'"
    )
    missing = {f"{each}/file" for each in watched} - {row["name"] for row in seen}
    assert not missing
    assert {"name": f"{watched[0]}/again"} in seen
    assert manager.show("Result") == "success"
    for word in ("Traceback", "not permitted", "denied", "Bad system call", "Read-only"):
        assert word not in manager.log
    assert manager.query(
        "SELECT count(*) AS n FROM ledger WHERE cause LIKE 'kernel%' AND count > 0"
    )


def test_the_dropin_gives_the_network_back(manager):
    """With network.conf the host's network is there: for PostgreSQL, multicast and the journal."""
    auid = fresh_auid()
    install(
        manager,
        f"-a always,exit -S getppid -F auid={auid} -k call\n",
        PACKAGING / "network.conf",
    )
    manager.systemctl("start", "auditsvc")
    pid = int(manager.show("MainPID"))
    assert Path(f"/proc/{pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink()
    manager.systemctl("stop", "auditsvc")
    assert manager.show("Result") == "success"


def test_restarts_and_crashes_under_load_lose_nothing(manager, programs, kernel_lost):
    """Systemctl restart, reload and kill -9 while a task calls at full rate: no serial is missing.

    A package's upgrade ends with such a restart.
    """
    auid, before = fresh_auid(), kernel_lost()
    install(manager, rule(auid))
    with (manager.folder / "auditsvc.toml").open("a") as file:
        file.write(f"[kernel]\nreceive_buffer = {LARGE}\n")
    manager.systemctl("start", "auditsvc")
    with load(programs, auid, BUSY) as busy, load(programs, auid, FULL) as full:
        manager.systemctl("restart", "auditsvc")
        manager.systemctl("reload", "auditsvc")
        until(lambda: '"reloaded"' in manager.log, told=lambda: manager.log)
        killed = int(manager.show("MainPID"))
        os.kill(killed, signal.SIGKILL)
        until(lambda: manager.show("SubState") == "running" and manager.show("MainPID") != killed)
        until(lambda: manager.log.count('"ready"') == 3, told=lambda: manager.log)
    manager.systemctl("stop", "auditsvc")
    assert manager.show("Result") == "success"
    spool = sorted((manager.folder / "config/auditsvc/spool").glob("*.log"))
    states = re.findall(r"op=takeover \S+ \S+ state=(\w+)", "".join(x.read_text() for x in spool))
    assert states == ["complete"] * 2
    calls = "SELECT count(*) AS calls FROM syscalls WHERE syscall = 'getppid' AND auid = "
    assert manager.query(f"{calls}{auid}") == [{"calls": busy.calls + full.calls}]
    gaps = "SELECT coalesce(sum(count), 0) AS n FROM ledger WHERE cause IN "
    assert manager.query(f"{gaps} ('gap', 'spool_lost', 'kernel_lost')") == [{"n": 0}]
    assert kernel_lost() == before
    assert manager.show("NFileDescriptorStore") == "0"  # a stop leaves no socket open


@pytest.mark.long
def test_adopt_and_back_by_systemd(manager, programs, audit_changes):
    """With an auditd.service that refuses a manual stop, as some distributions have it."""
    auid = fresh_auid()
    etc = manager.folder / "audit"
    etc.mkdir()
    log = Auditd(etc, log_format="ENRICHED").log
    (etc / "rules.d").mkdir()
    wait = audit_changes.status().backlog_wait_time + 1
    # `run` sets no such limit: the drop-in that adopt writes has `rules load` do it.
    (etc / "rules.d/live.rules").write_text(f"{rule(auid)}--backlog_wait_time {wait}\n")
    install(manager, "")
    units = manager.folder / "config/systemd/user"
    with (units / "auditsvc.service").open("a") as unit:
        unit.write("[Install]\nWantedBy=empty.target\n")
    (units / "auditd.service").write_text(
        AUDITD.format(libraries=LIBRARIES, auditd=PEERS / "sbin/auditd", folder=etc)
    )
    manager.systemctl("daemon-reload")
    manager.systemctl("enable", "--now", "auditd")
    until(lambda: audit_changes.status().pid)
    subprocess.run([AUDITCTL, *rule(auid).split()], check=True)
    subprocess.run([AUDITCTL, "-e", "1"], check=True, stdout=subprocess.DEVNULL)
    manager.systemctl("stop", "auditd", check=False)
    assert manager.systemctl("is-active", "auditd") == "active\n"  # the stop was refused
    (manager.folder / "bin").mkdir()
    program = manager.folder / "bin/systemctl"
    program.write_text('#!/bin/sh\nexec /usr/bin/systemctl --user "$@"\n')
    program.chmod(0o755)
    environment = manager.environment | {
        "PATH": f"{manager.folder}/bin:{os.environ['PATH']}",
        "AUDITSVC_CONFIG": str(manager.folder / "auditsvc.toml"),
    }

    def say(*words):
        # The manager's units are where a host's are, for the drop-in.
        mounted = 'mount --bind "$0" /etc/systemd/system && exec "$@"'
        done = subprocess.run(
            [
                *("unshare", "-m", "sh", "-c", mounted, str(units)),
                *with_user(manager.folder, AUDITSVC, *words),
            ],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr + manager.log
        return done.stdout

    with load(programs, auid, BUSY) as made:
        said = say("adopt", "--from", etc, "--apply")
        assert "no record was lost" in said
        assert int(manager.show("MainPID")) == audit_changes.status().pid
        assert manager.systemctl("is-enabled", "auditd", check=False) == "disabled\n"
        assert "rules load" in manager.show("ExecStartPost")  # as user auditsvc, as all of it
        assert audit_changes.status().backlog_wait_time == wait
        audit_changes.set(backlog_wait_time=wait - 1)
        manager.systemctl("restart", "auditsvc")
        assert audit_changes.status().backlog_wait_time == wait
        said = say("adopt", "--from", etc, "--back", "--apply")
        assert "no record was lost" in said
        assert manager.systemctl("is-active", "auditd") == "active\n"
        assert manager.systemctl("is-enabled", "auditsvc", check=False) == "disabled\n"
    wait_all(log)  # the kernel hands records over later
    os.kill(audit_changes.status().pid, signal.SIGTERM)
    until(lambda: manager.systemctl("is-active", "auditd", check=False) == "inactive\n")
    say("ingest", log)
    calls = "SELECT count(*) AS calls FROM syscalls WHERE syscall = 'getppid' AND auid = "
    assert manager.query(f"{calls}{auid}") == [{"calls": made.calls}]
