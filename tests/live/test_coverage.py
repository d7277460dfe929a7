"""Judgements and true coverage: processes of every condition make known calls.

Each puppet is forked under one condition and then follows orders. The rows that the kernel
gave must agree with the judgement of `auditsvc coverage`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from fixtures import commands
from fixtures.waiting import until
from live.programs import fresh_auid, rules
from live.service import Service

from auditsvc.coverage.history import TaskListState, load
from auditsvc.rule import parse

pytestmark = pytest.mark.live

CALLS = 7
SMALL = ("PROCTITLE", "CWD", "PATH")

PUPPET = """
import os, queue, sys, threading

def call(times):
    for _ in range(times):
        os.getppid()

def become(auid):  # a login uid is a thread's own
    with open("/proc/thread-self/loginuid", "w") as file:
        file.write(auid)

def work():
    while True:
        order, number = orders.get()
        order(number)
        done.put(None)

orders, done = queue.SimpleQueue(), queue.SimpleQueue()
for line in sys.stdin:
    verb, number = line.split()
    if verb == "auid":
        become(number)
    elif verb == "call":
        call(int(number))
    elif verb == "start":
        threading.Thread(target=work, daemon=True).start()
    elif verb == "thread":
        orders.put((call, int(number)))
        done.get()
    elif verb == "thread-auid":
        orders.put((become, number))
        done.get()
    print("done", flush=True)
