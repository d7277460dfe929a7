"""The guard on a model of the kernel: what `rules load`, `on` and `off` change is meant."""

from __future__ import annotations

import pytest
from fixtures.fake_kernel import TAMPERER, rule_fields
from fixtures.guard_stage import ALL, NEVER, WATCH, rule

from auditsvc.record.daemon import Actor
from auditsvc.runtime import boot_file
from auditsvc.runtime.lock import exclusive_lock
from auditsvc.runtime.probe_notice import write_notice
from auditsvc.switch.probe_rule import rule_for


def test_what_rules_load_changes_is_meant(stage):
    """Rules that a load adds stay, also a never; those it takes out do not come back."""
    at = stage(ALL, WATCH, restore=True)

    def load(*rules):
        boot_file.remember(at.runtime / boot_file.LOADED, {"rules": boot_file.as_hex(rules)})

    with exclusive_lock(at.runtime):
        load(rule(NEVER))
        at.kernel.tamper(front=rule(NEVER))
        at.guard.look()
        assert at.said() == []
    at.look()
    with exclusive_lock(at.runtime):
        at.kernel.tamper(delete=rule(NEVER))
        load()
    at.look()
    assert at.brief("what", "restored") == [("never_added", "no"), ("rule_deleted", "no")]
    load(rule(NEVER))
    at.kernel.tamper(front=rule(NEVER))
    at.look()
    at.kernel.tamper(delete=rule(NEVER))
    at.look()
    assert at.brief("what", "restored")[2:] == [("never_added", "no"), ("rule_deleted", "yes")]


def test_what_rules_load_sets_and_moves_is_meant(stage):
    """A limit and an order that a load made stay; the same by anybody else does not."""
    at = stage(ALL, WATCH, NEVER, restore=True)
    order = [rule(each) for each in (NEVER, ALL, WATCH)]

    def load(number):
        with exclusive_lock(at.runtime):
            at.kernel.tamper(backlog_limit=8192)
            if at.kernel.loaded[0] != rule(NEVER):
                at.kernel.tamper(delete=rule(NEVER))
                at.kernel.tamper(front=rule(NEVER))
            known = {"wanted": boot_file.as_hex(order), "settings": {"backlog_limit": 8192}}
            boot_file.remember(at.runtime / boot_file.LOADED, known | {"load": number})
        at.look()
        assert at.kernel.settings["backlog_limit"] == 8192
        assert at.kernel.loaded[0] == rule(NEVER)

    load(1)
    at.kernel.tamper(backlog_limit=16384)
    at.look()
    at.kernel.tamper(backlog_limit=8192)
    at.kernel.tamper(delete=rule(NEVER))
    at.kernel.tamper(add=rule(NEVER))
    at.look()
    assert at.kernel.settings["backlog_limit"] == 16384
    assert at.kernel.loaded[0] == rule(NEVER)
    load(2)
    assert at.brief("what", "restored") == [
        ("rule_moved", "no"), ("setting", "no"), ("rule_moved", "yes"), ("setting", "yes"),
        ("setting", "no"),
    ]  # fmt: skip


NEXT = 1750000003.5
"""When the next probe is announced."""


def probed(at):
    """The rule of a probe that `on` or `off` of the tamperer's login has announced."""
    rules = [rule_for(4242)]
    who = Actor(pid=4321, uid=0, auid=1000, ses=3)
    write_notice(at.runtime, rules, who, 1750000000.5)
    return rules[0]


@pytest.mark.parametrize("restore", [False, True])
@pytest.mark.parametrize("call", [None, TAMPERER])
def test_the_rule_of_a_probe_is_no_tampering(stage, restore, call):
    """What `on` and `off` add to measure themselves: left alone while it stands, and after."""
    at = stage(ALL, restore=restore)
    probe = probed(at)
    at.kernel.tamper(front=probe, call=call)
    at.look()
    assert probe in at.kernel.loaded
    at.kernel.tamper(delete=probe, call=call)
    at.look()
    at.kernel.tamper(front=probe, call=call)
    at.kernel.tamper(delete=probe, call=call)
    at.look()
    assert at.said() == []
    assert at.kernel.rules() == [rule(ALL)]


def test_records_that_are_read_after_the_next_probe_are_no_tampering(stage):
    """`auditsvc off && auditsvc on`, before the guard has looked: each has its own notice."""
    at = stage(ALL)
    first = probed(at)
    at.kernel.tamper(front=first)
    at.kernel.tamper(delete=first)
    write_notice(at.runtime, [rule_for(5252)], Actor(pid=5251, uid=0, auid=1000, ses=3), NEXT)
    at.look()
    assert at.said() == []


def test_the_key_of_a_probe_hides_nothing(stage):
    """Another rule with its key, another process, another login, another time: all are found."""
    at = stage(ALL)
    probe = probed(at)
    never = rule(f"-a never,exit -S all -k {probe.keys[0]}")
    at.kernel.tamper(front=never)
    at.look()
    body = f"op=remove_rule {rule_fields(never)} res=1"
    at.kernel.write(f"auid=1000 ses=3 {body}", TAMPERER | {"pid": 5})
    at.look()
    at.kernel.write(f"auid=1000 ses=4 {body}", call=None)
    at.look()
    write_notice(at.runtime, [probe], Actor(pid=4321, uid=0, auid=1000, ses=3), 1749999900.0)
    at.kernel.write(f"auid=1000 ses=3 {body}", call=None)
    at.look()
    assert at.brief("what", "restored") == [
        ("never_added", "no"),
        *[("rule_deleted", "undone")] * 3,
    ]
