"""Control requests against the real kernel."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.waiting import until

from auditsvc.errors import AuditsvcError, IncumbentError, KernelError
from auditsvc.kernel import Control, RecordSocket, messages
from auditsvc.rule import Add, FilterList, Rule, parse, printing, read

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
AUDITCTL = ROOT / "build/peers/sbin/auditctl"
EXAMPLES = ROOT / "build/peers/usr/share/doc/auditd/examples/rules"
AUID = 3_456_789  # of our own children: rules of these tests see nobody else
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000


def rule(text: str) -> Rule:
    """Parse one rule."""
    (line,) = parse(text)
    return line.command.rule


def in_child(*steps) -> str:
    """Run steps one after the other in a forked child; the line of the error that they raise."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "no error"
        try:
            for step in steps:
                step()
        except AuditsvcError as error:
            said = str(error)
        except BaseException as error:  # noqa: BLE001 - the child must not go on as pytest
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as file:
        return file.read()


def unshare(flags: int) -> None:
    """Leave namespaces."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def ask() -> None:
    """Ask for the status."""
    with Control() as control:
        control.status()


def audited_child() -> None:
    """Fork a child that has AUID and calls getppid, and wait for it."""
    pid = os.fork()
    if pid == 0:
        try:
            Path("/proc/self/loginuid").write_text(str(AUID))
            os.getppid()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def receive(sock: RecordSocket, found, wait: float = 60.0) -> list:
    """Receive until a record satisfies `found` or the time is over."""
    records = []
    end = time.monotonic() + wait
    while time.monotonic() < end:
        select.select([sock], [], [], 0.1)
        records += sock.receive()
        if any(found(kind, payload) for kind, payload in records):
            break
    return records


def test_status_and_settings(audit_changes):
    """A setting changes what it names and leaves the rest as it was."""
    before = audit_changes.status()
    audit_changes.set(backlog_limit=before.backlog_limit + 1000, rate_limit=7)
    after = audit_changes.status()
    assert after.backlog_limit == before.backlog_limit + 1000
    assert after.rate_limit == 7
    assert (after.enabled, after.failure) == (before.enabled, before.failure)
    assert after.backlog_wait_time == before.backlog_wait_time
    audit_changes.set()
    assert audit_changes.status().rate_limit == 7
    with pytest.raises(KernelError, match="setting backlog_wait_time to 4000000000"):
        audit_changes.set(backlog_wait_time=4_000_000_000)


def test_status_agrees_with_auditctl(audit_lock):
    """`auditctl -s` says what we read."""
    said = subprocess.run([AUDITCTL, "-s"], capture_output=True, text=True, check=True).stdout
    values = dict(line.split(" ", 1) for line in said.splitlines())
    status = audit_lock.status()
    for name in ("enabled", "failure", "pid", "rate_limit", "backlog_limit", "backlog_wait_time"):
        assert getattr(status, name) == int(values[name])
    on = "1" if audit_lock.features().on & 2 else "0"
    assert values["loginuid_immutable"].startswith(on)


def test_rules_are_listed_as_they_were_loaded(audit_changes):
    """What is added is listed, a second time is refused, deleted it is gone."""
    added = rule(f"-a always,exit -F arch=b64 -S getppid -F auid={AUID} -k live-a -k live-b")
    audit_changes.add_rule(added)
    assert added in audit_changes.rules()
    with pytest.raises(KernelError, match=r"live-a.*: it is already loaded") as caught:
        audit_changes.add_rule(added)
    assert caught.value.errno == errno.EEXIST
    first = rule(f"-a never,exit -S getuid -F auid={AUID}")
    audit_changes.add_rule(first, prepend=True)
    calls = [each for each in audit_changes.rules() if each.filter_list is FilterList.EXIT]
    assert calls[0] == first
    assert audit_changes.delete_rules(key="live-b") == 1
    assert added not in audit_changes.rules()
    with pytest.raises(KernelError, match="it is not loaded") as caught:
        audit_changes.delete_rule(added)
    assert caught.value.errno == errno.ENOENT
    audit_changes.delete_rule(first)
    with pytest.raises(KernelError, match="the path that it watches does not exist"):
        audit_changes.add_rule(rule("-a always,exit -F dir=/no/such/folder -F perm=wa"))


def test_the_default_rules_load(audit_changes):
    """The kernel takes the rules that `run` loads unasked, and lists them as we print them."""
    audit_changes.set(enabled=0)
    audit_changes.delete_rules()
    lines = read(ROOT / "rules/10-all-syscalls.rules")
    for line in lines:
        audit_changes.apply(line.command)
    assert [printing.text(each) for each in audit_changes.rules()] == [
        "-a always,exit -S all -F key=all-syscalls",
        "-a always,io_uring -S all -F key=all-syscalls",
    ]
    for line in lines:
        audit_changes.delete_rule(line.command.rule)


def explained(ours: str, theirs: str) -> bool:
    """Whether auditctl 3.0.9's line differs from ours because it does not mean this rule."""
    # A perm that comes before its path is shown as ` -p x-w /path`.
    if theirs.startswith(" -p") and ours.startswith("-a always,exit -S all -F perm="):
        return True
    # A rule that says never is shown as a watch, which says always.
    if theirs.startswith("-w") and ours.startswith("-a never,exit -S all"):
        return True
    # A folder's name that ends in / is shown as a watch, which drops the /.
    if theirs.startswith("-w") and re.search(r" -F dir=\S+/ ", ours):
        return True
    # File types are shown as numbers, which auditctl itself does not read.
    return re.sub(r"filetype=\S+", "", ours) == re.sub(r"filetype=\S+", "", theirs)