"""


class Puppet:
    """A process that was forked when this was made, and that waits for orders."""

    def __init__(self):
        """Fork it; it is there once it answers."""
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", PUPPET],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid

    def do(self, verb, number=0):
        """Give an order and wait until it is carried out."""
        self.process.stdin.write(f"{verb} {number}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self):
        """End it."""
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture
def puppets():
    """Make puppets by name and end them all afterwards."""
    made = {}
    yield made
    for puppet in made.values():
        puppet.end()


@contextmanager
def standing(control, text):
    """Have a rule loaded for a moment: it is for the whole host."""
    rule = parse(text)[0].command.rule
    control.add_rule(rule)
    try:
        yield
    finally:
        control.delete_rule(rule)


@contextmanager
def switched_on(control):
    """Have audit on for a moment, so that it was on before in this boot."""
    before = control.status().enabled
    control.set(enabled=1)
    try:
        yield
    finally:
        control.set(enabled=before)


def watching(tmp_path, text):
    """Give a service that looks every second."""
    service = Service(tmp_path, text)
    service.environment["AUDITSVC_COVERAGE__EVERY"] = "1"
    return service


def forked(service, wanted):
    """Fork a puppet between looks of the service that found this task list."""
    return between_looks(service, wanted, Puppet)


def between_looks(service, wanted, act):
    """Act, with looks of the service before and after it that found this task list."""
    folder = Path(service.environment["AUDITSVC_RUNTIME_DIRECTORY"])

    def now():
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def seen_since(when):
        known = load(folder)
        span = known.spans[-1] if known.spans else None
        if span is None or span.last is None or known.on is None:
            return False
        since = max(span.begin, known.on) + 0.15  # a fork is judged from a little before it on
        return span.task_list is wanted and span.last.asked > when and since < now()

    until(lambda: seen_since(0.0))
    result = act()
    after = now() + 0.05
    until(lambda: seen_since(after))
    return result


def ask(service, *pids):
    """What `auditsvc coverage` says: exit status, the whole answer, and the processes by pid."""
    done = commands.run(
        *("coverage", "--format", "json", "--store", service.store),
        *(f"--pid={pid}" for pid in pids),
        environment=service.environment,
        text=True,
    )
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    return done.returncode, answer, {each["pid"]: each for each in answer["list"]}


def rows_of(service, pid):
    """How many getppid calls of a process are in the store, now that it has had time to load."""
    return service.query(
        f"SELECT count(*) AS n FROM syscalls WHERE pid = {pid} AND syscall = 'getppid'"
    )[0]["n"]


def orphan_ends():
    """Leave PID 1 an orphan to reap, which makes it call the kernel; give when it has."""
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        if os.fork() == 0:
            os.write(writer, str(os.getpid()).encode())
            time.sleep(0.2)
        os._exit(0)
    os.waitpid(middle, 0)
    os.close(writer)
    orphan = int(os.read(reader, 20))
    os.close(reader)
    ends = time.monotonic() + 60
    while os.path.exists(f"/proc/{orphan}"):  # noqa: PTH110 - one call, many times
        assert time.monotonic() < ends, "PID 1 does not reap"
        time.sleep(0.01)


def history(service):
    """Give what was said so far: pid, state and reason."""
    return {
        (row["pid"], row["state"], row["reason"])
        for row in service.query("SELECT pid, state, reason FROM coverage")
    }


def test_what_is_said_agrees_with_the_rows(audit_lock, puppets, tmp_path):
    """Old with a context, new, not covered, partly covered, threads, PID 1: judged as logged."""
    with switched_on(audit_lock):
        puppets["old"] = Puppet()
    auid = fresh_auid()
    service = watching(tmp_path, rules(auid) + "-a always,exit -S all -F pid=1 -k live\n")
    with service:
        puppets["new"] = forked(service, TaskListState.CLEAR)
        with standing(audit_lock, "-a never,task"):
            puppets["blind"] = forked(service, TaskListState.ALL)
        with standing(audit_lock, "-a never,task -F uid=65531"):
            puppets["spared"] = forked(service, TaskListState.SOME)
        # A thread that is forked when nothing stands any more.
        between_looks(service, TaskListState.CLEAR, lambda: puppets["blind"].do("start"))
        pids = {name: puppet.pid for name, puppet in puppets.items()}

        def settled():
            answer = ask(service, *pids.values(), 1)
            return not any(each["reason"] == "changing" for each in answer[2].values()) and answer

        before = until(settled)
        said = {name: before[2][pid] for name, pid in pids.items()}
        # Not covered, as far as anybody saw; but where audit was on earlier in this boot,
        # the tests' own process has a context, which its changes of rules have shown.
        old = said.pop("old")
        assert (old["state"], old["reason"]) in {
            ("not_covered", "before_audit"),
            ("unknown", "before_watch"),
        }
        assert {name: (each["state"], each["reason"]) for name, each in said.items()} == {
            "new": ("covered", "forked_covered"),
            "blind": ("not_covered", "never_task"),
            "spared": ("unknown", "never_task_some"),
        }
        assert (said["blind"]["threads"], said["blind"]["covered"]) == (2, 1)
        assert "1 of 2 threads" in said["blind"]["why"]
        assert before[0] == 1
        assert before[1]["audit"]["logs"] == "some"
        # Told by a look of the service's own, which may be late, before the task tells more.
        some = (pids["spared"], "unknown", "never_task_some")
        until(lambda: some in history(service))

        for puppet in puppets.values():
            puppet.do("auid", auid)
            puppet.do("call", CALLS)
        assert service_rows(service, {"old": CALLS, "new": CALLS, "spared": CALLS}, pids)
        assert rows_of(service, pids["blind"]) == 0
        puppets["blind"].do("thread-auid", auid)
        puppets["blind"].do("thread", CALLS)
        orphan_ends()
        assert service_rows(service, {"blind": CALLS}, pids)

        status, _, after = ask(service, *pids.values(), 1)
        assert {
            name: (after[pid]["state"], after[pid]["reason"]) for name, pid in pids.items()
        } == {
            "old": ("covered", "own_records"),
            "new": ("covered", "own_records"),
            "blind": ("not_covered", "never_task"),
            "spared": ("covered", "own_records"),
        }
        assert status == 1
        first = after[1]
        # Where nobody saw audit off before PID 1 began, it may be covered.
        assert first["do"].endswith("boot with audit=1") or first["state"] == "covered"
        # A thread of PID 1 may be young enough; where none is, nothing of it is logged.
        if first["covered"] == 0 and first["state"] == "not_covered":
            assert service.query("SELECT count(*) AS n FROM syscalls WHERE pid = 1") == [{"n": 0}]
        told = {
            (pids["old"], "covered", "own_records"),
            (pids["new"], "covered", "own_records"),
            (pids["blind"], "not_covered", "never_task"),
            some,
            (pids["spared"], "covered", "own_records"),
        }
        until(lambda: told <= history(service))
    looks = service.query(
        "SELECT count(*) AS n FROM events WHERE type = 'DAEMON_CONFIG'"
        " AND fields LIKE '%coverage-look%'"
    )
    assert looks[0]["n"] >= 3


def service_rows(service, wanted, pids):
    """Wait until each of these processes has so many rows."""
    return until(
        lambda: all(rows_of(service, pids[name]) == count for name, count in wanted.items()),
        told=lambda: {name: rows_of(service, pids[name]) for name in wanted},
    )


def test_a_rule_too_short_for_any_look(audit_lock, puppets, tmp_path):
    """After a never,task rule that existed for an instant no task is wrongly called covered."""
    auid = fresh_auid()
    with watching(tmp_path, rules(auid)) as service:
        with standing(audit_lock, "-a never,task"):
            puppets["blind"] = Puppet()
        puppets["late"] = forked(service, TaskListState.CLEAR)
        pid, late = puppets["blind"].pid, puppets["late"].pid
        said = ask(service, pid, late)[2]
        assert said[pid]["state"] != "covered"
        assert said[late]["state"] == "covered"
        for puppet in puppets.values():
            puppet.do("auid", auid)
            puppet.do("call", CALLS)
        assert service_rows(service, {"late": CALLS}, {"late": late})
        assert rows_of(service, pid) == 0
        assert ask(service, pid)[2][pid]["state"] != "covered"


@pytest.mark.long  # each call of the host is a row: of all tests beside it, too
def test_silence_proves(audit_changes, puppets, tmp_path):
    """Both were forked before the first look: only the one with rows is proved covered."""
    audit_changes.delete_rules()  # a never of others could be what hides a call
    with switched_on(audit_changes):
        puppets["seen"] = Puppet()
        with standing(audit_changes, "-a never,task"):
            puppets["blind"] = Puppet()
        # Every call of the host: without its smaller records, so that a busy one is kept up with.
        small = "".join(f"-a always,exclude -F msgtype={each}\n" for each in SMALL)
        service = watching(tmp_path, small + "-a always,exit -S all -k live\n")
        with service:
            seen, blind = puppets["seen"].pid, puppets["blind"].pid
            first = ask(service, seen, blind)[2]
            assert (first[blind]["state"], first[blind]["reason"]) == ("unknown", "before_watch")
            found = tmp_path / "run/coverage.json"

            def silent():
                for puppet in puppets.values():
                    puppet.do("call", CALLS)
                return blind in {tid for tid, _ in json.loads(found.read_text())["silent"]}

            until(silent, 300)  # on a busy host the store comes later
            said = ask(service, seen, blind)
        assert said[0] == 1
        assert said[1]["audit"]["logs"] == "every"
        assert (said[2][blind]["state"], said[2][blind]["reason"]) == ("not_covered", "silent")
        assert (said[2][seen]["state"], said[2][seen]["reason"]) == ("covered", "own_records")
        assert rows_of(service, blind) == 0
        assert rows_of(service, seen) >= CALLS


def test_audit_off_is_said_first(audit_changes, tmp_path):
    """With audit off nothing is logged, which is a failure whatever flags the tasks have."""
    audit_changes.set(enabled=0)
    assert audit_changes.status().enabled == 0
    service = watching(tmp_path, "")
    status, answer, _ = ask(service)
    assert status == 1
    assert answer["audit"]["enabled"] is False
    assert answer["audit"]["logs"] == "nothing"
    assert any("judged without rows" in note for note in answer["notes"])
    table = commands.run(
        *("coverage", "--format", "table", "--store", service.store),
        environment=service.environment,
        text=True,
    )
    assert table.returncode == 1
    assert table.stdout.startswith("Audit is off: nothing is logged")
    missing = commands.run(
        *("coverage", "--pid", "2", "--store", service.store),
        environment=service.environment,
        text=True,
    )
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "no process 2" in missing.stderr
