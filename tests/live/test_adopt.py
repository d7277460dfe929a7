"""From auditd to auditsvc and back, with the real auditd, while a task makes numbered calls."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from fixtures.commands import AUDITSVC
from fixtures.waiting import until
from live.auditd import AUDITCTL, LIBRARIES, Auditd, wait_all
from live.programs import fresh_auid
from live.service import Service, cli
from live.test_takeover import load

from auditsvc.kernel import Control

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_changes")]

PAUSE = 1_000_000
"""Nanoseconds between two calls."""


class Host:
    """A folder with what a host has: auditd's settings and rules, and ours."""

    def __init__(self, folder, auid, **settings):
        self.folder = folder
        self.auid = auid
        etc = folder / "audit"
        etc.mkdir()
        self.auditd = Auditd(etc, **{"log_format": "ENRICHED"} | settings)
        self.log = self.auditd.log
        (etc / "rules.d").mkdir()
        self.words = ["-a", "always,exit", "-F", "arch=b64", "-S", "getppid", "-F", f"auid={auid}"]
        self.words += ["-k", "live"]
        (etc / "rules.d/live.rules").write_text(" ".join(self.words) + "\n")
        self.settings = folder / "auditsvc.toml"
        self.settings.write_text(
            f'store = "sqlite:///{folder}/auditsvc.db"\n'
            f'state_directory = "{folder}/state"\nruntime_directory = "{folder}/run"\n'
        )
        self.store = f"sqlite:///{folder}/auditsvc.db"
        self.before = []
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("AUDITSVC_")
        } | {"AUDITSVC_CONFIG": str(self.settings), "LD_LIBRARY_PATH": str(LIBRARIES)}
        self.query = Service.query.__get__(self)
        self.ledger = Service.ledger.__get__(self)

    def adopt(self, *options, status=0):
        """Run the command; gives what it says."""
        done = subprocess.run(
            [*self.before, AUDITSVC, "adopt", "--from", self.folder / "audit", *options],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def load_rules(self):
        """Load the rules as augenrules does."""
        subprocess.run([AUDITCTL, *self.words], check=True)
        subprocess.run([AUDITCTL, "-e", "1"], check=True, stdout=subprocess.DEVNULL)

    def collects(self):
        """Wait until our service has written a call that was made from now on."""

        def written():
            return sum(each.stat().st_size for each in self.folder.glob("state/spool/*.log"))

        before = written()
        until(lambda: written() > before)

    def counts(self):
        """Rows of the numbered calls, and how many different events they are."""
        (found,) = self.query(
            "SELECT count(*) AS calls, count(DISTINCT serial) AS serials FROM syscalls"
            f" WHERE auid = {self.auid} AND syscall = 'getppid'"
        )
        return found["calls"], found["serials"]


def daemon():
    """The registered daemon's pid and program."""
    with Control() as control:
        pid = control.status().pid
    try:
        return pid, Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return 0, ""


def stop_daemon():
    """End whatever is registered."""
    pid, _ = daemon()
    if pid:
        os.kill(pid, signal.SIGTERM)
        until(lambda: daemon() == (0, ""))


@contextmanager
def host_of(folder, **settings):
    """A host with a running auditd and its rules loaded; whatever is the daemon is ended."""
    host = Host(folder, fresh_auid(), **settings)
    with host.auditd:
        host.load_rules()
        try:
            yield host
        finally:
            stop_daemon()
            for each in (host.folder / "state/adopt").glob("between-*/bridge.json"):
                found = re.search(r'"pid": (\d+), "ended": ""', each.read_text())
                if found and Path(f"/proc/{found[1]}").exists():
                    os.kill(int(found[1]), signal.SIGTERM)


def end_daemon(host):
    """End the daemon when it has all that was called before: the kernel gives it records later."""
    wait_all(host.log)
    stop_daemon()


def test_there_and_back_under_load_loses_no_call(programs, tmp_path, kernel_lost):
    """Every call before, during and after both changes is a row, once."""
    before = kernel_lost()
    with host_of(tmp_path) as host:
        with load(programs, host.auid, PAUSE) as made:
            until(lambda: host.log.read_bytes().count(b"type=SYSCALL") > 100)
            said = host.adopt("--apply")
            assert "no record was lost" in said
            assert daemon()[1].startswith("python")
            host.collects()
            said = host.adopt("--back", "--apply")
            print(said)
            assert "no record was lost" in said
            assert daemon()[1] == "auditd"
            written = host.log.stat().st_size
            until(lambda: host.log.stat().st_size > written)
        end_daemon(host)
        cli("ingest", str(host.log), environment=host.environment)
        assert host.counts() == (made.calls, made.calls)
        assert kernel_lost() == before


def boot_again(host):
    """Do what a reboot does: /run is empty, the kernel has no rules, and `run` is started."""
    pid, _ = daemon()
    os.kill(pid, signal.SIGTERM)
    until(lambda: daemon() == (0, ""))
    shutil.rmtree(host.folder / "run")
    subprocess.run([AUDITCTL, "-d", *host.words[1:]], check=True)
    subprocess.run([AUDITCTL, "-e", "0"], check=True, stdout=subprocess.DEVNULL)
    progress = host.folder / "state/adopt/state.json"
    noted = json.loads(progress.read_text())
    assert noted["boot"]
    progress.write_text(json.dumps(noted | {"boot": "an earlier one"}))
    with (host.folder / "boot.log").open("wb") as log:
        process = subprocess.Popen(
            [AUDITSVC, "run"], env=host.environment, stdin=subprocess.DEVNULL, stderr=log
        )
    until(lambda: '"ready"' in (host.folder / "boot.log").read_text())
    assert daemon()[0] == process.pid
    return process


@pytest.mark.long
@pytest.mark.parametrize("is_forgotten", [False, True], ids=["as it was", "state is gone"])
def test_back_after_a_reboot_loses_no_call(programs, tmp_path, is_forgotten):
    """Nothing of /run is left: the rules stay until auditd has its own, and every call is a row.

    Without the state directory's file it is not known how auditd ran: that is said.
    """
    with host_of(tmp_path) as host:
        host.adopt("--apply")
        process = boot_again(host)
        with load(programs, host.auid, PAUSE) as made:
            spool = tmp_path / "state/spool"
            until(lambda: b"syscall=110 " in b"".join(x.read_bytes() for x in spool.glob("*.log")))
            if is_forgotten:
                (tmp_path / "state/adopt/state.json").unlink()
                said = host.adopt("--back", "--apply", status=1)
                assert "install auditd" in said
                assert daemon()[0] == process.pid  # it goes on
            else:
                said = host.adopt("--back", "--apply")
                assert "no record was lost" in said
                assert "stay loaded" in said
                assert process.wait(60) == 0
                assert daemon()[1] == "auditd"
                written = host.log.stat().st_size
                until(lambda: host.log.stat().st_size > written)
        listed = subprocess.run([AUDITCTL, "-l"], capture_output=True, text=True, check=True)
        assert f"auid={host.auid}" in listed.stdout
        end_daemon(host)
        if is_forgotten:
            assert process.wait(60) == 0
        else:
            cli("ingest", str(host.log), environment=host.environment)
        assert host.counts() == (made.calls, made.calls)


MOMENTS = [
    ("--apply", "settings: "),
    ("--apply", "auditd's old logs"),
    ("--apply", "was stopped by SIGTERM"),
    ("--apply", "is the audit daemon"),
    ("--apply", "the copy beyond it"),
    ("--back", "was stopped"),
    ("--back", "is the audit daemon"),
    ("--back", "the copy beyond it"),
]


def killed_at(host, words, line):
    """Run the command and kill it (SIGKILL) when it says this; gives all that it said."""
    process = subprocess.Popen(
        [AUDITSVC, "adopt", "--from", host.folder / "audit", *words],
        env=host.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = []
    for each in process.stdout:
        said.append(each)
        if line in each:
            process.kill()
            break
    said += process.stdout  # it goes on until the signal arrives
    process.stdout.close()
    assert process.wait(60) == -signal.SIGKILL, "".join(said)
    return "".join(said)


@pytest.mark.long
@pytest.mark.parametrize(("way", "line"), MOMENTS)
def test_killed_at_any_moment_it_is_finished_by_running_it_again(programs, tmp_path, way, line):
    """SIGKILL where the command has just said something: the copy goes on, and no call is lost."""
    with host_of(tmp_path) as host:
        with load(programs, host.auid, PAUSE) as made:
            until(lambda: host.log.read_bytes().count(b"type=SYSCALL") > 100)
            words = ["--apply"]
            if way == "--back":
                host.adopt("--apply")
                words = ["--back", "--apply"]
            said = killed_at(host, words, line)
            said += host.adopt(*words)
            assert "no record was lost" in said
            assert daemon()[1].startswith("auditd" if way == "--back" else "python")
            assert "nothing to do" in host.adopt(*words)
        end_daemon(host)
        cli("ingest", str(host.log), environment=host.environment)
        assert host.counts() == (made.calls, made.calls)
        runs = [each.read_text() for each in host.folder.glob("state/adopt/*/bridge.json")]
        assert not [each for each in runs if '"ended": ""' in each]


@pytest.mark.long
def test_a_copy_that_was_killed_is_said(programs, tmp_path):
    """The last line names it, and the exit status is 1: what may be missing is never hidden."""
    with host_of(tmp_path) as host:
        with load(programs, host.auid, PAUSE):
            killed_at(host, ["--apply"], "was stopped by SIGTERM")
            (facts,) = host.folder.glob("state/adopt/*/bridge.json")
            os.kill(int(re.search(r'"pid": (\d+)', facts.read_text())[1]), signal.SIGKILL)
            said = host.adopt("--apply", status=1)
        assert "records may be missing" in said
        assert "its process was killed" in said


@pytest.mark.long
def test_if_auditsvc_does_not_start_auditd_runs_again(tmp_path):
    """With its old arguments; what came in between is in the store, and what to do is said."""
    with host_of(tmp_path) as host:
        (tmp_path / "state").mkdir(mode=0o700)
        (tmp_path / "state/spool").write_text("no folder\n")
        before = daemon()[0]
        said = host.adopt("--apply", status=1)
        assert "auditsvc does not start" in said
        pid, program = daemon()
        assert (program, pid != before) == ("auditd", True)
        assert f"auditd (pid {pid}) runs again" in said
        (tmp_path / "state/spool").unlink()
        assert "no record was lost" in host.adopt("--apply")


@pytest.mark.long
def test_another_daemon_is_left_alone(tmp_path):
    """Only auditd is stopped, and our own service of this host; any other is named."""
    folder = tmp_path / "other"
    folder.mkdir()
    (tmp_path / "host").mkdir()
    host = Host(tmp_path / "host", fresh_auid())
    with Service(folder, "") as service:
        said = host.adopt("--apply", status=1)
        assert f"the audit daemon is pid {service.process.pid}" in said
        assert "which is not auditd" in said
        assert daemon()[0] == service.process.pid
    assert not host.log.exists()


@pytest.mark.long
def test_without_apply_nothing_changes(tmp_path):
    """The plan, and no file, process or rule is another afterwards."""
    with host_of(tmp_path) as host:
        before = (daemon(), host.settings.read_text(), sorted(tmp_path.rglob("*")))
        for words in ((), ("--dry-run",), ("--back",)):
            assert "nothing was changed" in host.adopt(*words, "--format", "table")
        assert (daemon(), host.settings.read_text(), sorted(tmp_path.rglob("*"))) == before
