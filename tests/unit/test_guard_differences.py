"""Differences of lists of rules, and which rules reduce coverage, from the rules alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.guard.rule_changes import adopt, differences
from auditsvc.rule import parse
from auditsvc.ruleset.reach import takes_cover

RULES = [
    line.command.rule
    for line in parse(
        "\n".join(
            f"-a {action},{which} -F pid={pid}"
            for which in ("exit", "task", "exclude")
            for action in ("always", "never")
            for pid in range(1, 5)
            if (which, action) != ("exclude", "never")
        )
    )
]


def by_list(rules):
    """Order them as the kernel lists them."""
    return sorted(rules, key=lambda rule: rule.filter_list)


def lists():
    """Some rules in some order, as the kernel would list them."""
    return st.lists(st.sampled_from(RULES), unique=True).map(by_list)


@given(before=lists(), now=lists())
def test_the_differences_lead_from_one_to_the_other(before, now):
    """What went and came is exact, and without what moved the rest stands in its order."""
    found = differences(before, now)
    assert set(found.deleted) == set(before) - set(now)
    assert set(found.added) == set(now) - set(before)
    rest = set(before) - set(found.deleted) - set(found.moved)
    ordered = [rule for rule in rest if rule.filter_list.name != "EXCLUDE"]
    assert [r for r in before if r in ordered] == [r for r in now if r in ordered]
    assert not [rule for rule in found.moved if rule.filter_list.name == "EXCLUDE"]


@given(rules=lists(), moved=st.integers(0, 30))
def test_one_rule_added_again_is_one_that_moved(rules, moved):
    """Whoever deletes a rule and appends it again is told as that rule, and no other."""
    if not rules:
        return
    rule = rules[moved % len(rules)]
    now = by_list([each for each in rules if each != rule] + [rule])
    found = differences(rules, now)
    assert (found.deleted, found.added) == ([], [])
    assert found.moved in ([], [rule])
    assert bool(found.moved) == (now != rules and rule.filter_list.name != "EXCLUDE")


@given(before=lists(), now=lists())
def test_adopted_rules_stand_behind_what_they_stood_behind(before, now):
    """All that was wanted stays in its order, and what is new comes into it."""
    new = {rule for rule in now if rule not in before}
    adopted = adopt(before, now, new)
    assert [rule for rule in adopted if rule not in new] == before
    assert set(adopted) == set(before) | new
    assert len(adopted) == len(set(adopted))


@pytest.mark.parametrize(
    ("lines", "which", "takes"),
    [
        (["-a never,exit -F pid=1", "-a always,exit -S all"], 0, True),
        (["-a always,exit -S all", "-a never,exit -F pid=1"], 1, False),
        (["-a always,exit -S open", "-a never,exit -F pid=1"], 1, False),
        (["-a never,exit -F pid=1", "-a always,io_uring -S all"], 0, False),
        (
            ["-a always,exit -S all", "-a never,exit -F pid=1", "-a always,exit -S open"],
            1,
            False,
        ),
        (["-a always,exit -S 1", "-a never,exit -F pid=1", "-a always,exit -S open"], 1, True),
        (["-a always,exit -S all"], 0, False),
        (["-a never,task"], 0, True),
        (["-a always,task"], 0, False),
        (["-a always,exclude -F msgtype=CWD"], 0, True),
        (["-a never,user -F uid=0"], 0, True),
    ],
)
def test_takes_cover(lines, which, takes):
    """It is the place among the others that makes a never harmful or not."""
    rules = [line.command.rule for line in parse("\n".join(lines))]
    assert takes_cover(rules, rules[which]) is takes