def test_rules_print_as_auditctl_lists_them(audit_changes):
    """For every example of auditd that this kernel takes, our text is that of `auditctl -l`."""
    if platform.machine() != "x86_64":
        pytest.skip("the examples of auditctl are for x86_64")
    # Off, so that no task is watched. The list `task` is left out: what is forked
    # while `never,task` stands stays unwatched for ever.
    audit_changes.set(enabled=0)
    audit_changes.delete_rules()
    more = parse(
        # First, because auditctl takes the names of calls from the arch of an earlier rule.
        "-a always,exit -S connect -F saddr_fam=2 -F sessionid=unset -F ppid=1 -F pers=8\n"
        "-a always,exit -S kill -F exit=-13 -F a0=-1 -F a1&=0x10 -F success!=0\n"
        "-a always,exit -S 0,1,3 -F filetype=fifo -F gid=0 -F inode=12 -F devmajor=8\n"
        "-a always,exit -F arch=b32 -S all -F auid=unset -F exe=/bin/true -C uid!=obj_uid\n"
        "-a never,exclude -F msgtype=CWD\n-a never,exclude -F msgtype>=2000 -F uid=1\n"
        "-a always,user -F uid=1\n-a never,filesystem -F fstype=debugfs\n"
        "-w /etc -p wa -k one -k two\n-w /etc/hostname\n"
        "-a never,exit -S all -F path=/etc/hosts -F perm=r -F key=both\n"
    )
    loaded = 0
    files = [line for path in sorted(EXAMPLES.glob("*.rules")) for line in read(path, errors=[])]
    for line in [*more, *files]:
        if not isinstance(line.command, Add) or line.text.startswith("-a task"):
            continue
        try:
            audit_changes.apply(line.command)
            loaded += 1
        except KernelError as error:
            # One rule stands in several files; some watch what is not on this machine.
            if error.errno not in (errno.EEXIST, errno.ENOENT):
                raise
    ours = [printing.text(each) for each in audit_changes.rules()]
    theirs = subprocess.run([AUDITCTL, "-l"], capture_output=True, text=True, check=True).stdout
    audit_changes.delete_rules()
    assert loaded == len(ours) > 150
    pairs = list(zip(ours, theirs.splitlines(), strict=True))
    differ = [pair for pair in pairs if pair[0] != pair[1]]
    print(*differ, sep="\n")
    assert [pair for pair in differ if not explained(*pair)] == []
    assert len(differ) < 15


def test_registering_and_records(audit_changes):
    """The registered socket gets records; requests beside it have their own answers."""
    records = RecordSocket.unicast()
    records.register()
    try:
        assert audit_changes.status().pid == os.getpid()
        audit_changes.add_rule(rule(f"-a always,exit -S getppid -F auid={AUID} -k live"))
        audit_changes.set(enabled=1)
        audited_child()
        # Requests in the middle of the flow are answered on their own socket.
        assert audit_changes.status().enabled == 1
        assert len(audit_changes.rules()) >= 1
        found = receive(records, lambda kind, text: kind == 1300 and b'key="live"' in text)
        ours = [text for kind, text in found if kind == 1300 and b'key="live"' in text]
        assert len(ours) == 1
        assert b"success=yes exit=%d " % os.getpid() in ours[0]
        assert b"auid=%d " % AUID in ours[0]
        assert all(text.startswith(b"audit(") for _kind, text in found)
        assert any(kind == 1006 and b"auid=%d " % AUID in text for kind, text in found)
        assert not any(b"\0" in text for _kind, text in found)
    finally:
        audit_changes.set(enabled=0)
        audit_changes.unregister()
        records.close()
    assert audit_changes.status().pid == 0


