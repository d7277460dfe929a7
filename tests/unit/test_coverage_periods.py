"""What is known of a boot, and what follows for a task by the time of its fork."""

from __future__ import annotations

import json
from bisect import bisect_right

import pytest
from fixtures.repeats import examples
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.coverage.history import (
    Birth,
    Periods,
    TaskListState,
    load,
    on_at_boot,
    save,
    task_list_state,
)
from auditsvc.rule import parse

CLEAR, SOME, ALL = TaskListState.CLEAR, TaskListState.SOME, TaskListState.ALL


def periods(*looks, at_boot=False):
    """Give a boot in which these looks were taken: (when, enabled, task_list, watched, changes)."""
    made = Periods("boot", at_boot)
    for when, enabled, task_list, *rest in looks:
        watched = rest[0] if rest else True
        made.note(
            when, enabled, task_list, watched=watched, changes=rest[1] if len(rest) > 1 else ()
        )
    return made


@pytest.mark.parametrize(
    ("looks", "began", "birth"),
    [
        # Found off, then switched on by us.
        ([(10, False, CLEAR), (20, True, CLEAR), (30, True, CLEAR)], 5, Birth.BEFORE_AUDIT),
        ([(10, False, CLEAR), (20, True, CLEAR), (30, True, CLEAR)], 15, Birth.CHANGING),
        ([(10, False, CLEAR), (20, True, CLEAR), (30, True, CLEAR)], 20.05, Birth.CHANGING),
        ([(10, False, CLEAR), (20, True, CLEAR), (30, True, CLEAR)], 25, Birth.COVERED),
        ([(10, False, CLEAR), (20, True, CLEAR), (30, False, CLEAR)], 25, Birth.COVERED),
        # Found on: who is older may have been forked before that.
        ([(10, True, CLEAR), (20, True, CLEAR)], 5, Birth.BEFORE_WATCH),
        ([(10, True, CLEAR), (20, True, CLEAR)], 15, Birth.COVERED),
        ([(10, True, ALL), (20, True, ALL)], 15, Birth.NEVER_TASK),
        ([(10, True, SOME), (20, True, SOME)], 15, Birth.CONDITIONAL),
        # Between looks that differ, nothing is known unless the change was heard.
        ([(10, True, CLEAR), (20, True, ALL), (30, True, ALL)], 15, Birth.CHANGING),
        ([(10, True, CLEAR), (20, True, ALL, True, [(15, 15.1)])], 12, Birth.COVERED),
        ([(10, True, CLEAR), (20, True, ALL, True, [(15, 15.1)])], 15.15, Birth.CHANGING),
        ([(10, True, CLEAR), (20, True, ALL, True, [(15, 15.1)])], 18, Birth.NEVER_TASK),
        # A rule that came and went between two looks.
        (
            [(10, True, CLEAR), (20, True, CLEAR, True, [(14, 14.1), (16, 16.1)])],
            15,
            Birth.CHANGING,
        ),
        ([(10, True, CLEAR), (20, True, CLEAR, True, [(14, 14.1), (16, 16.1)])], 18, Birth.COVERED),
        # Heard of so late that a look lies between.
        (
            [(10, True, CLEAR), (20, True, CLEAR), (30, True, CLEAR, True, [(14, 14.5)])],
            14.3,
            Birth.CHANGING,
        ),
        # A rule stood, and was gone at the look whose news of that came later.
        (
            [
                (10, True, CLEAR),
                (13.2, True, CLEAR, True, [(11, 11.1)]),
                (20, True, CLEAR, True, [(13, 13.5)]),
            ],
            12,
            Birth.CHANGING,
        ),
        # The same, and the late news comes with a look that may have missed others.
        (
            [
                (10, True, CLEAR),
                (13.2, True, CLEAR, True, [(11, 11.1)]),
                (20, True, CLEAR, False, [(13, 13.5)]),
            ],
            12,
            Birth.CHANGING,
        ),
        # Found off twice: who knows what was between.
        ([(10, False, CLEAR), (20, False, CLEAR), (30, True, CLEAR)], 15, Birth.BEFORE_WATCH),
        # Nobody heard.
        ([(10, True, CLEAR), (20, True, CLEAR, False), (30, True, CLEAR)], 15, Birth.UNWATCHED),
        ([(10, True, CLEAR), (20, True, CLEAR, False), (30, True, CLEAR)], 25, Birth.COVERED),
        ([(10, True, ALL), (20, True, ALL, False)], 15, Birth.UNWATCHED),
        ([(10, True, CLEAR)], 11, Birth.UNWATCHED),
        ([], 5, Birth.BEFORE_WATCH),
    ],
)
def test_births(looks, began, birth):
    """Each condition under which a task can have been forked."""
    assert periods(*looks).birth(began) is birth


def test_audit_at_boot_leaves_never_task_to_be_known():
    """audit=1 means that nobody is older than audit; whether a rule stood is another matter."""
    made = periods((10, True, CLEAR), (20, True, CLEAR), at_boot=True)
    assert made.birth(5) is Birth.BEFORE_WATCH
    assert made.birth(15) is Birth.COVERED
    found_off = periods((10, False, CLEAR), (20, False, CLEAR), at_boot=True)
    assert found_off.birth(15) is Birth.COVERED
    assert found_off.birth(5) is Birth.BEFORE_WATCH


def test_a_proof_refutes_that_audit_was_never_on():
    """A task older than the first look has the flag: so audit had been on by then."""
    made = periods((10, False, CLEAR), (11, True, CLEAR), (20, True, CLEAR))
    assert made.birth(5, on_by=6) is Birth.BEFORE_AUDIT
    assert made.birth(7, on_by=6) is Birth.BEFORE_WATCH


