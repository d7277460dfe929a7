"""From fork, evidence and rules to a judgement, and from that to a remedy."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext

import pytest

from auditsvc.config import load_settings
from auditsvc.coverage import report
from auditsvc.coverage import watch as watching
from auditsvc.coverage.history import Birth, Periods, TaskListState
from auditsvc.coverage.judge import WHY, CoverageState, Evidence, judge, on_by, remedy
from auditsvc.coverage.rule_effect import Logs, read_rules
from auditsvc.coverage.snapshot import UNASKED, KernelFacts, Look, judge_all
from auditsvc.host.processes import Process, Thread
from auditsvc.rule import parse
from auditsvc.runtime import boot_file

NOT_COVERED, UNKNOWN, COVERED, EXEMPT = CoverageState


def rules(*lines):
    """Rules in the order in which the kernel would ask them."""
    return [line.command.rule for line in parse("\n".join(lines))]


def logged(*lines, enabled=True, ours=()):
    """What these rules mean; `ours` are those of the service."""
    return read_rules(enabled, rules(*lines), {rule.to_bytes() for rule in rules(*ours)})


ALL = "-a always,exit -S all"


def process(*births, pid=10, ppid=1):
    """Give a process whose threads began at these seconds."""
    threads = tuple(Thread(pid + n, int(birth * 100)) for n, birth in enumerate(births))
    return Process(pid, ppid, threads[0].ticks, b"x", threads)


def boot():
    """Audit found off at 10, on from 11; a never,task rule from 30 to 40; seen to 60."""
    made = Periods("boot", on_at_boot=False)
    made.note(10, False, TaskListState.CLEAR)
    made.note(11, True, TaskListState.CLEAR)
    for when, task_list in (
        (20, TaskListState.CLEAR),
        (30, TaskListState.ALL),
        (40, TaskListState.CLEAR),
    ):
        made.note(when + 1, True, task_list, watched=True, changes=[(when, when + 0.1)])
    made.note(60, True, TaskListState.CLEAR, watched=True)
    return made


BEFORE, FINE, BLIND, UNSURE = 5, 50, 35, 20
PROOF = Evidence(proven={10}, threads={(10, 500)})


@pytest.mark.parametrize(
    ("births", "evidence", "state", "reason", "covered"),
    [
        ([FINE], Evidence(), COVERED, "forked_covered", 1),
        ([BEFORE], Evidence(), NOT_COVERED, "before_audit", 0),
        ([BLIND], Evidence(), NOT_COVERED, "never_task", 0),
        ([UNSURE], Evidence(), UNKNOWN, "changing", 0),
        ([BEFORE], PROOF, COVERED, "own_records", 1),
        ([FINE], Evidence(silent={(10, 5000)}), NOT_COVERED, "silent", 0),
        # Threads: a process is covered if all of them are.
        ([FINE, FINE + 1, FINE + 2], Evidence(), COVERED, "forked_covered", 3),
        ([BEFORE, FINE], Evidence(), NOT_COVERED, "before_audit", 1),
        ([BEFORE, BLIND, BLIND, FINE], Evidence(), NOT_COVERED, "never_task", 1),
        ([BEFORE, FINE], Evidence(proven={10}), NOT_COVERED, "before_audit", 1),
        ([UNSURE, FINE], Evidence(proven={10}), UNKNOWN, "changing", 1),
        ([BEFORE, FINE], PROOF, COVERED, "own_records", 2),
        ([BEFORE, BLIND], PROOF, NOT_COVERED, "never_task", 1),
    ],
)
def test_judgements(births, evidence, state, reason, covered):
    """Birth, proof and silence, of one thread and of several."""
    found = judge(process(*births), boot(), evidence, logged(ALL))
    assert (found.state, found.tasks[COVERED]) == (state, covered)
    assert found.reason == reason
    assert found.tasks.total() == len(births)
    if 0 < covered < len(births):
        assert f"{found.tasks[state]} of {len(births)} threads" in found.why


def test_one_proof_speaks_for_the_boot():
    """Whoever is younger than a proven one cannot have been forked before audit was on."""
    old, young, older = process(5, pid=10), process(7, pid=20), process(2, pid=30)
    evidence = Evidence({10}, {(10, 500)})
    assert on_by([old, young, older], evidence) == 5
    found = judge_all([old, young, older], boot(), evidence, KernelFacts(logged(ALL)))
    assert [each.reason for each in found] == ["own_records", "before_watch", "before_audit"]


def test_whom_rules_take_out():
    """Server and forwarder by our rules are exempt; by anybody else's rule it is a finding."""
    taken = ("-a never,exit -F pid=10", "-a never,exit -F ppid=10")
    server, child, other = process(FINE), process(FINE, pid=11, ppid=10), process(FINE, pid=12)
    ours, foreign = logged(*taken, ALL, ours=taken), logged(*taken, ALL)
    for each in (server, child):
        assert judge(each, boot(), Evidence(), ours).reason == "left_out"
        assert judge(each, boot(), Evidence(), ours).state is EXEMPT
        assert judge(each, boot(), Evidence(), foreign).reason == "never_exit"
    assert judge(other, boot(), Evidence(), ours).state is COVERED
    behind = logged(ALL, *taken)  # the always is asked first
    assert judge(server, boot(), Evidence(), behind).state is COVERED
    assert judge(other, boot(), Evidence(), ours, daemon=12).reason == "daemon"


