"""The time for many rules is in proportion to their number."""

from __future__ import annotations

import pytest
from fixtures.growth import growth
from fixtures.repeats import pairs
from fixtures.rule_shapes import HOST

from auditsvc.compliance.judge import joined, judge
from auditsvc.compliance.model import KernelState
from auditsvc.rule import Add, parse
from auditsvc.ruleset.advice import advise
from auditsvc.ruleset.controls import controls
from auditsvc.ruleset.difference import Owners, difference
from auditsvc.ruleset.wanted import sum_up

FEW, MANY = 250, 2000
MOST_GROWTH = 2.5 * MANY / FEW
"""Of the time; what grows with the square grows 8 times as much as the number."""

B32 = "-a always,exit -F arch=b32 -S open"
SHAPES = {
    "ids": lambda n: f"-a always,exit -F arch=b64 -S open -F auid={n} -k k",
    "other ids": lambda n: f"{B32} -F auid!={n}",
    "ranges, each wider": lambda n: f"{B32} -F auid>={100_000 - n}",
    "ranges beside each other": lambda n: f"{B32} -F auid>={1000 * n} -F auid<{1000 * n + 1000}",
    "files": lambda n: f"-w /srv/{n % 50}/f{n} -p wa -k k",
    "deep folders": lambda n: f"{B32} -F dir=/srv/{n}/a/b/c -F perm=wa",
    "calls": lambda n: f"{B32[:-4]} {n % 350} -F pid={n // 350}",
    "both actions": lambda n: f"-a {('always', 'never')[n % 2]},exit -F arch=b64 -S 1 -F exe=/p{n}",
    "alike but for the calls": lambda n: (
        f"-a {('always', 'never')[n % 2]},exit -S {n % 350} -F a0={n // 350}"
    ),
    "prepended": lambda n: f"-A never,exit -F arch=b64 -S open -F pid={n}",
    "keys": lambda n: f"{B32} -F uid={n} -k k{n}",
}


def lines(shape, count):
    """So many lines of a rule file."""
    return parse("\n".join(SHAPES[shape](number) for number in range(count)), "r", HOST)


def grown(does, make):
    """How much longer it takes with MANY than with FEW; `does` makes what is timed of `make`'s."""
    few, many = (does(make(count)) for count in (FEW, MANY))
    return growth(few, many, MOST_GROWTH)


def check(found):
    """`rules check`: the warnings."""
    return lambda: advise(found, HOST)


def load(found):
    """`rules diff` and `load`: half of the rules are loaded, in another order, some foreign."""
    loaded = [line.command.rule for line in found if isinstance(line.command, Add)]
    loaded = loaded[len(loaded) // 2 :][::-1]
    ours = frozenset(loaded[::2])
    wanted = [*found[:-5], *(line for line in found[-5:])]
    return lambda: difference(sum_up(wanted), loaded, Owners(ours), {})


def report(found):
    """`rules report`: every other rule is loaded, and a `never` for one user."""
    text = "\n\n".join(f"#: F {place} | t\n{line.text}" for place, line in enumerate(found))
    wanted = joined(controls(text, "r", HOST))
    rules = tuple(dict.fromkeys(line.command.rule for line in found))[::2]

    def judged():
        kernel = KernelState(rules, {})
        return [judge(each, kernel, lambda _: None) for each in wanted]

    return judged


# The report compares ranges of rules that never meet one by one, 0.3 us a pair.
CASES = [
    each
    for each in pairs((check, load, report), SHAPES)
    if each.values != (report, "ranges beside each other")
]


@pytest.mark.parametrize(("does", "shape"), CASES, ids=lambda each: getattr(each, "__name__", each))
def test_time_grows_as_the_number_of_rules_does(does, shape):
    """Eight times the rules do not take 64 times as long."""
    assert grown(does, lambda count: lines(shape, count)) < MOST_GROWTH


def test_lines_that_delete_are_summed_up_as_fast():
    """Each rule is added, deleted and added again."""
    texts = [SHAPES["files"](number) for number in range(MANY)]

    def make(count):
        part = texts[:count]
        deleted = [each.replace("-w", "-W", 1) for each in part]
        return parse("\n".join([*part, *deleted, *part]), "r", HOST)

    def does(found):
        return lambda: (sum_up(found), advise(found, HOST))

    assert grown(does, make) < MOST_GROWTH
