"""`auditsvc run` on the real kernel: it collects, and restores everything at the end."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from fixtures import commands
from fixtures.waiting import until
from live.programs import KEY, fresh_auid, rules
from live.service import Service, as_json

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_lock")]

AUDITCTL = Path(__file__).parents[2] / "build/peers/sbin/auditctl"
AUSEARCH = AUDITCTL.with_name("ausearch")
CHDIR = b" syscall=80 "


def auditctl(*arguments):
    """What Debian's own tool says of the kernel."""
    return subprocess.run([AUDITCTL, *arguments], capture_output=True, text=True, check=True).stdout


def settings():
    """What the kernel is set to; the counters that move by themselves are left out."""
    moving = ("lost", "backlog ", "backlog_wait_time_actual", "pid")
    return [line for line in auditctl("-s").splitlines() if not line.startswith(moving)]


def refused(*arguments, environment=None):
    """Run a command that must fail; its status, and the one line it says."""
    done = commands.run(*arguments, environment=environment, text=True)
    lines = done.stderr.splitlines()
    assert done.stdout == ""
    assert len(lines) == 1, done.stderr
    return done.returncode, lines[0]


def loud(programs, auid, times=50):
    """Some calls of a task with this auid."""
    programs.run(auid, "/bin/sh", "-c", f"for i in $(seq {times}); do cd /tmp; done")


def test_the_kernel_is_left_as_it_was_found(programs, tmp_path):
    """Rules, flag and limits come back; while it runs, auditctl sees ours."""
    rules_before, settings_before = auditctl("-l"), settings()
    auid = fresh_auid()
    with Service(tmp_path, rules(auid), by_exec=True) as service:
        assert f"-F auid={auid}" in auditctl("-l")
        assert f"pid {service.process.pid}\n" in auditctl("-s")
        assert "enabled 1" in settings()
        loud(programs, auid)
    assert auditctl("-l") == rules_before
    assert settings() == settings_before
    assert "pid 0\n" in auditctl("-s")
    assert service.query(f"SELECT count(*) > 50 AS many FROM syscalls WHERE auid = {auid}") == [
        {"many": 1}
    ]


def test_a_rule_that_was_there_before_stays(tmp_path):
    """What somebody else loaded is not ours to delete."""
    auid = fresh_auid()
    auditctl("-a", "always,exit", "-S", "all", "-F", f"auid={auid}", "-k", KEY)
    try:
        before = auditctl("-l")
        with Service(tmp_path, f"-a always,exit -S all -F auid={auid} -k {KEY}\n"):
            found = auditctl("-l").splitlines(keepends=True)
            assert "".join(each for each in found if "auditsvc-loader" not in each) == before
        assert auditctl("-l") == before
    finally:
        auditctl("-d", "always,exit", "-S", "all", "-F", f"auid={auid}", "-k", KEY)


def test_start_and_stop_are_in_the_evidence_with_who_did_it(tmp_path):
    """DAEMON_START and DAEMON_END name the process that gave the order."""
    with Service(tmp_path, rules(fresh_auid()), by_exec=True) as service:
        pid = service.process.pid
    start, end = service.query(
        "SELECT type, pid, fields FROM events WHERE type IN ('DAEMON_START', 'DAEMON_END')"
        " ORDER BY time, event_id"
    )
    assert start["type"] == "DAEMON_START"
    assert start["pid"] == os.getpid()
    assert end["type"] == "DAEMON_END"
    assert as_json(end["fields"])["op"] == "terminate"
    assert end["pid"] == os.getpid() != pid


def test_duration_ends_a_run(tmp_path):
    """--duration stops it by itself, with status 0."""
    service = Service(tmp_path, rules(fresh_auid()), options=("--duration", "0.3"))
    service.begin()
    assert service.process.wait(60) == 0
    assert service.query("SELECT count(*) AS n FROM events WHERE type = 'DAEMON_END'") == [{"n": 1}]


def test_a_second_daemon_is_refused_and_harms_nothing(programs, tmp_path):
    """The incumbent is named, with its pid and program, and with the two alternatives."""
    auid = fresh_auid()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with Service(tmp_path / "a", rules(auid)) as first:
        second = Service(tmp_path / "b", rules(auid))
        status, line = refused(*second.command[1:], environment=second.environment)
        assert status == 1
        assert f"{first.process.pid}" in line
        assert "multicast" in line
        assert "stdin" in line
        loud(programs, auid)
    assert first.query(f"SELECT count(*) > 50 AS many FROM syscalls WHERE auid = {auid}")[0]["many"]
    assert first.query("SELECT count(*) AS n FROM events WHERE type = 'DAEMON_ERR'")[0]["n"] == 1


def test_after_a_crash_nothing_is_lost_doubled_or_left_behind(programs, tmp_path):
    """Killed in the middle; the next run knows its own rules, and stores the spool's events once.

    What was still in the killed process's socket is gone, and shows as a gap of serials.
    """
    before = auditctl("-l")
    auid = fresh_auid()
    service = Service(tmp_path, rules(auid))
    for _ in range(3):
        before_it = service.spooled().count(CHDIR)
        service.begin()
        loud(programs, auid, 300)
        until(lambda: service.spooled().count(CHDIR) >= before_it + 300)  # noqa: B023 - called at once
        service.stop(signal.SIGKILL)
        assert f"auid={auid}" in auditctl("-l")
    with service:
        loud(programs, auid, 300)
    assert auditctl("-l") == before
    whole = service.spooled().count(b"type=SYSCALL ")
    counts = service.query("SELECT count(*) AS n, count(DISTINCT serial) AS serials FROM syscalls")
    assert counts == [{"n": whole, "serials": whole}]
    assert whole > 4 * 300
    balance(service)