@pytest.mark.parametrize(
    ("lines", "enabled", "logs", "whole", "heard"),
    [
        ([ALL], True, Logs.EVERY, True, True),
        ([ALL], False, Logs.NOTHING, False, True),
        ([], True, Logs.NOTHING, False, True),
        (["-a always,exit -S open"], True, Logs.SOME, False, True),
        (["-a never,exit -F uid=5", ALL], True, Logs.EVERY, False, True),
        (["-a never,exit -F pid=5", ALL], True, Logs.EVERY, True, True),
        ([ALL, "-a always,exclude -F msgtype=PROCTITLE"], True, Logs.EVERY, True, True),
        ([ALL, "-a always,exclude -F msgtype=SYSCALL"], True, Logs.EVERY, False, True),
        ([ALL, "-a always,exclude -F msgtype=CONFIG_CHANGE"], True, Logs.EVERY, True, False),
        ([ALL, "-a always,exclude -F uid=5"], True, Logs.EVERY, False, False),
    ],
)
def test_what_rules_log(lines, enabled, logs, whole, heard):
    """How much is logged, whether silence would mean something, and whether changes are told."""
    found = logged(*lines, enabled=enabled)
    assert (found.logs, found.complete, found.logs_changes) == (logs, whole, heard)


@pytest.mark.parametrize(
    ("births", "unit", "loaded", "do"),
    [
        ([FINE], None, False, ""),
        ([BEFORE], "system.slice/ssh.service", False, "systemctl restart ssh.service"),
        ([BEFORE], "system.slice/a\\x2d b.service", False, "systemctl restart 'a\\x2d b.service'"),
        (
            [BEFORE],
            "user.slice/user-7.slice/user@7.service/app.slice/x.service",
            False,
            "systemctl --user -M 7@ restart x.service",
        ),
        ([BEFORE], "user.slice/user-7.slice/session-2.scope", False, "log in again"),
        ([BEFORE], "user.slice/user-7.slice/user@7.service/-Hx.service", False, "restart it"),
        ([BEFORE], None, False, "restart it"),
        (
            [BLIND],
            None,
            True,
            "delete the never,task rule (auditctl -d never,task), then restart it",
        ),
        ([UNSURE], None, False, "wait until a call of its own is logged, or restart it"),
    ],
)
def test_remedies(births, unit, loaded, do):
    """What to do names the unit, but none that a shell or systemctl would take for more."""
    found = judge(process(*births), boot(), Evidence(), logged(ALL))
    assert remedy(found, unit, loaded=loaded) == do


def test_the_first_process_needs_a_boot():
    """PID 1 cannot be restarted."""
    found = judge(process(BEFORE, pid=1, ppid=0), boot(), Evidence(), logged(ALL))
    assert remedy(found, "init.scope", loaded=False) == "boot with audit=1"


def test_what_a_look_comes_to():
    """Tasks are counted, the exempt are no part of the share, and unknown alone is no failure."""
    kernel = KernelFacts(logged(ALL), daemon=40)
    some = [process(FINE, pid=20), process(FINE, UNSURE, pid=30), process(FINE, pid=40)]
    look = Look(kernel, judge_all(some, boot(), Evidence(), kernel), 0.0)
    assert look.tasks == {COVERED: 2, UNKNOWN: 1, EXEMPT: 1}
    assert look.share == pytest.approx(2 / 3)
    assert look.is_complete
    worse = [*some, process(BEFORE, pid=50)]
    assert not Look(kernel, judge_all(worse, boot(), Evidence(), kernel), 0.0).is_complete
    off = KernelFacts(logged(ALL, enabled=False))
    assert not Look(off, judge_all(some[:1], boot(), Evidence(), off), 0.0).is_complete
    assert Look(kernel, [], 0.0).share is None
    unasked = Look(UNASKED, judge_all(some, boot(), Evidence(), UNASKED), 0.0)
    assert unasked.share is None
    assert unasked.is_complete


