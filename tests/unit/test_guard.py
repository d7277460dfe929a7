"""The guard on a model of the kernel: what it finds, reports, restores and accepts."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from fixtures.fake_kernel import TAMPERER, rule_fields
from fixtures.guard_stage import ALL, NEVER, SETTINGS, WATCH, rule
from fixtures.logs import SECOND, call

from auditsvc.kernel import messages
from auditsvc.record.daemon import actor
from auditsvc.record.fields import parse_fields
from auditsvc.record.line import parse_line
from auditsvc.rule import Condition, FilterList
from auditsvc.rule.fields import EQUAL, KEY
from auditsvc.runtime import switch_requests
from auditsvc.runtime.lock import exclusive_lock
from auditsvc.spool.reader import SpoolReader
from auditsvc.spool.segments import Place


def test_nothing_happens_and_nothing_is_said(stage):
    """Looks at an untouched kernel, and the service's own changes, make no finding."""
    at = stage(NEVER, ALL, restore=True)
    at.look()
    at.kernel.add_rule(rule("-a never,exit -S all -F ppid=5"), prepend=True)
    at.look()
    at.kernel.delete_rule(rule(NEVER))
    at.kernel.add_rule(rule("-a always,exit -S all -F auid=5 -F key=more"))
    at.look()
    at.kernel.delete_rule(rule("-a never,exit -S all -F ppid=5"))
    at.look()
    assert at.said() == []
    assert at.kernel.rules() == [rule(ALL), rule("-a always,exit -S all -F auid=5 -F key=more")]


def test_a_deleted_rule_is_reported_with_who_did_it(stage):
    """One line, with the rule, the login, the process, and the record that proves it."""
    at = stage(ALL)
    at.kernel.tamper(delete=rule(ALL))
    at.look()
    (found,) = at.said()
    assert found | {"subj": ""} == {
        "op": "tamper", "what": "rule_deleted", "list": "exit", "key": "all", "detail": ALL,
        "restored": "no", "evidence": "1750000000.123:1", "known_by": "call", "auid": "1000",
        "pid": "4321", "uid": "0", "ses": "3", "comm": "auditctl", "exe": "/sbin/auditctl",
        "subj": "", "res": "success",
    }  # fmt: skip
    assert (at.kernel.loaded, at.kernel.requests, at.guard.findings) == ([], [], 1)


@pytest.mark.parametrize("deleted", [NEVER, ALL, WATCH])
def test_a_deleted_rule_comes_back_where_it_was(stage, deleted):
    """With restore the list is what it was, in its order, and the line says so."""
    at = stage(NEVER, ALL, WATCH, restore=True)
    before = at.kernel.rules()
    at.kernel.tamper(delete=rule(deleted))
    at.look()
    assert at.brief("what", "detail", "restored") == [("rule_deleted", deleted, "yes")]
    assert at.kernel.rules() == before


def test_a_never_in_front_goes_and_one_behind_stays(stage):
    """Where it stands decides whether a never takes cover; what does not is its owner's."""
    at = stage(ALL, restore=True)
    at.kernel.tamper(front=rule("-a never,exit -S all -F uid=0"))
    at.kernel.tamper(add=rule(NEVER))
    at.look()
    assert at.brief("what", "restored") == [("never_added", "yes"), ("rule_added", "no")]
    assert at.kernel.rules() == [rule(ALL), rule(NEVER)]
    at.kernel.tamper(delete=rule(NEVER))
    at.look()
    assert at.brief("what", "restored")[2:] == [("rule_deleted", "no")]
    assert at.kernel.rules() == [rule(ALL)]


def test_a_never_is_judged_with_what_was_deleted(stage):
    """All rules deleted and a never added: alone it takes nothing, in front of ours it would."""
    at = stage(ALL, WATCH, restore=True)
    for each in (ALL, WATCH):
        at.kernel.tamper(delete=rule(each))
    at.kernel.tamper(add=rule("-a never,exit -S all -F uid=0"))
    at.look()
    assert sorted(at.brief("what", "restored")) == [
        ("never_added", "yes"),
        ("rule_deleted", "yes"),
        ("rule_deleted", "yes"),
    ]
    assert at.kernel.rules() == [rule(ALL), rule(WATCH)]