def balance(service):
    """Every record that came in is accounted for."""
    ledger = service.ledger()
    sums = sum(ledger.get(cause, 0) for cause in ("stored", "end", "raw", "duplicate", "open"))
    assert ledger["received"] == sums, ledger


def test_ausearch_reads_the_spool(programs, tmp_path):
    """The spool is evidence that the usual tools read: event for event what SQL says."""
    auid = fresh_auid()
    with Service(tmp_path, rules(auid)) as service:
        loud(programs, auid)
    spool = sorted((tmp_path / "state/spool").glob("*.log"))
    text = b"".join(path.read_bytes() for path in spool)
    found = subprocess.run(
        [AUSEARCH, "--raw", "-m", "SYSCALL", "-if", "/dev/stdin"],
        input=text,
        capture_output=True,
        check=False,
    )
    if not found.stdout:  # this ausearch does not read a pipe
        joined = tmp_path / "joined.log"
        joined.write_bytes(text)
        found = subprocess.run(
            [AUSEARCH, "--raw", "-m", "SYSCALL", "-if", joined], capture_output=True, check=True
        )
    theirs = [line for line in found.stdout.splitlines() if line.startswith(b"type=SYSCALL")]
    ours = service.query("SELECT count(*) AS n FROM syscalls")[0]["n"]
    assert len(theirs) == ours > 50


def test_every_syscall_of_every_task(tmp_path):
    """The default rules, for a moment: calls of any task are rows."""
    service = Service(tmp_path, "")
    at = service.command.index("--rules")
    del service.command[at : at + 2]
    with service:
        assert "-a always,exit -S all -F key=all-syscalls" in auditctl("-l")
        subprocess.run(["/bin/ls", "/"], check=True, stdout=subprocess.DEVNULL)
    rows = service.query(
        "SELECT syscall, comm FROM syscalls WHERE comm = 'ls' AND syscall = 'getdents64'"
    )
    assert rows
    # Our own calls are exempt; a change of the kernel's settings alone shows, without a key.
    ours = f"pid = {service.process.pid} AND key IS NOT NULL"
    assert service.query(f"SELECT count(*) AS n FROM syscalls WHERE {ours}") == [{"n": 0}]
    balance(service)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--rules", "{folder}/absent.rules"], 2, "absent.rules"),
        (["--rules", "{folder}/wrong.rules"], 2, "wrong.rules:2:"),
        (["--store", "nonsense"], 2, "sqlite:////PATH"),
        (["--source", "{folder}/absent.log"], 1, "absent.log"),
        (["--duration", "soon"], 2, "--duration"),
        (["--no-such-option"], 2, "--no-such-option"),
    ],
)
def test_wrong_words_change_nothing(tmp_path, arguments, status, says):
    """One line that names what is wrong; no rule, no registration, no file stays."""
    (tmp_path / "wrong.rules").write_text("-a always,exit -S all -k fine\n-a always,exot -S all\n")
    before = auditctl("-l"), settings()
    service = Service(tmp_path, rules(fresh_auid()))
    words = [word.format(folder=tmp_path) for word in arguments]
    command = ["run", "--store", service.store, "--rules", str(tmp_path / "live.rules")]
    if "--rules" in words:
        del command[-2:]
    command += words
    got, line = refused(*command, environment=service.environment)
    assert (got, says in line) == (status, True), line
    assert (auditctl("-l"), settings()) == before


def test_without_privilege_it_says_what_it_needs(tmp_path):
    """A user without CAP_AUDIT_CONTROL gets one line that names it."""
    service = Service(tmp_path, rules(fresh_auid()))
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *service.command],
        env=service.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("auditsvc:")]
    assert done.returncode == 1
    assert len(lines) == 1
    assert "CAP_AUDIT_CONTROL" in lines[0]
    assert "Traceback" not in done.stderr


def test_a_reload_uses_the_rules_of_the_file(programs, tmp_path):
    """SIGHUP: new rules are loaded, wrong ones change nothing and are reported, none is tamper."""
    auid, other = fresh_auid(), fresh_auid()
    with Service(tmp_path, rules(auid)) as service:
        file = tmp_path / "live.rules"
        file.write_text(rules(auid) + rules(other))
        service.process.send_signal(signal.SIGHUP)
        until(lambda: "reloaded" in service.log.read_text())
        assert f"auid={auid}" in auditctl("-l")
        assert f"auid={other}" in auditctl("-l")
        loud(programs, other, 3)
        before = auditctl("-l")
        file.write_text("-a always,nowhere -S all\n")
        service.process.send_signal(signal.SIGHUP)
        until(lambda: "reload failed" in service.log.read_text())
        assert auditctl("-l") == before
        file.write_text(rules(auid))
        service.process.send_signal(signal.SIGHUP)
        until(lambda: f"auid={other}" not in auditctl("-l"))
    assert f"auid={auid}" not in auditctl("-l")
    assert service.query(f"SELECT count(*) > 3 AS n FROM syscalls WHERE auid = {other}") == [
        {"n": 1}
    ]
    assert service.query("SELECT * FROM tamper") == []
    spooled = service.spooled().decode()
    assert spooled.count("op=reconfigure state=changed") == 2
    assert spooled.count("op=reconfigure state=no-change") == 1
