"""The holder and systemd's store: they keep what the service gives them, and cannot be ended."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fixtures.holders import end_holders
from fixtures.waiting import at_rest, until

from auditsvc.holder import client, process
from auditsvc.holder.client import HolderProcess
from auditsvc.holder.keeper import NoKeeper, open_keeper
from auditsvc.holder.systemd import SystemdStore
from auditsvc.host.processes import has_ended
from auditsvc.kernel import refusal


@pytest.fixture(autouse=True)
def _no_holder_stays():
    """End what a test has left."""
    yield
    end_holders()


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """Wait for a holder as long as a busy host takes."""
    monkeypatch.setattr(client, "_START_SECONDS", 120.0)
    monkeypatch.setattr(client, "_ANSWER_SECONDS", 120.0)


@pytest.fixture
def runtime(tmp_path):
    """Give a runtime directory."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    return folder


def state(pid):
    """Give a process's state, as ps shows it; Z too if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return "Z"


def alive(pid):
    """Whether a process runs: not ended, and no zombie."""
    return state(pid) != "Z"


def may_adjust():
    """Whether this process may make itself less likely to be killed: CAP_SYS_RESOURCE."""
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapEff:")
    )
    return int(line.split()[1], 16) >> 24 & 1


def is_same(one, other):
    """Whether two descriptors are of one file."""
    return os.path.sameopenfile(one, other)


def test_what_a_service_left_is_there_for_the_next(runtime):
    """Names and descriptors come back, the oldest first; what was dropped does not."""
    first = HolderProcess(runtime)
    readers = [os.pipe()[0] for _ in range(3)]
    for name, number in zip("abc", readers, strict=True):
        first.keep(name, number)
    first.drop("b")
    assert first.problem == ""
    pid = first.pid
    first.leave()  # as the kernel does for a process that is killed
    second = HolderProcess(runtime)
    assert second.pid == pid
    assert list(second.found) == ["a", "c"]
    assert is_same(second.found["a"], readers[0])
    assert is_same(second.found["c"], readers[2])


def test_an_orderly_end_ends_it(runtime):
    """After `end` no process and no address is left."""
    keeper = HolderProcess(runtime)
    pid = keeper.pid
    keeper.keep("a", os.pipe()[0])
    keeper.end()
    until(lambda: not alive(pid))
    assert not (runtime / "holder").exists()


def test_a_holder_with_nothing_to_keep_ends(runtime):
    """A service that never kept anything leaves no process behind."""
    keeper = HolderProcess(runtime)
    pid = keeper.pid
    keeper.leave()
    until(lambda: not alive(pid))


def test_one_service_at_a_time(runtime):
    """A second one is told so, and its end does not touch what the first one keeps."""
    first = HolderProcess(runtime)
    first.keep("a", os.pipe()[0])
    second = HolderProcess(runtime)
    assert "another service" in second.problem
    second.end()
    first.keep("b", os.pipe()[0])
    assert first.problem == ""
    first.leave()
    assert list(HolderProcess(runtime).found) == ["a", "b"]


def test_no_signal_ends_it(runtime):
    """Each signal that can be ignored is, and it is in a session of its own."""
    keeper = HolderProcess(runtime)
    keeper.keep("a", os.pipe()[0])
    pid = keeper.pid
    assert os.getsid(pid) == pid
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        os.kill(pid, number)
    keeper.keep("b", os.pipe()[0])
    assert (keeper.problem, keeper.pid) == ("", pid)


def test_no_message_ends_it(runtime):
    """Garbage, empty messages, too many descriptors, a client that goes: it keeps what it has."""
    keeper = HolderProcess(runtime)
    keeper.keep("a", os.pipe()[0])
    pid = keeper.pid
    keeper.leave()
    address = str(runtime / "holder")
    numbers = [os.dup(0) for _ in range(8)]
    for text in (b"\xff\x00", b"FDSTORE=1", b"FDSTORE=1\nFDNAME=", b"x" * 4000, b"LISTEN=1"):
        for count in (0, 1, 8):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as wild:
                wild.connect(address)
                socket.send_fds(wild, [text], numbers[:count])
    after = HolderProcess(runtime)
    assert (after.problem, list(after.found)) == ("", ["a"])
    assert after.pid == pid


def test_its_memory_is_locked_and_it_is_the_last_to_be_killed(runtime):
    """No page of it can be taken away, and the kernel chooses others when memory is short."""
    inherited = int(Path("/proc/self/oom_score_adj").read_text())
    keeper = HolderProcess(runtime)
    pid = keeper.pid
    facts = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert int(facts["VmLck"].split()[0]) >= int(facts["VmRSS"].split()[0]) // 2
    adjusted = int(Path(f"/proc/{pid}/oom_score_adj").read_text())
    assert adjusted == (-1000 if may_adjust() else inherited)
    assert int(facts["VmRSS"].split()[0]) < 40_000  # kB


def test_it_makes_no_call_while_a_service_runs(runtime):
    """So no rule needs to exempt it: its count of context switches stays as it is."""
    keeper = HolderProcess(runtime)
    pid = keeper.pid

    def switches():
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return [line for line in lines if "ctxt_switches" in line]

    at_rest(switches, 1.5)  # longer than it waits when no service runs


def test_a_holder_that_was_killed_is_replaced(runtime):
    """The next look starts another one, and gives it what is kept."""
    keeper = HolderProcess(runtime)
    number = os.pipe()[0]
    keeper.keep("a", number)
    first = keeper.pid
    os.kill(first, signal.SIGKILL)

    def replaced():
        keeper._due = 0.0
        keeper.watch()
        return keeper.pid not in {None, first}

    until(replaced)
    keeper.leave()
    assert is_same(HolderProcess(runtime).found["a"], number)


@pytest.mark.parametrize("when", ["no service lives", "it is asked"])
def test_a_holder_that_is_stopped_goes_on(runtime, monkeypatch, when):
    """SIGSTOP, a frozen group: what it keeps is there, and a service can begin."""
    first = HolderProcess(runtime)
    number, other = os.pipe()
    first.keep("a", number)
    pid = first.pid
    os.kill(pid, signal.SIGSTOP)
    send = signal.pidfd_send_signal

    def go_on(process, number):
        send(process, number)
        until(lambda: state(pid) == "S")  # it has answered, however late

    monkeypatch.setattr(signal, "pidfd_send_signal", go_on)
    monkeypatch.setattr(client, "_ANSWER_SECONDS", 0.3)
    if when == "it is asked":
        first._connection.settimeout(0.3)
        first.keep("b", other)
        assert "timed out" in first.problem
        first._due = 0.0
        first.watch()
    else:
        first.leave()
        first = HolderProcess(runtime)
    assert (first.problem, first.pid) == ("", pid)
    assert is_same(first.found["a"], number)
    first.leave()


def test_a_holder_that_cannot_go_on_is_replaced(runtime, monkeypatch):
    """It hangs for good: else no service could register, as it has the socket."""
    first = HolderProcess(runtime)
    first.keep("a", os.pipe()[0])
    pid = first.pid
    first.leave()
    os.kill(pid, signal.SIGSTOP)
    send = signal.pidfd_send_signal

    def not_on(process, number):
        if number != signal.SIGCONT:
            send(process, number)
            client._ANSWER_SECONDS = 120.0  # for the next one, which has to start

    monkeypatch.setattr(client, "_ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(signal, "pidfd_send_signal", not_on)
    second = HolderProcess(runtime)
    until(lambda: not alive(pid))
    assert second.problem == ""
    assert second.pid not in {None, pid}
    assert second.found == {}
    second.end()


@pytest.mark.parametrize("what", ["the folder", "the address"])
def test_a_holder_whose_address_is_gone_is_replaced(runtime, what):
    """Somebody emptied the runtime directory: the next service finds what is kept all the same."""
    keeper = HolderProcess(runtime)
    number = os.pipe()[0]
    keeper.keep("a", number)
    first = keeper.pid
    keeper.watch()
    assert keeper.pid == first
    (runtime / "holder").unlink()
    if what == "the folder":
        runtime.rmdir()
    keeper.watch()
    assert keeper.problem == ""
    assert keeper.pid not in {None, first}
    until(lambda: not alive(first))
    keeper.leave()
    assert is_same(HolderProcess(runtime).found["a"], number)


def test_a_folder_that_cannot_be_used_is_said(tmp_path):
    """Collecting goes on without a holder; the problem is named."""
    (tmp_path / "file").write_text("")
    keeper = HolderProcess(tmp_path / "file")
    assert "not held for a crash" in keeper.problem
    assert keeper.pid is None
    keeper.keep("a", 0)
    keeper.end()


def test_a_socket_that_is_full_for_long_lets_the_host_go(monkeypatch):
    """Without a service, and not before the time; what it has received stays.

    The kernel is woken once, so that it sees at once that it is refused.
    """
    moved, woken = [], []
    monkeypatch.setattr(process, "_wake_kernel", lambda: woken.append(True))
    monkeypatch.setattr(process, "_is_full", lambda _: True)
    monkeypatch.setattr(
        process.socket, "socket", lambda fileno: _Connects(fileno, moved), raising=True
    )
    holder = process.Holder.__new__(process.Holder)
    holder.kept, holder._full_since, holder._since = {"a": 0}, {}, None
    holder._refused = set()
    holder._look(100.0)
    holder._look(100.0 + process.FULL_SECONDS - 0.1)
    assert moved == []
    for later in (0, 1, 2):
        holder._look(100.0 + process.FULL_SECONDS + later)
    assert (moved, woken) == ([(1, 0)], [True])
    assert holder.kept == {"a": 0}


class _Connects:
    """A socket that notes to whom it was connected."""

    def __init__(self, number, moved):
        os.close(number)
        self._moved = moved

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def connect(self, address):
        """Note it."""
        self._moved.append(address)


def test_it_needs_the_standard_library_only():
    """It starts without site-packages, in a process that can import nothing of ours."""
    text = Path(process.__file__).read_text()
    body = text.replace("from __future__ import annotations", "")
    subprocess.run([sys.executable, "-I", "-S", "-c", f"__name__ = 'p'\n{body}"], check=True)
    assert "import auditsvc" not in text
    assert "from auditsvc" not in text


# --- systemd ---------------------------------------------------------------------------------


class Manager:
    """What systemd does with messages of sd_notify(3), on a socket of ours."""

    def __init__(self, address):
        self.kept = {}
        self.said = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self):
        while True:
            text, numbers, _, _ = socket.recv_fds(self._socket, 1 << 16, 16)
            values = dict(line.split("=", 1) for line in text.decode().splitlines())
            self.said.append(values)
            if values.get("FDSTORE") == "1":
                self.kept[values["FDNAME"]] = numbers.pop()
            elif values.get("FDSTOREREMOVE") == "1":
                os.close(self.kept.pop(values["FDNAME"]))
            for number in numbers:  # of BARRIER=1
                os.close(number)


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """Run a manager that takes our messages."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return Manager(tmp_path / "notify")