times = st.integers(0, 4000).map(lambda n: n / 10)


@st.composite
def histories(draw):
    """Draw a boot: when audit came on, when which rules stood, and what a watcher saw of it."""
    on = draw(times)
    true = sorted(
        draw(st.dictionaries(times, st.sampled_from([CLEAR, SOME, ALL]), max_size=6)).items()
    )
    looks = sorted(draw(st.sets(times, min_size=1, max_size=8)))
    lags = draw(st.lists(st.integers(0, 300).map(lambda n: n / 10), min_size=6, max_size=6))
    heard = [(when, when + lag) for (when, _), lag in zip(true, lags, strict=False)]
    missed = draw(st.sets(st.integers(0, 5)))
    return on, true, looks, heard, missed


@given(histories(), times)
@examples(250, long=60_000)
def test_nobody_is_judged_wrongly(history, fork):
    """Whatever happened and was seen of it, no birth is called covered or not without being so."""
    on, true, looks, heard, missed = history
    changes = [when for when, _ in true]

    def stood(when):
        place = bisect_right(changes, when)
        return true[place - 1][1] if place else CLEAR

    made, last = Periods("boot", on_at_boot=False), -1.0
    looks = [*looks, 10_000.0]  # by then all that could be heard has been
    for look in looks:
        made.note(
            look,
            look >= on,
            stood(look),
            # As the service has it: what was not heard leaves its time unwatched, and while
            # audit is off nothing is told.
            watched=last >= on
            and not any(last < when <= look for n, (when, _) in enumerate(heard) if n in missed),
            changes=[
                each for n, each in enumerate(heard) if n not in missed and last < each[1] <= look
            ],
        )
        last = look
    truth = fork >= on and stood(fork) is not ALL
    birth = made.birth(fork)
    if birth is Birth.COVERED:
        assert truth
        assert stood(fork) is CLEAR
    if birth in (Birth.NEVER_TASK, Birth.BEFORE_AUDIT):
        assert not truth
    whens = [span.begin for span in made.spans]
    assert whens == sorted(set(whens))


def test_a_game_with_rules_does_not_fill_the_memory():
    """However often the task list changes, what is kept is bounded, and never says too much."""
    made = Periods("boot", on_at_boot=True)
    for n in range(6000):
        made.note(n, True, ALL if n % 2 else CLEAR, watched=True)
    assert len(made.spans) <= 601
    assert made.birth(100.5) is Birth.CHANGING


@pytest.mark.parametrize("kind", ["looks that wait", "changes at once", "changes in turn"])
def test_what_is_kept_is_bounded(kind, tmp_path):
    """Whatever goes on for long, the file stays small; and what is forgotten is not known."""
    made = load(tmp_path)
    made.note(0, True, CLEAR)
    for n in range(1, 3000):
        changes = [(n - 0.5, n - 0.4)] if kind == "changes in turn" else []
        if kind == "changes at once" and n == 2000:
            changes = [(k + 0.5, k + 0.6) for k in range(1999)]
        made.note(
            n,
            True,
            ALL if changes and n % 2 else CLEAR,
            watched=True,
            changes=changes,
            known_to=0 if kind == "looks that wait" else n,
        )
    save(tmp_path, made)
    assert (tmp_path / "coverage.json").stat().st_size < 100_000
    assert load(tmp_path) == made
    births = {made.birth(n + 0.8) for n in range(2, 1900)}
    assert births == {Birth.UNWATCHED if kind == "looks that wait" else Birth.CHANGING}
    assert made.birth(2997.8) in {Birth.UNWATCHED, Birth.COVERED, Birth.NEVER_TASK}


@pytest.mark.parametrize(
    ("text", "on"),
    [
        ("quiet audit=1", True),
        ("audit=on ro", True),
        ("audit=0", False),
        ("audit=off", False),
        ("audit=1 audit=0", False),
        ("quiet -- audit=1", False),
        ("audit_backlog_limit=8192", False),
        ("", False),
    ],
)
def test_boot_parameter(text, on):
    """As `audit_enable` in kernel/audit.c reads it."""
    assert on_at_boot(text) is on


@pytest.mark.parametrize(
    ("lines", "task_list"),
    [
        ([], CLEAR),
        (["-a never,exit -S all"], CLEAR),
        (["-a never,task"], ALL),
        (["-a never,task -k off"], ALL),
        (["-a never,task -F uid=5"], SOME),
        (["-a never,task -F uid=5", "-a never,task"], ALL),
        (["-a always,task -F uid=5"], CLEAR),
        (["-a never,task -F uid=5", "-a always,task"], SOME),
        (["-a always,task", "-a never,task"], CLEAR),
        (["-a always,task -F uid=5", "-a never,task"], SOME),
    ],
)
def test_what_a_task_list_does(lines, task_list):
    """The first rule that matches decides; no conditions means every new task."""
    assert task_list_state([line.command.rule for line in parse("\n".join(lines))]) is task_list


def test_kept_for_the_boot(tmp_path):
    """What was seen comes back in the same boot, and nothing after another or damage."""
    known = load(tmp_path)
    known.note(10, False, CLEAR)
    known.note(20, True, ALL)
    known.silent = [(3, 4)]
    save(tmp_path, known)
    assert load(tmp_path) == known
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"boot": "another"}))
    assert load(tmp_path).first is None
    path.write_text("{")
    assert load(tmp_path).first is None
