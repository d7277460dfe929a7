"""Who answers at the store's address in place of its server gets no `never` rule for himself.

The service runs with each of them between it and the true server, or in that one's place. A user
needs no privileges for that: he takes the address while the server is away, or `localhost` as
::1 where the server listens on 127.0.0.1 alone.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from fixtures import relay
from fixtures.postgres_server import Server, running
from fixtures.waiting import until
from live.programs import fresh_auid
from live.service import Service

from auditsvc.rule import printing
from auditsvc.service.exclusions import SERVER_KEY

pytestmark = [
    pytest.mark.live,
    pytest.mark.postgres,
    pytest.mark.skipif(os.geteuid() != 0, reason="starts programs as other users"),
]

NOT_LEFT_OUT = "the store's server is not left out of the rules"
LEFT_OUT = "the store's server runs on this host: its own calls are not audited"
LAST_PID = Path("/proc/sys/kernel/ns_last_pid")


def exempting(control):
    """Give the rules that leave a server out."""
    texts = map(printing.text, control.rules())
    return [each for each in texts if SERVER_KEY in each]


@contextmanager
def folder_for_all():
    """Give a folder in which others may make files."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@contextmanager
def relaying(server, kind, user, *, is_named=False):
    """Run a relay, as this user, that calls itself a backend; gives the store's URL through it."""
    with folder_for_all() as folder:
        program = Path(os.path.realpath(sys.executable))
        if is_named:
            program = Path(shutil.copy(program, folder / "postgres"))
            shutil.chown(program, user)
            program.chmod(0o755)
        script = shutil.copy(relay.__file__, folder)
        place = "0" if kind == "tcp" else f"{folder}/.s.PGSQL.5432"
        shell = ["bash", "-c", 'exec -a "postgres: x" "$@"', "bash"]
        as_user = [f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups"]
        words = [program, "-I", "-S", script, kind, place, str(server.port)]
        process = subprocess.Popen(
            ["setpriv", *as_user, "--", *shell, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
        )
        try:
            port = int(process.stdout.readline())
            url, there = server.url(), f"127.0.0.1:{server.port}"
            if kind == "tcp":
                yield url.replace(there, f"127.0.0.1:{port}")
            else:
                yield url.replace(there, "") + f"?host={folder}"
        finally:
            process.communicate(timeout=120)


@contextmanager
def by_tcp(server):
    """Give the URL of a server itself."""
    yield server.url()


class Apart(Server):
    """A server in a pid namespace of its own."""

    def start(self):
        """Start it there, and wait until it answers."""
        said = self.folder / "log"
        words = [*self._as_owner(), self.programs / "postgres", "-D", self.folder / "data"]
        words += ["-c", f"port={self.port}", "-c", "unix_socket_directories="]
        with said.open("wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "--pid", "--fork", "--kill-child", *words],
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        until(lambda: b"ready to accept" in said.read_bytes())

    def stop(self):
        """End it as a crash would."""
        self.process.kill()
        self.process.wait(120)


IMPOSTORS = {
    "a relay by TCP": ({}, lambda server: relaying(server, "tcp", "nobody")),
    "a relay by a file": ({}, lambda server: relaying(server, "unix", "nobody")),
    "a relay of the server's user": ({}, lambda server: relaying(server, "tcp", "postgres")),
    "a relay whose file is named postgres": (
        {},
        lambda server: relaying(server, "tcp", "nobody", is_named=True),
    ),
    "a server with pids of its own": ({"kind": Apart}, by_tcp),
    # Root's program: with LD_PRELOAD, or as its superuser, he runs in it what he likes.
    "a server of another user": ({"user": "nobody"}, by_tcp),
}
SHORT = "a server of another user"


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == SHORT else pytest.mark.long) for n in IMPOSTORS]
)
def test_an_impostor_gets_no_rule(audit_lock, programs, tmp_path, name):
    """The store is opened through it, the log says why it is not left out, and it is audited."""
    how, between = IMPOSTORS[name]
    auid = fresh_auid()
    with running(**how, fsync="off") as server, between(server) as url:
        rules = f"-a always,exit -S getppid -F auid={auid} -k watched\n"
        with Service(tmp_path, rules, store=url) as service:
            until(lambda: NOT_LEFT_OUT in service.log.read_text())
            assert exempting(audit_lock) == []
            programs.run(auid, "/bin/sh", "-c", "true")
        assert LEFT_OUT not in service.log.read_text()


@pytest.mark.long
@pytest.mark.parametrize("way", ["killed", "stopped"])
def test_who_gets_the_pid_of_a_server_that_has_gone_is_audited(audit_lock, programs, tmp_path, way):
    """The rules go with the server: its pid, and children of who has it, have none."""
    auid = fresh_auid()
    with running(user="postgres", fsync="off") as server:
        rules = f"-a always,exit -S getppid -F auid={auid} -k watched\n"
        service = Service(tmp_path, rules, store=server.url())
        with service:
            pid = server.pid
            until(lambda: len(exempting(audit_lock)) == 4)
            if way == "killed":
                os.kill(pid, signal.SIGKILL)
            else:
                server.stop()
            until(lambda: exempting(audit_lock) == [])
            until(lambda: not Path(f"/proc/{pid}").exists())
            until(lambda: _had_pid(pid, programs, auid))
            server.start()
        assert service.query(f"SELECT pid FROM syscalls WHERE pid = {pid} AND key = 'watched'")


def _had_pid(pid, programs, auid):
    """Run a program that is to have this pid and calls getppid then; gives whether it had."""
    code = f"import os; os.getpid() == {pid} and os.getppid(); os._exit(os.getpid() != {pid})"
    LAST_PID.write_text(str(pid - 1))
    words = [programs["as_auid"], str(auid), sys.executable, "-I", "-S", "-c", code]
    return subprocess.run(words, check=False).returncode == 0
