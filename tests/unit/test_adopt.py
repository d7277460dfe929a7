"""The parts of a change-over: what a copy adds, who is stopped, who starts what, how far it is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from fixtures.waiting import until

from auditsvc.adopt import bridging, daemons, managers, progress
from auditsvc.adopt.progress import ADOPT, Bridge, Progress
from auditsvc.adopt.remainder import write_remainder
from auditsvc.adopt.way import Way
from auditsvc.config import Settings
from auditsvc.errors import AuditsvcError
from auditsvc.host.file_locks import is_flocked
from auditsvc.spool.writer import SpoolWriter

NOW = 1_700_000_000


def line(serial, kind="SYSCALL", more="pid=1", enriched="", second=NOW):
    """A line of a log."""
    names = f"\x1d{enriched}" if enriched else ""
    return f"type={kind} msg=audit({second}.000:{serial}): {more}{names}\n"


def remainder(folder, copy, log, mark="", since=NOW):
    """What is left of a copy beside a log."""
    (folder / "copy").write_text(copy)
    (folder / "audit.log").write_text(log)
    count = write_remainder(
        folder / "rest.log", [folder / "copy"], [folder / "audit.log"], since, mark
    )
    text = (folder / "rest.log").read_text()
    assert count == text.count("\n")
    return text


def test_of_a_copy_only_what_the_log_lacks_is_loaded(tmp_path):
    """Compared without the names that auditd writes behind a record; EOE goes with its event."""
    copy = (
        line(1)
        + line(1, "EOE", "")
        + line(2)
        + line(2, "PATH", "item=0")
        + line(2, "EOE", "")
        + line(3)
        + line(3, "EOE", "")
    )
    log = line(1, enriched='AUID="user"') + "node=n " + line(2, enriched='AUID="user"')
    assert remainder(tmp_path, copy, log) == (
        line(2, "PATH", "item=0") + line(2, "EOE", "") + line(3) + line(3, "EOE", "")
    )


def test_behind_the_mark_the_new_daemon_has_all(tmp_path):
    """The mark's own line is the last that may be needed."""
    mark = line(2, "USYS_CONFIG", "msg='nonce=abc'")
    assert remainder(tmp_path, line(1) + mark + line(3), "", "nonce=abc") == line(1) + mark


def test_an_old_log_is_not_read_again(tmp_path):
    """A rotated file that ended before the copy began has nothing of its time."""
    old = tmp_path / "audit.log.1"
    old.write_text(line(1))
    os.utime(old, (NOW - 3600, NOW - 3600))
    (tmp_path / "copy").write_text(line(1))
    write_remainder(tmp_path / "rest.log", [tmp_path / "copy"], [old], NOW, "")
    assert (tmp_path / "rest.log").read_text() == line(1)


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_line_that_is_just_being_written_is_compared_as_it_stands(tmp_path, end):
    """It is a record's only when it is whole: then it is known."""
    log = line(1).rstrip("\n") + end
    assert remainder(tmp_path, line(1) + line(2), log) == line(2)


def test_growth_is_what_came_since(tmp_path):
    """Also in a file that was renamed, and in a new one."""
    log = tmp_path / "audit.log"
    log.write_text("old\n")
    growth = bridging.Growth(tmp_path.iterdir)
    assert not growth.has(b"old")
    with log.open("a") as stream:
        stream.write("appended\n")
    log.rename(tmp_path / "audit.log.1")
    log.write_text("created\n")
    assert growth.has(b"appended")
    assert growth.has(b"created")
    assert not growth.has(b"old")


def test_a_copy_runs_as_long_as_its_lock_is_held(tmp_path):
    """By the spool's own lock; a folder that is not there has none."""
    assert not bridging.runs(tmp_path)
    with SpoolWriter(tmp_path, segment_bytes=4096, fsync="none"):
        assert bridging.runs(tmp_path)
    assert not bridging.runs(tmp_path)
    assert not is_flocked(tmp_path / "lock/below")


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"ended": "signal", "dropped": 0}, ""),
        ({"ended": "signal", "dropped": 3}, "the kernel dropped records"),
        ({"ended": "limit", "dropped": 0}, "ended early: limit"),
        ({"ended": "error", "error": "no space"}, "ended early: no space"),
        ({"ended": "", "pid": 999_999_999}, "ended early: its process was killed"),
    ],
)
def test_a_copy_that_may_lack_records_says_why(tmp_path, facts, says):
    """Only an end that was asked for, with nothing dropped, is a whole copy."""
    (tmp_path / "bridge.json").write_text(json.dumps(facts))
    (tmp_path / "bridge.json").chmod(0o600)
    found = bridging.end(tmp_path)
    assert says in found
    assert bool(found) == bool(says)