def test_registering_while_records_flow(audit_changes):
    """Registered again and again, each time the one record is received, and once."""
    audit_changes.add_rule(rule(f"-a always,exit -S getppid -F auid={AUID} -k live"))
    for _ in range(20):
        records = RecordSocket.unicast()
        records.register()
        audit_changes.set(enabled=1)
        audited_child()
        got = receive(records, lambda kind, text: kind == 1300 and b'key="live"' in text)
        audit_changes.set(enabled=0)
        audit_changes.unregister()
        records.close()
        assert sum(b'key="live"' in text and kind == 1300 for kind, text in got) == 1


def test_multicast_gets_the_same(audit_changes):
    """A listener beside the daemon gets the daemon's records, and EVENT_LISTENER tells of it."""
    records = RecordSocket.unicast()
    records.register()
    listener = None
    try:
        audit_changes.set(enabled=1)
        audit_changes.add_rule(rule(f"-a always,exit -S getppid -F auid={AUID} -k live"))
        listener = RecordSocket.multicast()
        audited_child()

        def wanted(kind, text):
            return kind == 1300 and b'key="live"' in text

        first = receive(records, wanted)
        second = receive(listener, wanted)
        (ours,) = [text for kind, text in first if wanted(kind, text)]
        assert [text for kind, text in second if wanted(kind, text)] == [ours]
        assert any(kind == 1335 and b"op=connect" in text for kind, text in first)
        assert listener.overflows == 0
    finally:
        audit_changes.set(enabled=0)
        audit_changes.unregister()
        records.close()
        if listener:
            listener.close()


def test_multicast_counts_what_it_dropped(audit_changes):
    """A listener that does not read gets ENOBUFS, which is counted; `lost` does not tell of it."""
    records = RecordSocket.unicast()
    records.register()
    listener = RecordSocket.multicast(receive_buffer=4096)
    try:
        before = audit_changes.status().lost
        audit_changes.set(enabled=1)
        for _ in range(100):
            audit_changes.set(enabled=1)  # no change, no record
            audit_changes.set(rate_limit=0)  # a CONFIG_CHANGE record
            records.receive()
        until(lambda: audit_changes.status().backlog == 0)
        got = listener.receive()
        assert listener.overflows >= 1
        assert len(got) < 100
        assert audit_changes.status().lost == before
    finally:
        audit_changes.set(enabled=0)
        audit_changes.unregister()
        records.close()
        listener.close()


HOLDER = """
import sys
from auditsvc.kernel import RecordSocket
records = RecordSocket.unicast()
records.register()
print("registered", flush=True)
sys.stdin.readline()
asked = [data for kind, data in records.receive() if kind == 1329]
print([int.from_bytes(data, sys.byteorder) for data in asked], flush=True)
sys.stdin.readline()
"""