def test_systemd_has_a_descriptor_when_keep_returns(manager):
    """With the barrier there is no moment at which a crash would lose it."""
    store = SystemdStore()
    reader, _ = os.pipe()
    store.keep("records", reader)
    assert is_same(manager.kept["records"], reader)
    assert manager.said[0]["FDPOLL"] == "0"  # a full buffer is no reason to drop it
    store.keep("landing", os.pipe()[0])
    store.drop("records")
    store.keep("other", os.pipe()[0])
    assert set(manager.kept) == {"landing", "other"}
    store.end()
    until(lambda: not manager.kept)


def test_systemd_passes_what_it_kept(tmp_path):
    """As sd_listen_fds(3) says: from descriptor 3 on, with their names."""
    code = (
        "import os; os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "from auditsvc.holder.systemd import SystemdStore\n"
        "found = SystemdStore().found\n"
        "print({name: os.read(number, 9) for name, number in found.items()},"
        " os.get_inheritable(found['a']))"
    )
    pipes = []
    for text in (b"one", b"two"):
        reader, writer = os.pipe()
        os.write(writer, text)
        pipes.append(reader)
    script = 'exec 3<&"$1" 4<&"$2"; exec "$3" -c "$4"'
    words = ["bash", "-c", script, "x", *map(str, pipes), sys.executable, code]
    done = subprocess.run(
        words,
        env=os.environ | {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"},
        pass_fds=pipes,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.stdout.strip() == "{'a': b'one', 'b': b'two'} False", done.stderr


def test_which_keeper_is_used(manager, runtime, monkeypatch):
    """Systemd's store under systemd, else a holder; none if it is off."""
    del manager
    assert isinstance(open_keeper("auto", runtime), SystemdStore)
    assert isinstance(open_keeper("off", runtime), NoKeeper)
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert isinstance(open_keeper("auto", runtime), HolderProcess)
    monkeypatch.setattr(client, "_START_SECONDS", 0.0)


def test_fullness_is_the_kernels(runtime):
    """A socket is full when more is used than its buffer has, as the kernel says it."""
    del runtime
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    assert not process._is_full(ours.fileno())
    assert not process._is_full(os.pipe()[0])
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    netlink.bind((0, 0))
    netlink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
    assert not process._is_full(netlink.fileno())
    request = struct.pack("=IHHIIB3x", 20, 18, 0x5, 1, 0, 0)  # acknowledged: RTM_GETLINK of none
    until(lambda: netlink.send(request) and process._is_full(netlink.fileno()))
    theirs.close()


def test_a_holder_that_nobody_finds_is_named_when_its_daemon_has_ended(runtime):
    """Not `program unknown`: the kernel names a process that there is not."""
    ended = subprocess.Popen(["true"])
    until(lambda: has_ended(ended.pid))  # a zombie: its pid is not given again
    keeper = HolderProcess(runtime)
    error = refusal.incumbent(ended.pid)
    assert f"(pid {ended.pid}) has ended" in error.what
    assert str(keeper.pid) in re.search(r"`kill -9 ([0-9 ]+)`", error.hint)[1].split()
    assert error.pid == ended.pid
    ended.wait()
    keeper.end()
    assert f"pid {os.getpid()} (/" in refusal.incumbent(os.getpid()).what


def test_without_a_holder_systemd_or_another_process_has_the_socket(monkeypatch):
    """The error says so, too."""
    monkeypatch.setattr(refusal, "holders", list)
    ended = subprocess.Popen(["true"])
    until(lambda: has_ended(ended.pid))
    error = refusal.incumbent(ended.pid)
    ended.wait()
    assert "in another process" in error.what
    assert "systemd may keep it" in error.hint
