"""The plan that leads to the wanted rules, checked on a model of the kernel's lists.

In the model a rule matches the system calls 0 to 3 of its mask and nothing else counts,
so that few rules give every kind of overlap.
"""

from __future__ import annotations

import itertools

import pytest
from fixtures.fake_kernel import FakeKernel
from fixtures.repeats import examples
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.rule import Action, Add, Condition, FilterList, Rule, fields, parse
from auditsvc.ruleset.plan import ORDERLESS, STAND_IN, Change, effective, plan, stand_in

EVENTS = range(4)


def make(kernel, change):
    """Make one change; the kernel refuses one that cannot be made."""
    if change.verb == "delete":
        kernel.delete_rule(change.rule)
    else:
        kernel.add_rule(change.rule, prepend=change.verb == "prepend")


def rule(name, action=Action.ALWAYS, which=FilterList.EXIT, mask=0b1111):
    """A rule of the model, told from others by its key."""
    return Rule(which, action, (Condition(fields.KEY, fields.EQUAL, name),), mask)


@st.composite
def states(draw):
    """Wanted lines, loaded rules and what of them may go."""
    lists = draw(
        st.sampled_from(
            [[FilterList.EXIT], [FilterList.USER], [FilterList.EXCLUDE], [*FilterList][1:4]]
        )
    )
    pool = [
        rule(f"r{n}", draw(st.sampled_from(Action)), draw(st.sampled_from(lists)), mask)
        for n, mask in enumerate(draw(st.lists(st.integers(1, 15), max_size=9)))
    ]
    wanted = draw(st.lists(st.sampled_from(pool), max_size=9)) if pool else []
    lines = [Add(each, prepend=draw(st.integers(0, 3)) == 0) for each in wanted]
    loaded = draw(st.permutations(pool))[: draw(st.integers(0, len(pool)))]
    strangers = [each for each in loaded if draw(st.integers(0, 4)) == 0]
    return lines, loaded, [each for each in loaded if each not in strangers]


def allowed_gap(lines, loaded, removable, which):
    """Events of the one exception: see the module's contract."""
    heads = [
        each.rule for each in effective(lines) if each.prepend and each.rule.filter_list is which
    ]
    wanted = {each.rule for each in lines}
    foreign = [
        each
        for each in loaded
        if each not in wanted and each not in removable and each.filter_list is which
    ]
    gap = set()
    for place, never in enumerate(heads):
        pressed = any(
            each.action is not other.action for each in heads[place:] for other in foreign
        )
        if never.action is Action.NEVER and pressed:
            before = (each for each in heads[:place] if each.action is Action.ALWAYS)
            gap |= {e for each in before for e in EVENTS if (each.mask & never.mask) >> e & 1}
    return gap


@examples(400)
@given(states())
def test_the_plan_arrives_and_leaves_no_gap(state):
    """Every change is one the kernel takes; order, strangers and cover are as promised."""
    lines, loaded, removable = state
    changes = plan(lines, loaded, removable)
    kernel = FakeKernel(loaded)
    steps = [{which: kernel.logged(which, EVENTS) for which in FilterList}]
    for change in changes:
        make(kernel, change)
        steps.append({which: kernel.logged(which, EVENTS) for which in FilterList})

    order = [each.rule for each in effective(lines)]
    for which in set(FilterList) - ORDERLESS:
        ours = [each for each in kernel.loaded if each in order and each.filter_list is which]
        assert ours == [each for each in order if each.filter_list is which]
    assert set(order) <= set(kernel.loaded)
    strangers = [each for each in loaded if each not in order and each not in removable]
    assert [each for each in kernel.loaded if each not in order] == strangers
    assert not {change.rule for change in changes} & set(strangers)

    for which in FilterList:
        through = steps[0][which] & steps[-1][which]
        through -= allowed_gap(lines, loaded, removable, which)
        for number, step in enumerate(steps):
            assert through <= step[which], (which, changes[:number])

    for which in set(FilterList) - ORDERLESS:
        _file_decides_against_strangers(kernel.loaded, lines, strangers, changes, which)
    # A kernel that is right already is left alone.
    assert plan(lines, kernel.loaded, removable) == []


def _file_decides_against_strangers(rules, lines, strangers, changes, which):
    """-A comes before strangers of the other action; what was added by -a never does."""
    added = {change.rule for change in changes if change.verb != "delete"}
    for each in effective(lines):
        if each.rule.filter_list is not which:
            continue
        for stranger in strangers:
            if stranger.filter_list is which and stranger.action is not each.rule.action:
                first = rules.index(each.rule) < rules.index(stranger)
                assert first if each.prepend else not (first and each.rule in added)


@given(states())
def test_nothing_unwanted_goes_before_all_is_built(state):
    """What the kernel may refuse comes before the first rule that is deleted for good."""
    lines, loaded, removable = state
    changes = plan(lines, loaded, removable)
    added = {change.rule for change in changes if change.verb != "delete"}
    for_good = [
        number
        for number, change in enumerate(changes)
        if change.verb == "delete" and change.rule not in added
    ]
    adding = [number for number, change in enumerate(changes) if change.verb != "delete"]
    assert not for_good or not adding or max(adding) < min(for_good)


