"""Which rule includes which: every pair of shapes, checked on the model of the kernel."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from fixtures.kernel_model import Kernel, matches
from fixtures.repeats import examples
from fixtures.rule_calls import calls_for
from fixtures.rule_shapes import (
    ARCHES,
    ARGUMENTS,
    FILES,
    IDS,
    OUTCOMES,
    PERMS,
    SHAPES,
    rule,
    rules,
    shapes,
)
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.ruleset.conflict import exclude_each_other
from auditsvc.ruleset.cover import includes, overlap


def matched(narrow, calls):
    """The calls that a rule matches."""
    return [call for call in calls if matches(narrow, call)]


@pytest.mark.parametrize("which", SHAPES)
def test_a_rule_includes_another_only_if_it_matches_every_call_that_the_other_does(which):
    """Every pair of shapes; the kernel, which asks the wider one first, then lets it decide."""
    said = 0
    for wide, narrow in itertools.product(shapes(which), shapes(which, "never")):
        if not includes(wide, narrow):
            continue
        kernel = Kernel([wide, narrow])
        for call in calls_for(wide, narrow):
            if matches(narrow, call):
                assert matches(wide, call), (str(wide), str(narrow), call)
                assert kernel.deciding(wide.filter_list, call) is wide
        said += 1
    assert said > len(SHAPES[which])


PLAIN = [each for each in FILES if ".." not in each and "inode" not in each and each != "-F dir=/"]
GROUPS = [
    [*PLAIN, ""],
    [*PERMS, ""],
    ["-F arch=b64", "-F arch=b32", "-F arch!=b64 -F arch=b32", ""][:2],
    [each for each in IDS if "auid" in each] + [""],
    *([each for each in IDS if f"-F {name}" in each] + [""] for name in ("uid", "gid", "sess")),
    *([each for each in OUTCOMES if name in each] for name in ("success", "exit")),
    ARGUMENTS,
    [f"{path} {perm}" for path in PLAIN[:5] for perm in PERMS[1:4]],
    [f"-S {calls} -F auid{auid}" for calls in ("2", "2,59", "all") for auid in ("=9", ">=9", "")],
    [f"{arch} -S {calls}" for arch in ARCHES for calls in ("open", "open,execve", "all")],
    ["-S 2", "-S 2,59", "-S all", "-S 2 -F perm=wa", "-S 2 -F path=/etc/passwd -F perm=w"],
]
GROUPS[11] = [each.replace(" -F auid ", " ").removesuffix(" -F auid") for each in GROUPS[11]]


@pytest.mark.parametrize("group", GROUPS, ids=[group[0] for group in GROUPS])
@pytest.mark.parametrize("which", ["always", "never"])
def test_of_common_shapes_it_is_said_wherever_it_is_true(group, which):
    """Folders and what is in them, permissions, calls, ids, outcomes, arguments."""
    rules = [rule(f"-a {which},exit {shape}") for shape in group]
    for wide, narrow in itertools.product(rules, repeat=2):
        own = matched(narrow, calls_for(wide, narrow))
        if own:
            true = all(matches(wide, call) for call in own)
            assert includes(wide, narrow) == true, (str(wide), str(narrow))


@examples(150, long=4000, derandomize=True)
@given(st.data())
def test_any_two_rules(data):
    """Taking in, meeting and excluding are said only where the modelled calls agree."""
    which = data.draw(st.sampled_from(["exit", "exit", "exit", "task", "user"]))
    one, other = data.draw(rules(which)), data.draw(rules(which))
    wider = replace(one, conditions=data.draw(st.permutations(other.conditions))[:2])
    calls = calls_for(one, other, most=200)
    for wide in (one, wider):
        taken = includes(wide, other)
        apart = not overlap(wide, other)
        for call in calls:
            if not matches(other, call):
                continue
            assert not taken or matches(wide, call)
            if len(call.files) < 2 and not reads_as_error(call):
                assert not apart or not matches(wide, call)


def reads_as_error(call):
    """A success whose low 32 bits read as an error: an offset, say."""
    return call.succeeded and call.result & 0xFFFFFFFF >= 0xFFFFF001


@examples(150, long=4000, derandomize=True)
@given(rules())
def test_conditions_exclude_each_other_only_if_no_call_meets_them_all(drawn):
    """And those that are named do so by themselves."""
    found = exclude_each_other(drawn.conditions, drawn.filter_list)
    if found:
        assert set(found) <= set(drawn.conditions)
        named = replace(drawn, conditions=found)
        for call in calls_for(named):
            assert reads_as_error(call) or not matches(named, call)