@pytest.mark.parametrize(
    "line",
    [
        "-a always,exclude -F msgtype=CONFIG_CHANGE",
        "-a never,task",
        "-a never,user -F uid=0",
        "-a never,filesystem -F fstype=tracefs",
    ],
)
def test_other_lists_take_cover_too(stage, line):
    """An exclude of either action, and a never that leaves tasks, messages or paths out."""
    at = stage(ALL, restore=True)
    at.kernel.tamper(add=rule(line))
    at.look()
    assert at.brief("what", "restored") == [("never_added", "yes")]
    assert at.kernel.rules() == [rule(ALL)]


def test_what_was_undone_before_the_look_has_left_its_record(stage):
    """Deleted and added again, added and deleted again, set and set back: each is one finding."""
    at = stage(ALL, restore=True)
    at.kernel.tamper(delete=rule(ALL))
    at.kernel.tamper(add=rule(ALL))
    at.kernel.tamper(front=rule(NEVER))
    at.kernel.tamper(delete=rule(NEVER))
    at.kernel.tamper(enabled=0)
    at.kernel.tamper(enabled=1)
    at.kernel.tamper(backlog_limit=64)
    at.kernel.tamper(backlog_limit=16384)
    at.look()
    assert at.brief("what", "detail", "restored", "pid") == [
        ("rule_deleted", ALL, "undone", "4321"),
        ("rule_added", "a rule of the list exit with no key", "undone", "4321"),
        ("switched_off", "enabled 1 -> 0", "undone", "4321"),
        ("setting", "backlog_limit 16384 -> 64", "undone", "4321"),
    ]
    assert at.kernel.requests == []


def test_a_rule_that_moved_is_moved_back(stage):
    """Deleted and added again at the end is another order, which decides what is logged."""
    at = stage(ALL, NEVER, WATCH, restore=True)
    at.kernel.tamper(delete=rule(ALL))
    at.kernel.tamper(add=rule(ALL))
    at.look()
    assert at.brief("what", "detail", "restored") == [("rule_moved", ALL, "yes")]
    assert at.kernel.rules() == [rule(ALL), rule(NEVER), rule(WATCH)]


def test_the_switch(stage):
    """Off is tampering unless it was requested; with restore it is switched on again."""
    at = stage(ALL, restore=True)
    at.kernel.tamper(enabled=0)
    at.look()
    assert at.kernel.settings["enabled"] == 1
    switch_requests.add_request(at.runtime, on=False)
    at.look()
    at.kernel.tamper(enabled=0)
    at.look()
    assert at.kernel.settings["enabled"] == 0
    at.kernel.tamper(enabled=1)
    at.guard.look()
    switch_requests.add_request(at.runtime, on=True)
    at.look()
    switch_requests.add_request(at.runtime, on=False)
    at.kernel.tamper(enabled=0)
    at.kernel.tamper(enabled=1)
    switch_requests.add_request(at.runtime, on=True)
    at.look()
    assert at.brief("what", "restored") == [("switched_off", "yes")]
    switch_requests.add_request(at.runtime, on=False)
    at.look()
    at.kernel.tamper(enabled=0)
    at.look()
    at.kernel.tamper(enabled=1)
    at.look()
    assert at.brief("what", "restored")[1:] == [("switched_on", "no")]


def test_on_again_is_told_where_off_was(stage):
    """In a report, who switched off is followed by that it is on again."""
    at = stage(ALL)
    at.kernel.tamper(enabled=0)
    at.look()
    at.kernel.tamper(enabled=1)
    at.look()
    assert at.brief("what", "detail") == [
        ("switched_off", "enabled 1 -> 0"),
        ("switched_on", "enabled 0 -> 1"),
    ]


