"""What commands and the service may do, when root starts them: user, capabilities, groups."""

from __future__ import annotations

import grp
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures import commands
from fixtures.commands import AUDITSVC, Begun
from fixtures.loader import loader_of, reach_of_key
from fixtures.logs import opening
from fixtures.other_user import SERVICE_UID, passwd_with_user, reachable_folder, with_user
from fixtures.waiting import until

from auditsvc.host.capabilities import Capability
from auditsvc.host.service_user import hand_over

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

READERS, READER = "nogroup", 64_998
NONE = "0" * 16
PLAIN = {"PATH": os.environ["PATH"]}


@pytest.fixture
def folder():
    """A folder that the service's user can reach."""
    with reachable_folder() as made:
        passwd_with_user(made)
        yield made


def environment(folder, **more):
    """Give variables that keep a service in this folder."""
    return PLAIN | {
        "AUDITSVC_STATE_DIRECTORY": f"{folder}/state",
        "AUDITSVC_RUNTIME_DIRECTORY": f"{folder}/run",
        "AUDITSVC_STORE": f"sqlite:///{folder}/state/auditsvc.db",
        **more,
    }


class Run:
    """`run --source stdin`, until its input ends; forked, or by exec."""

    def __init__(self, folder, *, has_user=True, by_exec=False, prefix=(), source="stdin", **more):
        self.folder = folder
        words = ("run", "--source", source)
        given = environment(folder, **more)
        streams = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        if by_exec:
            command = with_user(folder, AUDITSVC, *words) if has_user else [AUDITSVC, *words]
            self.process = subprocess.Popen([*prefix, *command], env=given, **streams)
        else:
            self.process = Begun(*words, environment=given, bound=known(folder), **streams)
        self.errors = ""

    def __enter__(self):
        if self.process.args[-1] == "stdin":
            self.process.stdin.write(opening(1))
            self.process.stdin.flush()
        until(self.is_ready, told=self.told)  # another run may have left a store
        until(lambda: self.count() == 1, told=self.told)
        return self

    def __exit__(self, *_):
        if self.process.args[-1] != "stdin":
            self.process.terminate()
        if not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.stdin = None
        self.errors += self.process.communicate(timeout=60)[1]
        assert self.process.returncode == 0, self.errors

    def is_ready(self):
        """Whether it has shown its state: then it is who it is going to be."""
        try:
            state = json.loads((self.folder / "run/state.json").read_text())
        except (OSError, ValueError):
            return False
        return state["pid"] == self.process.pid

    def told(self):
        """What it said, if it has ended."""
        return self.process.stderr.read() if self.process.poll() is not None else "it runs"

    def count(self):
        """Count the rows; 0 while there is no store yet."""
        done = query(self.folder)
        return int(done.stdout.split()[-1]) if done.returncode == 0 else 0


def known(folder):
    """Give what is mounted where the service's user is known."""
    return [(folder / "passwd", "/etc/passwd")]


