"""`auditsvc off` and `on` on the real kernel, with every call around the flip accounted for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fixtures.waiting import until
from live.programs import fresh_auid, rules
from live.service import AUDITSVC, Service, cli, status_of

from auditsvc.rule import parse

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_changes")]

# Reads one byte, makes a marked call, reads two bytes, makes another.
BLOCKED = """
import contextlib, os
def mark(number):
    with contextlib.suppress(ProcessLookupError):
        os.getpgid(number)
for size in (1, 2):
    os.write(1, b".")
    os.read(0, size)
    mark((1 << 29) + size)
os.write(1, b".")
"""
READ = 0
"""Number of the call read."""

LATER = pytest.param(signal.SIGHUP, marks=pytest.mark.long)
# At no moment are all of them between two calls.
SLEEPERS = """
import os, threading, time
def sleep():
    while True:
        time.sleep(0.05)
for _ in range(7):
    threading.Thread(target=sleep).start()
os.write(1, b".")
sleep()
"""


def python(programs, auid, text):
    """A Python program under a login uid, with pipes to it and from it."""
    return subprocess.Popen(
        [programs["as_auid"], str(auid), sys.executable, "-SEc", text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )


def is_in_call(pid, number):
    """Whether a process sleeps in this call, proc_pid_syscall(5)."""
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] == str(number)


def flip(service, verb):
    """Run the verb and give what it tells."""
    return json.loads(cli(verb, "--format", "json", environment=service.environment))


def test_rows_cease_and_come_back(programs, tmp_path, audit_changes):
    """With the service running: `status` shows it, the log says who asked, nothing stays behind."""
    auid, asking = fresh_auid(), fresh_auid()
    with Service(tmp_path, rules(auid)) as service:
        loaded = audit_changes.raw_rules()
        programs.run(auid, "/bin/true")
        told = programs.run(
            asking, "/usr/bin/env", *environment(service), AUDITSVC, "off", "--format", "json"
        )
        off = json.loads(told)
        assert (off["enabled"], off["changed"], audit_changes.status().enabled) == (0, True, 0)
        shown = json.loads(status_of(service))
        assert (shown["kernel"]["enabled"], shown["kernel"]["switch"]) == (0, "off")
        programs.run(auid, "/bin/false", status=1)
        on = flip(service, "on")
        assert (on["enabled"], on["changed"], audit_changes.status().enabled) == (1, True, 1)
        shown = json.loads(status_of(service))
        assert (shown["kernel"]["enabled"], shown["kernel"]["switch"]) == (1, "on")
        programs.run(auid, "/bin/echo")
        assert audit_changes.raw_rules() == loaded
    for told in (on, off):
        probe = told["probe"]
        assert told["covers_running_tasks"] is True, told
        assert (probe["forked"], probe["missing"], probe["late"]) == ("before", 0, 0), told
        assert probe["calls"] > 0
        print({"switch_us": told["switch_us"], **probe})
    programs_seen = service.query(
        f"SELECT DISTINCT exe FROM syscalls WHERE auid = {auid} AND syscall = 'execve'"
    )
    assert {Path(row["exe"]).name for row in programs_seen} == {"true", "echo"}
    said = service.query(
        "SELECT fields ->> '$.state' AS state, auid FROM events"
        " WHERE type = 'DAEMON_CONFIG' AND fields ->> '$.op' = 'switch' ORDER BY event_id, serial"
    )
    assert said == [{"state": "off", "auid": asking}, {"state": "on", "auid": None}]


def environment(service):
    """The settings of a service, as words for env(1)."""
    return [f"{name}={value}" for name, value in service.environment.items() if "AUDIT" in name]


def test_a_call_in_flight_belongs_to_the_moment_of_its_entry(programs, tmp_path):
    """Entered before `off`: a row, however late it ends. Entered before `on`: none."""
    auid = fresh_auid()
    with Service(tmp_path, rules(auid)) as service:
        task = python(programs, auid, BLOCKED)
        with task:
            assert task.stdout.read(1) == b"."
            until(lambda: is_in_call(task.pid, READ))
            before = datetime.now(UTC)
            off = flip(service, "off")
            assert off["still_in_calls"] >= 1
            task.stdin.write(b"1")
            assert task.stdout.read(1) == b"."
            until(lambda: is_in_call(task.pid, READ))
            flip(service, "on")
            task.stdin.write(b"22")
            assert task.stdout.read(1) == b"."
    mine = f"auid = {auid} AND pid = {task.pid}"
    reads = service.query(
        f"SELECT a2, exit, time FROM syscalls"
        f" WHERE {mine} AND syscall = 'read' AND a0 = '0' AND a2 IN ('1', '2')"
    )
    assert [(row["a2"], row["exit"]) for row in reads] == [("1", 1)]
    assert datetime.fromisoformat(reads[0]["time"]).replace(tzinfo=UTC) < before
    marks = service.query(f"SELECT a0 FROM syscalls WHERE {mine} AND syscall = 'getpgid'")
    assert marks == [{"a0": f"{(1 << 29) + 2:x}"}]


def test_off_counts_the_calls_in_flight(programs, tmp_path):
    """Tasks that sleep at the flip end their call soon after it, with a record."""
    auid = fresh_auid()
    with Service(tmp_path, rules(auid)) as service:
        task = python(programs, auid, SLEEPERS)
        assert task.stdout.read(1) == b"."
        off = flip(service, "off")
        task.kill()
        task.wait()
    change = service.query(
        "SELECT serial FROM records JOIN syscalls USING (event_id)"
        " WHERE type = 'CONFIG_CHANGE' AND fields ->> '$.audit_enabled' = '0'"
    )[0]
    after = service.query(
        "SELECT pid, syscall FROM syscalls"
        f" WHERE serial > {change['serial']} AND auid = {auid} AND pid = {task.pid}"
    )
    assert {row["syscall"] for row in after} == {"clock_nanosleep"}
    assert off["in_flight"] - len(after) in {0, 1}, off  # the probe may be in its call as well


def test_tasks_without_the_flag_are_told(programs, tmp_path, audit_changes):
    """Under a never,task rule no probe is traced, and the answer says why; other tasks are."""
    auid = fresh_auid()
    rule = parse(f"-a never,task -F auid={auid}")[0].command.rule
    with Service(tmp_path, rules(auid)) as service:
        flip(service, "off")
        audit_changes.add_rule(rule)
        told = programs.run(
            auid, "/usr/bin/env", *environment(service), AUDITSVC, "on", "--format", "json"
        )
        on = json.loads(told)
    assert (on["enabled"], on["covers_running_tasks"], on["probe"]) == (1, False, None)
    assert any("never,task" in note for note in on["notes"])


def test_a_task_forked_after_the_flip_is_measured_instead(programs, tmp_path, audit_changes):
    """Where what ran before has no flag: the second probe, forked when the blinding is over."""
    auid = fresh_auid()
    rule = parse(f"-a never,task -F auid={auid}")[0].command.rule
    with Service(tmp_path, rules(auid)) as service:
        flip(service, "off")
        audit_changes.add_rule(rule)
        command = ["/usr/bin/env", *environment(service), AUDITSVC, "on", "--format", "json"]
        verb = subprocess.Popen(
            [programs["as_auid"], str(auid), *command], stdout=subprocess.PIPE, text=True
        )
        forked(verb.pid)
        audit_changes.delete_rule(rule)
        on = json.loads(verb.communicate()[0])
    assert on["covers_running_tasks"] is False
    assert on["probe"]["forked"] == "after"
    assert (on["probe"]["missing"], on["probe"]["calls"] > 0) == (0, True)


def forked(pid):
    """Wait until a process has a child, and give its pid."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return int(until(lambda: children.read_text().split())[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, LATER])