def test_settings_that_cost_records_are_put_back(stage):
    """Limits that fall are findings; one that rises is welcome, and the measure from then on."""
    at = stage(ALL, restore=True)
    at.kernel.tamper(backlog_limit=32768)
    at.look()
    at.kernel.tamper(backlog_limit=64, rate_limit=5, failure=0, backlog_wait_time=0)
    at.look()
    assert at.brief("detail", "restored") == [
        ("failure 1 -> 0", "yes"),
        ("rate_limit 0 -> 5", "yes"),
        ("backlog_limit 32768 -> 64", "yes"),
        ("backlog_wait_time 15000 -> 0", "yes"),
    ]
    expected = SETTINGS | {"backlog_limit": 32768, "pid": os.getpid()}
    assert expected.items() <= at.kernel.settings.items()


def test_locked_audit_cannot_be_put_back(stage):
    """Under -e 2 it is said what was taken, that it stays so, and nothing is tried again."""
    at = stage(ALL, restore=True)
    at.kernel.tamper(delete=rule(ALL))
    at.kernel.tamper(enabled=2)
    at.look(5)
    assert at.brief("what", "restored") == [("rule_deleted", "failed"), ("setting", "failed")]
    assert at.kernel.requests == []
    assert at.guard.findings == 2


def test_a_lock_that_comes_while_restoring_is_no_end(stage):
    """The kernel refuses in the middle: failed, and the service goes on."""
    at = stage(ALL, restore=True)
    real = at.kernel.add_rule

    def locked(*arguments, **options):
        at.kernel.settings["enabled"] = 2
        real(*arguments, **options)

    at.kernel.add_rule = locked
    at.kernel.tamper(delete=rule(ALL))
    at.look()
    assert at.brief("what", "restored") == [("rule_deleted", "failed"), ("setting", "failed")]


def test_two_who_undo_each_other_do_not_spin(stage, monkeypatch):
    """Five times at once, then once in ten seconds, and the lines tell which is which."""
    now = [1000.0]
    monkeypatch.setattr("auditsvc.guard.restorer.time.monotonic", lambda: now[0])
    at = stage(ALL, restore=True)
    for _ in range(60):
        if rule(ALL) in at.kernel.loaded:
            at.kernel.tamper(delete=rule(ALL))
        at.guard.look()
        now[0] += 0.5
    assert len(at.kernel.requests) == 5 + 2
    now[0] -= 0.1
    at.look()
    assert [restored for (restored,) in at.brief("restored")].count("later") == 3
    assert at.brief("what", "restored").count(("put_back", "yes")) == 2
    now[0] += 60
    at.look()
    assert at.kernel.rules() == [rule(ALL)]
    assert at.brief("what", "restored")[-1] == ("put_back", "yes")
    assert at.guard.findings == 8


def test_a_rule_of_ours_that_comes_back_by_others_is_ours(stage, monkeypatch):
    """Deleted while it has to wait, added and deleted again by the same hand: it still returns."""
    now = [1000.0]
    monkeypatch.setattr("auditsvc.guard.restorer.time.monotonic", lambda: now[0])
    at = stage(ALL, restore=True)
    for _ in range(6):
        at.kernel.tamper(delete=rule(ALL))
        at.guard.look()
    assert at.kernel.rules() == []
    at.kernel.tamper(add=rule(ALL))
    at.look()
    at.kernel.tamper(delete=rule(ALL))
    at.look()
    now[0] += 10
    at.look()
    assert at.kernel.rules() == [rule(ALL)]


def test_a_rule_that_is_refused_does_not_keep_the_others_out(stage):
    """What it watches is gone: it stays out, is said to, and is not tried for ever."""
    at = stage(WATCH, ALL, restore=True)
    at.kernel.refused = {rule(WATCH)}
    at.kernel.tamper(delete=rule(WATCH))
    at.kernel.tamper(delete=rule(ALL))
    at.look()
    assert sorted(at.brief("detail", "restored")) == [(ALL, "yes"), (WATCH, "failed")]
    changes = len(at.kernel.requests)
    at.look(20)
    assert len(at.kernel.requests) == changes
    assert at.kernel.rules() == [rule(ALL)]


def test_a_call_that_comes_late_still_names(stage):
    """The SYSCALL of the change is written after the look that found it: the line waits for it."""
    at = stage(ALL)
    at.kernel.loaded.clear()
    body = f"auid=1000 ses=3 op=remove_rule {rule_fields(rule(ALL))} res=1"
    syscall = at.kernel.write(body, late=True)
    at.guard.look()
    assert at.said() == []
    at.kernel.write_lines(syscall)
    at.guard.look()
    assert at.brief("what", "pid", "exe") == [("rule_deleted", "4321", "/sbin/auditctl")]


