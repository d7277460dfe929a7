"""The rules exclude a server that is proved to be on this host, and no other process."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from fixtures import pretender
from fixtures.postgres_server import running

from auditsvc.rule import printing
from auditsvc.service import exclusions
from auditsvc.service.exclusions import SERVER_KEY, Exclusions, excluded
from auditsvc.service.local_server import Server, UnprovedError, local_server, prove
from auditsvc.store import open_store

NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user's process is needed")


@contextmanager
def pretending(kind, *before, program=sys.executable):
    """Run a pretender named `postgres: x`; gives a connection to it, and its outer pid."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        place = "0" if kind == "tcp" else f"{folder}/.s.PGSQL.5432"
        shell = ["bash", "-c", 'exec -a "postgres: x" "$@"', "bash", program]
        script = shutil.copy(pretender.__file__, folder)
        process = subprocess.Popen(
            [*before, *shell, "-I", "-S", script, kind, place],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
        )
        try:
            port = int(process.stdout.readline())
            outer = _innermost(process.pid)
            with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as ours:
                ours.connect(place if kind == "unix" else ("127.0.0.1", port))
                process.stdout.readline()
                yield ours, outer
        finally:
            process.communicate(timeout=120)


def refused(why):
    """Expect that it is not proved."""
    return pytest.raises(UnprovedError, match=why)


def _innermost(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return _innermost(int(children[0])) if children else pid


@as_root
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_process_that_calls_itself_a_server_gets_nothing(kind):
    """An unprivileged process that holds the connection, with the right name and the right pid."""
    with pretending(kind, *NOBODY) as (ours, pid):
        assert Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"postgres: ")
        assert Path(f"/proc/{pid}").stat().st_uid != 0
        with pytest.raises(UnprovedError, match=r"not a PostgreSQL server|not a child of"):
            prove(ours, pid)


@as_root
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_process_that_others_connections_name_gets_nothing(kind):
    """The server that answers is another one, and its backend's number is that of the process."""
    with (
        pretending(kind, *NOBODY) as (_, pid),
        pretending(kind) as (ours, _),
        refused("does not hold|not a child"),
    ):
        prove(ours, pid)


@as_root
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_program_that_is_named_postgres_gets_nothing(kind):
    """The name of the file is right, and the file is the user's own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        program = Path(folder, "postgres")
        shutil.copy(os.path.realpath(sys.executable), program)
        shutil.chown(program, "nobody")
        program.chmod(0o755)
        with (
            pretending(kind, *NOBODY, program=str(program)) as (ours, pid),
            refused("than root|not a child"),
        ):
            prove(ours, pid)


@as_root
@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("claimed", ["outer", "inner"])
def test_a_server_in_another_pid_namespace_gets_nothing(kind, claimed):
    """Whatever number it gives: its own, which is another process's here, or the host's."""
    elsewhere = ["unshare", "--pid", "--fork", "--kill-child"]
    with pretending(kind, *elsewhere) as (ours, pid), refused("pid namespace|not a child"):
        prove(ours, pid if claimed == "outer" else 1)


@as_root
def test_a_root_file_mounted_as_postgres_gets_nothing():
    """In a user namespace of his own anybody can mount a file of root's under any name."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        name = Path(folder, "postgres")
        name.touch()
        shutil.chown(name, "nobody")
        mounted = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c"]
        mounted += ['mount --bind "$(readlink -f "$0")" "$1" && shift && exec "$@"']
        mounted += [sys.executable, str(name)]
        works = subprocess.run(
            [*NOBODY, *mounted, "true"], check=False, cwd="/", capture_output=True
        )
        if works.returncode:
            pytest.skip("this host gives users no namespaces of their own")
        with pretending("tcp", *NOBODY, *mounted, program=str(name)) as (ours, pid):
            assert Path(f"/proc/{pid}/exe").readlink() == name
            assert Path(f"/proc/{pid}/exe").stat().st_uid == 0
            with pytest.raises(UnprovedError, match="another user namespace"):
                prove(ours, pid)


@as_root
def test_the_other_end_of_a_connection_to_another_host_is_nobodys():
    """A connection whose other end is in another network namespace, as on another host."""
    with pretending("unix", "unshare", "--net") as (ours, pid), pytest.raises(UnprovedError):
        prove(ours, pid)
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right, pytest.raises(UnprovedError):
        prove(left, os.getpid())


@pytest.mark.postgres
@pytest.mark.parametrize("way", ["127.0.0.1", "file"])
def test_a_server_of_this_host_is_known_by_both_ways(way):
    """By a socket file and over loopback it is the postmaster that is found."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        with running(unix_socket_directories=folder, fsync="off") as server:
            url = server.url()
            if way == "file":
                url = (
                    url.replace(f"127.0.0.1:{server.port}", "")
                    + f"?host={folder}&port={server.port}"
                )
            with open_store(url) as store:
                found = local_server(store)
            pid = int((server.folder / "data/postmaster.pid").read_text().split()[0])
            assert found is not None
            assert (found.pid, found.alive) == (pid, True)


def test_rules_that_exempt_say_their_purpose():
    """Their key distinguishes them from other rules, for the guard and in the kernel's record."""
    rules = [printing.text(add.rule) for add in excluded(Server(7, 1))]
    assert len(rules) == 4
    assert all(f"key={SERVER_KEY}" in rule or f"-k {SERVER_KEY}" in rule for rule in rules)


def test_a_server_that_is_not_proved_is_told_once(monkeypatch):
    """It is not excluded, and the log says why, again only if the reason changes."""
    said = []

    def refuse(store, _proof):
        raise UnprovedError(store)

    monkeypatch.setattr(exclusions, "local_server", refuse)
    monkeypatch.setattr(exclusions.log, "warning", lambda *_, **more: said.append(more["why"]))
    held = Exclusions([], None)
    for why in ("elsewhere", "elsewhere", "a proxy"):
        held.look(why)
        assert held.server is None
    assert said == ["elsewhere", "a proxy"]
    assert held.begin() == []
