"""The service on the real kernel as user auditsvc, with few capabilities, and back as root.

The machine has no such user: a passwd of our own is mounted over the host's, for the service
and for each command alone.
"""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from fixtures.capabilities import HOLDER, NONE, OWN, bits
from fixtures.commands import AUDITSVC
from fixtures.loader import loader_of, reach_of_key
from fixtures.other_user import SERVICE_UID as UID
from fixtures.other_user import passwd_with_user, reachable_folder, with_user
from live.programs import fresh_auid
from live.service import Service
from live.test_takeover import rule

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_lock")]


class WithUser(Service):
    """A service on a host with the user; its commands are run there by root."""

    def __init__(self, folder, rules):
        super().__init__(folder, rules, store=f"sqlite:///{folder}/state/auditsvc.db")
        passwd_with_user(folder)
        self.plain = self.command
        self.command = with_user(folder, *self.plain)

    def cli(self, *words):
        """Run a command as root; it must succeed."""
        done = subprocess.run(
            with_user(self.folder, AUDITSVC, *words),
            env=self.environment | {"AUDITSVC_STORE": self.store},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def query(self, sql):
        """Rows of one SQL statement."""
        return [
            json.loads(line)
            for line in self.cli("query", sql, "--format", "jsonl").split("\n")[:-1]
        ]

    def owners(self):
        """Give the owners of all that is the service's."""
        places = [self.folder / "state", self.folder / "run"]
        return {each.lstat().st_uid for top in places for each in (top, *top.rglob("*"))}


@pytest.fixture
def folder():
    """A folder that the user can reach."""
    with reachable_folder() as made:
        (made / "state").mkdir(mode=0o700)
        yield made


def facts(pid, *names):
    """Give lines of /proc/PID/status."""
    lines = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    return [lines[name] for name in names]


def capabilities_of_threads(pid):
    """Give the permitted capabilities of each kind of thread."""
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    return {facts(f"{pid}/task/{each.name}", "CapPrm")[0] for each in threads}


def test_it_runs_as_its_user_and_collects(folder, programs, kernel_lost):
    """Started by root: as user auditsvc, files and all; over a kill, root's commands, and back."""
    auid, before = fresh_auid(), kernel_lost()
    service = WithUser(folder, rule(auid))
    as_user, service.command = service.command, service.plain
    with service:  # as root, as no such user is there: an earlier version's files
        assert "there is no user auditsvc" in service.log.read_text()
        assert facts(service.process.pid, "CapPrm", "CapBnd", "NoNewPrivs") == [
            bits(OWN | HOLDER),
            bits(OWN | HOLDER),
            "1",
        ]
        programs.run(auid, programs["burst"], "10")
    assert service.owners() == {0}
    (key,) = (folder / "state-key").iterdir()
    (folder / "state/spool/evidence/key").write_bytes(key.read_bytes())  # as of an older program
    key.unlink()

    service.command = as_user
    with service:
        pid = service.process.pid
        assert facts(pid, "Uid", "Gid") == ["\t".join([str(UID)] * 4)] * 2
        wanted = bits(OWN | HOLDER)
        assert facts(pid, "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs") == [
            *[wanted] * 3,
            NONE,
            "1",
        ]
        assert capabilities_of_threads(pid) == {wanted}
        child = loader_of(pid)
        assert facts(child, "Uid", "Gid") == ["\t".join([str(UID)] * 4)] * 2
        names = ("CapPrm", "CapEff", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp")
        assert facts(child, *names) == [*[NONE] * 4, "1", "2"]
        assert capabilities_of_threads(child) == {NONE}
        assert "taken out of the reach of the loader" in service.log.read_text()
        assert reach_of_key(pid, child, folder / "state-key") == set()
        assert service.owners() == {UID}
        programs.run(auid, programs["burst"], "100")
        service.cli("off")
        service.cli("on")
        service.cli("status")
        programs.run(auid, programs["burst"], "100")
        service.stop(signal.SIGKILL)
        programs.run(auid, programs["burst"], "100")
        service.begin()
        holder = json.loads(service.cli("query", "SELECT 1 AS n", "--format", "json"))
        assert holder == [{"n": 1}]
        service.cli("verify")
        assert service.stop() == 0, service.log.read_text()
        assert service.owners() == {UID}
        assert service.query(
            f"SELECT count(*) AS n FROM syscalls WHERE syscall = 'getppid' AND auid = {auid}"
        ) == [{"n": 310}]
        assert service.owners() == {UID}
        assert "op=takeover" in service.spooled().decode()

    service.environment["AUDITSVC_ALERT__EXEC"] = '["/bin/true"]'
    with service:  # back: a setting that may need root
        assert "alert.exec" in service.log.read_text()
        assert facts(service.process.pid, "Uid") == ["0\t0\t0\t0"]
    assert service.owners() == {0}
    assert len(list((folder / "state-key").iterdir())) == 1
    assert kernel_lost() == before
    for word in ("Traceback", "not permitted", "denied"):
        assert word not in service.log.read_text()