def test_every_small_case():
    """All orders and actions of up to three rules, wanted against loaded, leave no gap."""
    tried = 0
    pool = [
        rule(f"{action.name}{mask}", action, mask=mask)
        for action in Action
        for mask in (0b01, 0b11)
    ]
    for wanted_count, loaded_count in itertools.product(range(4), repeat=2):
        for wanted in itertools.permutations(pool, wanted_count):
            lines = [Add(each) for each in wanted]
            for loaded in itertools.permutations(pool, loaded_count):
                kernel = FakeKernel(loaded)
                steps = [kernel.logged(FilterList.EXIT, EVENTS)]
                for change in plan(lines, loaded, pool):
                    make(kernel, change)
                    steps.append(kernel.logged(FilterList.EXIT, EVENTS))
                assert kernel.loaded == list(wanted)
                assert all(steps[0] & steps[-1] <= step for step in steps)
                tried += 1
    assert tried == 41 * 41


def lines_of(text):
    """The Add commands of a rule file."""
    return [line.command for line in parse(text)]


def shown(changes):
    """Changes as short words."""
    return [f"{change.verb} {'+'.join(change.rule.keys)}" for change in changes]


A, B, C = (rule(name) for name in "abc")
NEVER = rule("never", Action.NEVER)


@pytest.mark.parametrize(
    ("wanted", "loaded", "removable", "expected"),
    [
        ([Add(A), Add(B)], [], [], ["append a", "append b"]),
        ([Add(A), Add(B, prepend=True)], [], [], ["prepend b", "append a"]),
        ([Add(A), Add(A), Add(A, prepend=True)], [], [], ["append a"]),
        ([Add(A), Add(B)], [A, C, B], [], []),
        ([Add(A)], [A, B], [B], ["delete b"]),
        ([Add(A), Add(B), Add(C)], [B, C], [], ["prepend a"]),
        ([Add(A), Add(B), Add(C)], [A, B], [], ["append c"]),
        (
            [Add(A), Add(B)],
            [B, A],
            [],
            [f"prepend b+{STAND_IN}", "delete b", "append b", f"delete b+{STAND_IN}"],
        ),
        ([Add(NEVER), Add(A)], [A, NEVER], [], ["delete never", "prepend never"]),
        # Against a foreign always: -a has no effect there and goes behind, -A goes before.
        ([Add(NEVER)], [A], [], ["append never"]),
        ([Add(NEVER, prepend=True)], [A], [], ["prepend never"]),
        ([Add(B, prepend=True)], [A], [], ["prepend b"]),
        ([Add(B, prepend=True)], [A, B], [], []),
        ([Add(NEVER, prepend=True)], [A, NEVER], [], ["delete never", "prepend never"]),
        # Against a foreign never: what -a adds does not go before it.
        (
            [Add(A), Add(B)],
            [NEVER, B],
            [],
            [
                f"prepend b+{STAND_IN}",
                "delete b",
                "append a",
                "append b",
                f"delete b+{STAND_IN}",
            ],
        ),
        ([], [rule(STAND_IN), A], [], [f"delete {STAND_IN}"]),
    ],
)
def test_plans(wanted, loaded, removable, expected):
    """The plans of the usual cases, word for word."""
    assert shown(plan(wanted, loaded, removable)) == expected


def test_a_rule_said_twice_stands_where_the_first_line_put_it():
    """Whichever way the lines put it: `-A` lines first, the last of them foremost."""
    for lines, expected in (
        ([Add(A), Add(B), Add(A)], [A, B]),
        ([Add(A), Add(B, prepend=True), Add(C, prepend=True), Add(B)], [C, B, A]),
        ([Add(A), Add(B), Add(A, prepend=True)], [A, B]),
    ):
        assert [each.rule for each in effective(lines)] == expected


def test_lists_are_planned_apart():
    """Each filter list has an order of its own."""
    wanted = lines_of("-a always,exit -S open\n-a never,task\n-a always,exclude -F msgtype=CWD")
    loaded = [wanted[1].rule, wanted[0].rule]
    assert plan(wanted, loaded) == [Change("append", wanted[2].rule)]


def test_a_stand_in_is_another_rule_that_matches_as_much():
    """Even where the keys or the conditions leave no room for one more."""
    (plain,) = lines_of("-a always,exit -S open -F uid=0 -k mine")
    assert stand_in(plain.rule).keys == ("mine", STAND_IN)
    assert stand_in(plain.rule, {stand_in(plain.rule)}).keys == ("mine", STAND_IN, STAND_IN)
    (long,) = lines_of(f"-a always,exit -S open -k {'x' * 250}")
    assert stand_in(long.rule).keys == (STAND_IN,)
    (full,) = lines_of("-a always,exit -S open " + "-F uid!=1 " * 64)
    assert stand_in(full.rule).conditions[:63] == full.rule.conditions[:63]
    assert stand_in(full.rule).keys == (STAND_IN,)
    for each in (plain, long, full):
        assert stand_in(each.rule).mask == each.rule.mask
        assert Rule.from_bytes(stand_in(each.rule).to_bytes()) == stand_in(each.rule)


def test_one_rule_put_into_the_middle_of_many():
    """The longer side stays; the other moves, each rule under its stand-in."""
    many = [rule(f"k{n}") for n in range(30)]
    new = rule("new")
    wanted = [Add(each) for each in (*many[:20], new, *many[20:])]
    changes = plan(wanted, many, many)
    assert len(changes) == 1 + 4 * 10
    assert not {change.rule for change in changes} & set(many[:20])