def query(folder, **options):
    """Count the rows of the store as root, or as somebody else."""
    words = ("query", "SELECT count(*) AS n FROM syscalls", "--format", "csv")
    if not options:
        return commands.run(*words, environment=environment(folder), bound=known(folder), text=True)
    return subprocess.run(
        [AUDITSVC, *words],
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def statuses(pid):
    """Give /proc/PID/task/TID/status of each thread as a dictionary."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        yield dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def owners(folder):
    """Give the owners of all that is the service's."""
    tops = [folder / "state", folder / "run"]
    return {each.lstat().st_uid for top in tops for each in (top, *top.rglob("*"))}


def test_the_service_becomes_its_user_and_root_again(folder):
    """Root starts it: it is user auditsvc with two capabilities, the loader's process with none."""
    with Run(folder, has_user=False, by_exec=True) as run:
        assert {each["Uid"] for each in statuses(run.process.pid)} == {"0\t0\t0\t0"}
    assert "there is no user auditsvc" in run.errors
    assert owners(folder) == {0}
    with Run(folder, by_exec=True) as run:
        found = list(statuses(run.process.pid))
        child = loader_of(run.process.pid)
        loader = list(statuses(child))
        assert owners(folder) == {SERVICE_UID}
        assert reach_of_key(run.process.pid, child, folder / "state-key") == set()
    uid = "\t".join([str(SERVICE_UID)] * 4)
    kept = 1 << Capability.SYS_PTRACE | 1 << Capability.DAC_READ_SEARCH
    assert {(each["Uid"], each["Gid"], each["NoNewPrivs"]) for each in found} == {(uid, uid, "1")}
    assert {each["CapBnd"] for each in found} == {f"{kept:016x}"}
    assert {each["CapPrm"] for each in found} == {f"{kept:016x}"}
    shown = {(each["Uid"], each["CapPrm"], each["CapBnd"], each["Seccomp"]) for each in loader}
    assert {facts[0] for facts in shown} == {uid}
    assert {facts[1] for facts in shown} == {NONE}
    assert {facts[3] for facts in shown} == {"2"}
    assert "as root" not in run.errors
    assert "cannot" not in run.errors
    assert owners(folder) == {SERVICE_UID}
    with Run(folder, by_exec=True, AUDITSVC_ALERT__EXEC='["/bin/true"]') as run:
        assert {each["Uid"] for each in statuses(run.process.pid)} == {"0\t0\t0\t0"}
    assert "the service runs as root: alert.exec may need it" in run.errors
    assert owners(folder) == {0}


def test_a_key_of_the_loaders_user_is_taken_over(folder):
    """One of an older program, beside the heads: it signs on, and is where it was no more."""
    with Run(folder):
        pass
    (key,) = (folder / "state-key").iterdir()
    beside = folder / "state/spool/evidence/key"
    beside.write_bytes(older_form(key))
    os.chown(beside, SERVICE_UID, SERVICE_UID)
    beside.chmod(0o600)
    key.unlink()
    with Run(folder) as run:
        until(lambda: not beside.exists(), told=run.told)
        assert reach_of_key(run.process.pid, loader_of(run.process.pid), key.parent) == set()
    assert str(beside) in run.errors
    assert "taken out of the reach of the loader" in run.errors
    done = commands.run(
        "verify", "--lines-only", environment=environment(folder), bound=known(folder), text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def older_form(key):
    """Give keys as an older program wrote them: only the keys."""
    data = key.read_bytes()
    return data[data.index(b"-----BEGIN") : data.rindex(b"-----\n") + 6]


def test_the_forwarder_reads_roots_settings_and_keeps_nothing(journald, folder):
    """It is the same user, reads a settings file that only root may read, and has no capability."""
    settings = folder / "auditsvc.toml"
    settings.write_text("[forward]\nenabled = true\n")
    settings.chmod(0o600)
    group = grp.getgrnam("systemd-journal").gr_gid
    for each in (journald.directory, *journald.directory.rglob("*")):
        os.chown(each, -1, group)  # as systemd-tmpfiles makes it
        each.chmod(0o2755 if each.is_dir() else 0o640)
    words = {"prefix": journald.prefix, "by_exec": True, "AUDITSVC_CONFIG": str(settings)}
    with Run(folder, **words) as run:
        state = folder / "run/forward.json"
        until(state.exists, told=run.told)
        shown = until(lambda: json.loads(state.read_text()))
        (status,) = statuses(shown["pid"])
    assert not shown["trouble"]
    assert status["Uid"] == "\t".join([str(SERVICE_UID)] * 4)
    assert (status["CapPrm"], status["CapAmb"], status["NoNewPrivs"]) == (NONE, NONE, "1")
    assert str(group) in status["Groups"].split()


def test_a_log_of_roots_is_read_by_a_process_that_may_not_open_it(folder):
    """`run --source FILE`: it gets descriptors of the log's files, also of those of a rotation."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    log = closed / "audit.log"
    log.write_text(opening(1))
    log.chmod(0o600)
    (closed / "audit.log.secret").write_text("another's")
    with Run(folder, source=str(log)) as run:
        child = loader_of(run.process.pid)
        shown = {(each["Uid"], each["CapPrm"], each["Seccomp"]) for each in statuses(child)}
        assert shown == {("\t".join([str(SERVICE_UID)] * 4), NONE, "2")}
        threads = {each["Name"] for each in statuses(run.process.pid)}
        assert "loader" not in threads
        log.rename(closed / "audit.log.1")
        log.write_text(opening(2))
        until(lambda: run.count() == 2, told=run.told)
        os.kill(child, signal.SIGKILL)
        until(lambda: loader_of(run.process.pid) not in (0, child), told=run.told)
        with log.open("a") as stream:
            stream.write(opening(3))
        until(lambda: run.count() == 3, told=run.told)
        assert not any("secret" in str(each) for each in open_files(run.process.pid))
    assert "loader is a thread" not in run.errors


def open_files(pid):
    """Give what a process has open."""
    return [each.readlink() for each in Path(f"/proc/{pid}/fd").iterdir()]


def test_a_source_that_is_not_there_is_one_line_at_once(folder):
    """Neither store nor process is made."""
    done = subprocess.run(
        with_user(folder, AUDITSVC, "run", "--source", folder / "absent.log"),
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"auditsvc: {folder}/absent.log: No such file or directory; give a log that can be read"
    ]
    assert not (folder / "state/auditsvc.db").exists()


def test_a_second_run_takes_no_files_from_the_first(folder):
    """Refused, as the spool is in use; whatever its settings, the files stay the service's."""
    with Run(folder):
        second = commands.run(
            *("run", "--source", "stdin"),
            environment=environment(folder, AUDITSVC_ALERT__EXEC='["/bin/true"]'),
            bound=known(folder),
            text=True,
        )
        assert second.returncode == 1
        assert "another" in second.stderr
        assert owners(folder) == {SERVICE_UID}


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_no_link_is_followed_when_files_are_given(folder, kind):
    """A link to a file of root's in the spool: that file stays root's."""
    theirs = folder / "theirs"
    theirs.write_text("")
    (folder / "state/spool").mkdir(parents=True, mode=0o700)
    (folder / "state").chmod(0o700)
    link = folder / "state/spool/link"
    if kind == "symlink":
        link.symlink_to(theirs)
        hand_over(folder / "state", 0, SERVICE_UID, SERVICE_UID)
        assert (folder / "state/spool").stat().st_uid == SERVICE_UID
    else:
        link.hardlink_to(theirs)
        with pytest.raises(OSError, match="2 names"):
            hand_over(folder / "state", 0, SERVICE_UID, SERVICE_UID)
    assert theirs.stat().st_uid == 0


def test_a_folder_that_is_a_link_is_not_given(folder):
    """The folder itself is not followed either."""
    (folder / "theirs").mkdir()
    (folder / "state").symlink_to(folder / "theirs")
    with pytest.raises(NotADirectoryError):
        hand_over(folder / "state", 0, SERVICE_UID, SERVICE_UID)
    assert (folder / "theirs").stat().st_uid == 0


def test_what_root_makes_there_is_the_services(folder):
    """A store that root makes in the service's folder can be written by the service."""
    (folder / "state").mkdir(mode=0o700)
    os.chown(folder / "state", SERVICE_UID, SERVICE_UID)
    command = with_user(folder, AUDITSVC, "migrate")
    subprocess.run(command, env=environment(folder), check=True, capture_output=True)
    assert {each.stat().st_uid for each in (folder / "state").iterdir()} == {SERVICE_UID}


def test_a_folder_of_that_user_is_refused_where_it_is_not_known(folder):
    """Without the user, its files are any other user's."""
    (folder / "state").mkdir(mode=0o700)
    os.chown(folder / "state", SERVICE_UID, SERVICE_UID)
    done = subprocess.run(
        [AUDITSVC, "migrate"], env=environment(folder), check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert f"uid {SERVICE_UID} may change" in done.stderr


READING = 1 << Capability.DAC_READ_SEARCH
READS = """
import json, re, sys
from auditsvc.cli import {verb} as module
sys.argv[1:] = []
def stop(*words, **named):
    status = open("/proc/self/status").read()
    names = "CapPrm|CapBnd|NoNewPrivs|Seccomp"
    print(json.dumps(dict(re.findall(rf"^({{names}}):\\t(.*)$", status, re.M))))
    sys.stdout.flush()
    import os; os._exit(0)
from auditsvc.host import capabilities
import auditsvc.cli.lowering as lowering
keep = lowering.keep_only
close = lowering.close_calls
if {pages}:
    lowering.keep_only = lambda kept: (keep(kept), stop())
lowering.close_calls = lambda families: (close(families), stop())
from auditsvc.cli import _load, app
_load("{verb}")
app({words!r}, standalone_mode=False)
"""


@pytest.mark.parametrize(
    ("verb", "words", "kept", "pages"),
    [
        ("query", ["SELECT 1"], 0, False),
        pytest.param("tail", [], 0, False, marks=pytest.mark.long),
        pytest.param("top", [], 0, False, marks=pytest.mark.long),
        pytest.param("tree", ["1"], 0, False, marks=pytest.mark.long),
        ("web", [], 0, False),
        ("forward", [], 0, False),
        ("search", ["-m", "SYSCALL"], READING, True),
        pytest.param("report", [], READING, True, marks=pytest.mark.long),
        pytest.param("shell", [], READING, True, marks=pytest.mark.long),
        ("ingest", ["/dev/null"], READING, False),
        pytest.param("verify", [], READING, False, marks=pytest.mark.long),
    ],
)
def test_commands_that_show_evidence_have_no_capabilities(folder, verb, words, kept, pages):
    """Before they read anything, root's commands keep at most reading the files that they name.

    Those that start no pager are behind a filter of system calls.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", READS.format(verb=verb, words=[verb, *words], pages=pages)],
        env=environment(folder),
        check=True,
        capture_output=True,
        text=True,
    )
    bits = f"{kept:016x}"
    shown = json.loads(done.stdout)
    assert shown.pop("Seccomp") == ("0" if pages else "2")
    assert shown == {"CapPrm": bits, "CapBnd": bits, "NoNewPrivs": "1"}


def test_members_of_a_group_may_read_the_store_and_nobody_else(folder):
    """With access.readers, while the service runs; spool and keys stay closed."""
    member = {"user": READER, "group": READER, "extra_groups": [65_534]}
    other = {"user": READER, "group": READER, "extra_groups": []}
    passwd = folder / "passwd"

    def as_reader(**who):
        return query_as(folder, passwd, **who)

    with Run(folder, AUDITSVC_ACCESS__READERS=READERS):
        assert as_reader(**member) == "1"
        assert as_reader(**other) != "1"
        modes = {each.name: oct(each.stat().st_mode)[-3:] for each in (folder / "state").iterdir()}
    assert set(modes.items()) >= {("auditsvc.db", "640"), ("auditsvc.db-wal", "640")}
    assert modes["spool"] == "700"
    assert "while the service runs" in as_reader(**member)
    with Run(folder):  # without the setting: closed again
        assert as_reader(**member) != "1"
    assert (folder / "state/auditsvc.db").stat().st_mode & 0o777 == 0o600


def query_as(folder, passwd, *, user, group, extra_groups):
    """Count the rows as another user, where the service's user is known."""
    groups = f"--groups={','.join(map(str, extra_groups))}" if extra_groups else "--clear-groups"
    command = [AUDITSVC, "query", "SELECT count(*) AS n FROM syscalls", "--format", "csv"]
    done = subprocess.run(
        with_user(
            passwd.parent, "setpriv", f"--reuid={user}", f"--regid={group}", groups, *command
        ),
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split()[-1] if done.returncode == 0 else done.stderr