def test_a_record_that_comes_late_still_names(stage):
    """The same where the whole event is late."""
    at = stage(ALL)
    at.kernel.loaded.clear()
    at.guard.look()
    at.kernel.write(f"auid=1000 ses=3 op=remove_rule {rule_fields(rule(ALL))} res=1")
    at.look()
    assert at.brief("what", "pid") == [("rule_deleted", "4321")]


def test_a_task_that_is_not_covered_is_known_by_its_login(stage):
    """Without a SYSCALL there are auid and ses; pid and exe are absent, not invented."""
    at = stage(ALL)
    at.kernel.tamper(delete=rule(ALL), call=None)
    at.look()
    (found,) = at.said()
    assert (found["auid"], found["ses"], found["known_by"]) == ("1000", "3", "record")
    assert not {"pid", "exe", "comm"} & set(found)


def test_who_hides_its_call_is_known_by_its_socket(stage):
    """A never that hides the call of its own making: the session's audit socket tells who."""
    at = stage(ALL)
    for serial, nr, pid, ses, comm in (
        (900, 41, 51, 3, "auditctl"),
        (901, 41, 52, 4, "other"),
        (902, 44, 53, 3, "sendto"),
    ):
        who = {"pid": pid, "auid": 1000, "uid": 0, "ses": ses}
        names = {"comm": f'"{comm}"', "exe": f'"/sbin/{comm}"', "key": '"all"'}
        socket = {"a0": "10", "a1": "80003", "a2": "9", "a3": "0"}
        at.kernel.write_lines(call(serial, second=SECOND - 1, nr=nr, **who, **names, **socket))
    at.kernel.tamper(front=rule(NEVER), call=None)
    at.look()
    assert at.brief("what", "pid", "exe", "known_by") == [
        ("never_added", "51", "/sbin/auditctl", "socket")
    ]


def test_a_record_like_ours_by_somebody_else_is_not_ours(stage):
    """The same login and the same rule: only as many records as we caused are passed over."""
    at = stage(ALL, restore=True)
    us = actor(os.getpid())
    at.kernel.add_rule(rule(NEVER))
    at.kernel.delete_rule(rule(NEVER))
    body = f"auid={us.auid} ses={us.ses} op=add_rule {rule_fields(rule(NEVER))} res=1"
    at.kernel.write(body, call=None)
    at.look()
    assert at.brief("what", "restored") == [("rule_added", "undone")]


def test_a_call_of_ours_uses_up_what_was_expected(stage):
    """Before we are exempt our own call is logged too: then a second record is another's."""
    at = stage(ALL)
    us = actor(os.getpid())
    at.kernel.listener(messages.DELETE_RULE, rule(NEVER).to_bytes())
    body = f"auid={us.auid} ses={us.ses} op=remove_rule {rule_fields(rule(NEVER))} res=1"
    at.kernel.write(body, TAMPERER | {"pid": os.getpid()})
    at.look()
    assert at.said() == []
    at.kernel.write(body, call=None)
    at.look()
    assert at.brief("what") == [("rule_deleted",)]


def test_a_rival_is_named(stage):
    """Who asked for our place and was refused: by its call, or by what its login says."""
    at = stage(ALL)
    at.collector.rivals.append(999_999_999)
    at.kernel.write(f"op=set audit_pid=999999999 old={os.getpid()} auid=1000 ses=3 res=0")
    at.look()
    at.collector.rivals.append(999_999_998)
    at.look()
    assert at.brief("what", "pid", "known_by", "res") == [
        ("replaced", "4321", "call", "failed"),
        ("replaced", "999999998", "proc", "failed"),
    ]