def test_second_daemon_is_refused(audit_lock):
    """While another process is the daemon we are refused by name; when it is dead we take over."""
    holder = subprocess.Popen(
        [sys.executable, "-P", "-c", HOLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    records = RecordSocket.unicast()
    try:
        assert holder.stdout.readline() == "registered\n"
        with pytest.raises(IncumbentError) as caught:
            records.register()
        assert caught.value.pid == holder.pid
        line = str(caught.value)
        assert f"pid {holder.pid} ({Path(sys.executable).resolve()})" in line
        assert "--source multicast" in line
        assert "--source stdin" in line
        assert "\n" not in line
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == f"[{os.getpid()}]\n"
        with pytest.raises(KernelError, match="this process is not the audit daemon"):
            audit_lock.unregister()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        records.register()
        assert audit_lock.status().pid == os.getpid()
        audit_lock.unregister()
    finally:
        holder.kill()
        holder.communicate()
        records.close()


def test_counters_are_reset(audit_changes):
    """Resetting gives the old count, and the count is 0 then."""
    assert audit_changes.status().has_feature("lost_reset")
    before = audit_changes.status().lost
    assert audit_changes.reset_lost() == before
    assert audit_changes.status().lost == 0
    assert audit_changes.reset_backlog_wait_time_actual() >= 0
    assert audit_changes.status().backlog_wait_time_actual == 0


def test_lost_is_counted_and_reset(audit_changes):
    """Over the rate limit records are lost; the positive answer of the reset is their number."""
    audit_changes.set(failure=0)
    records = RecordSocket.unicast()
    records.register()
    try:
        audit_changes.reset_lost()
        audit_changes.set(enabled=1, rate_limit=1)

        # Each is a record of its own (CONFIG_CHANGE): the second one in a second is too many.
        def one_more():
            audit_changes.set(backlog_limit=audit_changes.status().backlog_limit + 1)
            return audit_changes.status().lost

        lost = until(one_more)
        assert lost >= 1
        audit_changes.set(enabled=0, rate_limit=0)
        assert audit_changes.reset_lost() >= lost
        assert audit_changes.status().lost == 0
    finally:
        audit_changes.set(enabled=0, rate_limit=0)
        audit_changes.unregister()
        records.close()


def test_who_signalled_us(audit_lock):
    """The kernel remembers who sent the daemon a signal."""
    records = RecordSocket.unicast()
    records.register()
    old = signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
    try:
        sender = subprocess.Popen(["/bin/sh", "-c", f"kill -USR1 {os.getpid()}"])
        sender.wait()
        assert audit_lock.signal_info().pid == sender.pid
    finally:
        signal.signal(signal.SIGUSR1, old)
        audit_lock.unregister()
        records.close()


@pytest.mark.usefixtures("audit_lock")
def test_refusals_are_one_clear_line():
    """Without privilege, and in other namespaces, one line says why and what to do."""
    said = in_child(lambda: os.setuid(65534), ask)
    assert said.startswith("asking for audit's status: the kernel does not permit it; ")
    assert "CAP_AUDIT_CONTROL" in said

    said = in_child(lambda: os.setuid(65534), RecordSocket.multicast)
    assert said.startswith("listening to audit records: the kernel does not permit it; ")
    assert "CAP_AUDIT_READ" in said

    said = in_child(lambda: unshare(CLONE_NEWUSER), ask)
    assert said.startswith("asking for audit's status: the kernel refuses audit here; ")
    assert "user namespace" in said


@pytest.mark.usefixtures("audit_lock")
def test_other_pid_namespace(capfd):
    """In a pid namespace the kernel permits nothing, even to root."""

    def ask_below():
        os.write(1, in_child(ask).encode())

    assert in_child(lambda: unshare(CLONE_NEWPID), ask_below) == "no error"
    said = capfd.readouterr().out
    assert said.startswith("asking for audit's status: the kernel does not permit it; ")
    assert "pid namespace" in said


def test_every_control_line_is_applied(audit_changes, tmp_path):
    """Each control line of a rule file does to the kernel what it says."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    text = f"""
-D
-i
-b 9000
-r 100
-f 0
-e 0
--backlog_wait_time 1234
--reset-lost
--reset_backlog_wait_time_actual
-w {tmp_path}/a -p a -k live-a
-a always,exit -S getppid -F auid={AUID} -k live-b
-A never,exit -S getuid -F auid={AUID}
-q {tmp_path}/a,{tmp_path}/b
-t
-D -k live-b
-d never,exit -S getuid -F auid={AUID}
"""
    for line in parse(text):
        audit_changes.apply(line.command)
    status = audit_changes.status()
    assert (status.backlog_limit, status.rate_limit, status.failure) == (9000, 100, 0)
    assert (status.enabled, status.backlog_wait_time, status.lost) == (0, 1234, 0)
    assert [printing.text(each) for each in audit_changes.rules()] == [
        f"-w {tmp_path}/a -p a -k live-a"
    ]
    with pytest.raises(KernelError, match="No such file"):
        audit_changes.make_equivalent("/no/such", "/folder")


def test_features_are_set_and_taken_back(audit_lock):
    """A feature that is not locked can be switched on and off; the others stay."""
    before = audit_lock.features()
    bit = messages.ONLY_UNSET_LOGINUID
    if before.locked & bit or before.on & bit:
        pytest.skip("the feature is in use here")
    audit_lock.set_feature(bit, on=True)
    try:
        assert audit_lock.features() == replace(before, on=before.on | bit)
    finally:
        audit_lock.set_feature(bit, on=False)
    assert audit_lock.features() == before