def test_a_signal_leaves_nothing_behind(programs, tmp_path, audit_changes, number):
    """Interrupted while it waits for the first record: no rule, no probe, one line."""
    auid = fresh_auid()
    blind = parse(f"-a never,task -F auid={auid}")[0].command.rule
    with Service(tmp_path, "-a always,exit -S getpgid -F auid=1\n") as service:
        flip(service, "off")
        audit_changes.add_rule(blind)
        before = audit_changes.raw_rules()
        verb = subprocess.Popen(
            [programs["as_auid"], str(auid), "/usr/bin/env", *environment(service), AUDITSVC, "on"],
            stderr=subprocess.PIPE,
            text=True,
        )
        probe = forked(verb.pid)
        until(lambda: audit_changes.raw_rules() != before)
        verb.send_signal(number)
        said = verb.communicate(timeout=120)[1]
        assert (verb.returncode, said.count("\n")) == (1, 1), said
        assert said.startswith("auditsvc: interrupted")
        assert audit_changes.raw_rules() == before
        assert not Path(f"/proc/{probe}").exists()


def test_on_needs_a_daemon(tmp_path, audit_changes):
    """Without one the records would go to the kernel's log: one line, and nothing is changed."""
    audit_changes.set(enabled=0)
    done = subprocess.run(
        [AUDITSVC, "on"],
        env=os.environ | {"AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "no audit daemon" in done.stderr
    assert audit_changes.status().enabled == 0
    assert [each.name for each in tmp_path.iterdir()] == ["lock"]


def test_off_outlives_the_service(tmp_path, audit_changes):
    """Audit was on when the service came, but somebody asked for off: it stays off, and is said."""
    audit_changes.set(enabled=1)
    with Service(tmp_path, rules(fresh_auid())) as service:
        flip(service, "off")
    assert audit_changes.status().enabled == 0
    assert "stays off" in service.log.read_text()
    with Service(tmp_path, rules(fresh_auid())):
        assert audit_changes.status().enabled == 1