def test_every_reason_has_a_sentence():
    """No kind of birth lacks one."""
    assert set(Birth) <= set(WHY)


class Silence:
    """Drives the search for silent threads with counts of our own."""

    def __init__(self, monkeypatch):
        """Counts come from `self.counts`."""
        self.counts = {}
        monkeypatch.setattr(watching, "io_calls", lambda _, tid: self.counts.get(tid))
        self.found = watching._Silence()

    def look(self, newest=1 << 40, kernel=None, **counts):
        """Look once at the process 10, whose threads have these counts."""
        self.counts = {10 + n: count for n, count in enumerate(counts.values())}
        births = [FINE] * len(counts)
        return self.found.look([process(*births)], kernel or KernelFacts(logged(ALL)), newest)


def test_silence_takes_two_windows_and_a_store_that_has_caught_up(monkeypatch):
    """Neither a single call in flight nor a store that lags counts as silence."""
    silence = Silence(monkeypatch)
    assert silence.look(a=5, b=1) == []
    assert silence.look(a=500, b=1) == []  # one wait for a long call may give any number
    assert silence.look(a=500, b=1) == []
    assert silence.look(a=501, b=1, newest=0) == []
    assert silence.look(a=501, b=1) == [(10, FINE * 100)]


@pytest.mark.parametrize(
    "kernel",
    [
        KernelFacts(logged("-a always,exit -S open")),
        KernelFacts(logged(ALL, enabled=False)),
        KernelFacts(logged("-a never,exit -F uid=5", ALL)),
    ],
)
def test_silence_means_nothing_where_not_all_is_logged(monkeypatch, kernel):
    """A look under other rules begins anew."""
    silence = Silence(monkeypatch)
    for count in range(4):
        assert silence.look(a=count, kernel=kernel) == []
    assert silence.look(a=5) == []
    assert silence.look(a=6) == []


def test_silence_of_whom_rules_take_out_is_no_finding(monkeypatch):
    """Neither the daemon nor the excluded are silent."""
    for kernel in (
        KernelFacts(logged(ALL), daemon=10),
        KernelFacts(logged("-a never,exit -F pid=10", ALL)),
    ):
        silence = Silence(monkeypatch)
        for count in range(5):
            assert silence.look(a=count, kernel=kernel) == []


def test_our_own_reads_are_counted():
    """The kernel's count of this very thread grows as it reads and writes."""
    pid = os.getpid()
    before = watching.io_calls(pid, pid)
    reader, writer = os.pipe()
    for _ in range(5):
        os.write(writer, b"x")
        os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    assert watching.io_calls(pid, pid) >= before + 10


def test_rules_of_a_service_that_died_are_not_ours(tmp_path, monkeypatch):
    """Killed, it left its exceptions behind: their pids may be anybody's by now."""
    never = rules("-a never,exit -F pid=10")
    boot_file.remember(tmp_path / boot_file.SESSION, {"added": boot_file.as_hex(never)})
    monkeypatch.setattr(report, "Control", nullcontext)
    monkeypatch.setattr(report, "ask", lambda _, ours: ours)
    settings = load_settings(runtime_directory=tmp_path)
    assert report._kernel(settings, []) == set()
    monkeypatch.setattr(report, "read_state", lambda _: "it runs")
    assert report._kernel(settings, []) == {each.to_bytes() for each in never}


def test_problems_may_be_asked_for_while_they_come(tmp_path):
    """The service asks from its own thread: what is told must not change under the asking."""
    settings = load_settings(runtime_directory=tmp_path)
    watch = watching.CoverageWatch(settings, None, None, None, None)
    asking = iter(watch._problems.values())
    assert next(asking) == ""

    def fail():
        raise OSError(errno.ENOSPC, "no room", "coverage.json")

    watch._try("look", fail)
    assert "coverage.json: no room" in [*asking]
    assert watch.problem == "coverage.json: no room"