# --- who is stopped ------------------------------------------------------------------------


@pytest.fixture
def named(tmp_path):
    """Start a program under another name; it is ended at the end."""
    begun = []

    def start(name):
        program = tmp_path / name
        shutil.copy("/bin/sleep", program)
        begun.append(subprocess.Popen([program, "60"]))
        return begun[-1]

    yield start
    for each in begun:
        each.kill()
        each.wait()


def test_auditd_is_told_by_its_program(named):
    """Also when an upgrade has replaced the file; a name in argv proves nothing."""
    auditd, other = named("auditd"), named("auditd2")
    until(lambda: daemons.is_auditd(auditd.pid))
    Path(daemons.program_of(auditd.pid)).unlink()
    assert daemons.is_auditd(auditd.pid)
    assert daemons.program_of(auditd.pid).endswith("/auditd")
    assert not daemons.is_auditd(other.pid)
    assert not daemons.is_auditd(999_999_999)


def test_only_the_right_process_is_signalled(named):
    """It is looked at when its pid can no longer become another's; and its end is waited for."""
    auditd, other = named("auditd"), named("other")
    until(lambda: daemons.is_auditd(auditd.pid))
    with pytest.raises(AuditsvcError, match="another process by now"):
        daemons.stop(other.pid, daemons.is_auditd)
    assert other.poll() is None
    daemons.stop(auditd.pid, daemons.is_auditd)
    assert auditd.wait(0) == -signal.SIGTERM
    daemons.stop(auditd.pid, daemons.is_auditd)  # it is gone already


def test_another_daemon_is_named_and_prevents_the_change(named, tmp_path, monkeypatch):
    """Only auditd is stopped, and our own service of this runtime directory."""
    other = named("other")
    until(lambda: daemons.program_of(other.pid).endswith("/other"))
    monkeypatch.setattr(daemons, "registered", lambda: other.pid)
    with pytest.raises(AuditsvcError, match=rf"pid {other.pid} .*other\), which is not auditd"):
        daemons.check(tmp_path)
    monkeypatch.setattr(daemons, "registered", lambda: 0)
    daemons.check(tmp_path)


def test_a_terminal_s_signals_wait_for_the_end_of_the_block():
    """Ctrl-C between two daemons ends nothing, and programs started there are as usual."""
    with daemons.undisturbed():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGHUP)
        done = subprocess.run(["/bin/sh", "-c", "kill -INT $$; sleep 5"], check=False, timeout=60)
    assert done.returncode == -signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