def test_the_place_is_asked_for_again(stage, monkeypatch):
    """Given up: at every look. Taken by another: said once, asked for at intervals."""
    now = [1000.0]
    monkeypatch.setattr("auditsvc.guard.guard.time.monotonic", lambda: now[0])
    at = stage(ALL)
    at.kernel.settings["pid"] = 0
    at.look()
    assert at.asked == 3
    assert at.brief("what", "restored") == [("given_up", "later")]
    at.kernel.settings["pid"] = os.getpid()
    at.look()
    at.kernel.settings["pid"] = os.getppid()
    at.look(10)
    assert at.asked == 3
    now[0] += 10
    at.look()
    assert at.asked == 4
    assert at.brief("what", "pid") == [
        ("given_up", None),
        ("replaced", str(os.getppid())),
    ]


def test_what_happens_between_last_tick_and_end_is_found(stage):
    """The last look waits for nothing that could still come with another."""
    at = stage(ALL, restore=True)
    at.kernel.tamper(delete=rule(ALL), call=None)
    at.guard.last_look()
    assert at.brief("what", "restored") == [("rule_deleted", "yes")]
    at.kernel.delete_rule(rule(ALL))  # the session's own end
    assert at.kernel.listener is None


def test_the_last_look_waits_for_no_load(stage):
    """What was found and not yet said is said, even if somebody loads rules just then."""
    at = stage(ALL)
    at.kernel.tamper(delete=rule(ALL), call=None)
    at.guard.look()
    assert at.said() == []
    with exclusive_lock(at.runtime):
        at.guard.last_look()
    assert at.brief("what") == [("rule_deleted",)]


def test_a_run_that_did_not_begin_finds_nothing(stage):
    """Where the rules could not be added, nothing is known of before, and nothing differs."""
    at = stage(ALL, NEVER, begun=False)
    at.guard.last_look()
    assert at.said() == []
    assert at.kernel.listener is None


@pytest.mark.parametrize(
    "name",
    [
        b"/tmp/a pid=1 auid=0 res=failed",
        b"/tmp/a\ntype=DAEMON_CONFIG msg=audit(1.000:1): op=tamper what=none",
        b"/tmp/\"quoted\" msg='op=x pid=9'",
        b"/tmp/\x1dAUID=root",
        b"\xff\xfe",
        b"",
    ],
)
def test_hostile_names_forge_nothing(stage, name):
    """A program or key that looks like fields is one value, byte for byte or escaped."""
    key = Condition(KEY, EQUAL, b"k".join([name, name]).decode(errors="surrogateescape"))
    hostile = replace(rule(ALL), conditions=(key,))
    at = stage()
    at.kernel.insert(hostile)
    at.guard.begin()
    call = TAMPERER | dict.fromkeys(("comm", "exe"), name.hex().upper() or '""')
    at.kernel.tamper(delete=hostile, call=call)
    at.guard.look()
    with SpoolReader(at.writer.directory, Place()) as reader:
        lines = reader.read(1 << 20).splitlines()
    (found,) = [line for line in lines if line.startswith(b"type=DAEMON_CONFIG")]
    fields = parse_fields(1203, parse_line(found).body)
    assert [field.name.decode() for field in fields] == [
        "op", "what", "list", "key", "detail", "restored", "evidence", "known_by",
        "auid", "pid", "uid", "ses", "comm", "exe", "subj", "res",
    ]  # fmt: skip
    values = {field.name: field.value for field in fields}
    assert (values[b"exe"], values[b"comm"], values[b"pid"]) == (name, name, b"4321")
    assert values[b"key"] == name + b"k" + name


def test_who_holds_the_lock_does_not_blind_for_long(stage):
    """A load that never ends delays a look or two, no more."""
    at = stage(ALL)
    with exclusive_lock(at.runtime):
        at.kernel.tamper(delete=rule(ALL))
        at.look(3)
        assert at.brief("what") == [("rule_deleted",)]


def test_lists_are_told_apart(stage):
    """One key on two lists: the record of the one is not taken for that of the other."""
    uring = "-a always,io_uring -S all -F auid=1000 -F key=all"
    at = stage(ALL, uring)
    at.kernel.tamper(delete=rule(uring))
    at.kernel.tamper(delete=rule(ALL), call=TAMPERER | {"pid": 5})
    at.look()
    assert sorted(at.brief("list", "pid")) == [("exit", "5"), ("io_uring", "4321")]
    assert rule(uring).filter_list is FilterList.IO_URING