# --- who starts what -----------------------------------------------------------------------


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """A systemctl that notes what it is asked, and refuses what the file `refuse` names."""
    folder = tmp_path / "bin"
    folder.mkdir()
    said = tmp_path / "asked"
    program = folder / "systemctl"
    program.write_text(
        f'#!/bin/sh\necho "$*" >> {said}\n'
        f'if grep -qx "$*" {tmp_path}/refuse 2> /dev/null; then echo "Failed: $*" >&2; exit 1; fi\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(managers, "_DROP_IN", tmp_path / "system/auditsvc.service.d/adopt.conf")
    monkeypatch.setattr(daemons, "registered", lambda: 77)
    monkeypatch.setattr(daemons, "is_ours", lambda *_: True)
    monkeypatch.setattr(daemons, "is_auditd", lambda _: True)
    return lambda: said.read_text().splitlines() if said.exists() else []


@pytest.mark.parametrize("has_rules_unit", [True, False], ids=["audit 4", "audit 3"])
def test_systemd_enables_the_new_unit_before_it_disables_the_old(
    systemctl, tmp_path, has_rules_unit
):
    """A reboot in between begins with one of them: never with none.

    audit 4 loads auditd's rules by a unit of its own, which deletes those of others.
    """
    if not has_rules_unit:
        (tmp_path / "refuse").write_text("cat audit-rules.service\n")
    manager = managers.Systemd(Settings())
    manager.check()
    manager.prepare(None)
    assert manager.start_ours() == 77
    manager.settle(ours=True)
    more = " audit-rules.service" if has_rules_unit else ""
    assert systemctl() == [
        "cat auditsvc.service",
        "enable auditsvc.service",
        "start auditsvc.service",
        "cat audit-rules.service",
        "enable auditsvc.service",
        f"disable auditd.service{more}",
    ]
    assert not (tmp_path / "system").exists()


def test_systemd_goes_back_without_stopping_auditd(systemctl, tmp_path):
    """Auditd's unit may refuse a manual stop: it is never asked for one; our drop-in goes."""
    manager = managers.Systemd(Settings())
    manager.prepare(Path("/etc/audit/rules.d"))
    (tmp_path / "asked").unlink()
    manager.stop_ours()
    assert manager.start_auditd([]) == 77
    manager.settle(ours=False)
    assert systemctl() == [
        "stop auditsvc.service",
        "start auditd.service",
        "cat audit-rules.service",
        "enable auditd.service audit-rules.service",
        "disable auditsvc.service",
        "daemon-reload",
    ]
    assert not (tmp_path / "system/auditsvc.service.d/adopt.conf").exists()


def test_settings_of_the_kernel_are_loaded_after_each_start(systemctl, tmp_path):
    """By a drop-in of the unit, as auditd.service has augenrules."""
    managers.Systemd(Settings()).prepare(Path("/etc/audit/rules.d"))
    text = (tmp_path / "system/auditsvc.service.d/adopt.conf").read_text()
    assert text.startswith("[Service]\nExecStartPost=/")
    assert text.endswith(" rules load /etc/audit/rules.d\n")
    assert systemctl() == ["daemon-reload", "enable auditsvc.service"]


def test_what_systemctl_refuses_is_one_line(systemctl, tmp_path):
    """With its own words."""
    (tmp_path / "refuse").write_text("start auditsvc.service\ncat auditsvc.service\n")
    manager = managers.Systemd(Settings())
    with pytest.raises(AuditsvcError, match=r"systemctl start auditsvc\.service: Failed: start"):
        manager.start_ours()
    with pytest.raises(AuditsvcError, match=r"there is no unit auditsvc\.service"):
        manager.check()
    assert len(systemctl()) == 2


def test_a_daemon_that_ends_at_once_is_said_with_its_last_line(tmp_path, monkeypatch):
    """And its status."""
    monkeypatch.setattr(daemons, "registered", lambda: 0)
    manager = managers.Processes(Settings(state_directory=tmp_path, runtime_directory=tmp_path))
    with pytest.raises(AuditsvcError, match="it ended with status 6: wrong configuration"):
        manager.start_auditd(["/bin/sh", "-c", "echo wrong configuration; exit 6"])


def test_the_manager_is_that_of_the_running_auditd():
    """Of its unit, or none."""
    assert managers.name_for(daemons.Auditd(1, [], has_unit=True)) == managers.SYSTEMD
    assert managers.name_for(daemons.Auditd(1, [], has_unit=False)) == managers.PROCESS


# --- how far it is -------------------------------------------------------------------------


def test_how_far_it_is_outlives_the_process(tmp_path):
    """All of it, with the copies."""
    assert progress.load(tmp_path) == Progress()
    state = Progress(
        direction=ADOPT,
        auditd=["/sbin/auditd", "-n"],
        stopped=time.time(),
        bridges=[Bridge("/x", stored=True, problem="p")],
        problems=["p"],
    )
    progress.save(tmp_path, state)
    assert progress.load(tmp_path) == state


def test_it_is_not_done_before_it_was_said_what_is_missing(tmp_path):
    """Killed, or without a place to say it, it is run again, and the verdict is said then."""
    settings = Settings(state_directory=tmp_path, store=f"sqlite:///{tmp_path}/store.db")
    state = Progress(direction=ADOPT, problems=["the kernel dropped records"])
    noted = []

    def say(line):
        noted.append((line, progress.load(tmp_path).done))

    with progress.alone(tmp_path):
        way = Way(settings, state, say)
        manager = managers.choose(managers.PROCESS, settings)
        way._settle(manager, ours=True)
        assert not progress.load(tmp_path).done
        assert way._verdict() is False
    assert noted[-1] == (
        "records may be missing: the kernel dropped records (0.0 s without a daemon)",
        False,
    )
    assert progress.load(tmp_path).done


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"bridges": [{"x": 1}]}', '{"bridges": [], "y": 1}']
)
def test_a_damaged_file_is_one_line(tmp_path, text):
    """It says what to do."""
    (tmp_path / "adopt").mkdir(mode=0o700)
    (tmp_path / "adopt/state.json").write_text(text)
    with pytest.raises(AuditsvcError, match="is damaged; delete it"):
        progress.load(tmp_path)


def test_one_change_at_a_time(tmp_path):
    """A second one is refused, and the lock goes with the process."""
    refused = pytest.raises(AuditsvcError, match="another `auditsvc adopt`")
    with progress.alone(tmp_path), refused, progress.alone(tmp_path):
        pass
    with progress.alone(tmp_path):
        pass
