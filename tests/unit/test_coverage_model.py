"""Verdicts about tasks, checked on a model with a known history (`fixtures/coverage_model.py`)."""

from __future__ import annotations

import pytest
from fixtures import coverage_model
from fixtures.coverage_model import Tally

from auditsvc.coverage.history import Birth, Periods, TaskListState

SHORT = 5_000
LONG = 500_000


def judged(seeds, *, prompt):
    """Compare the verdicts of these histories with the truth."""
    tally = Tally()
    for seed in seeds:
        coverage_model.judge(seed, tally, prompt=prompt)
    return tally


PROMPT = pytest.mark.parametrize(
    "prompt",
    [
        pytest.param(False, id="the watcher knows up to when it has heard"),
        pytest.param(True, id="changes are heard later than the watcher thinks"),
    ],
)


@PROMPT
def test_nobody_is_called_covered_or_not_without_being_so(prompt):
    """Whatever is switched, loaded, received late, missed or not watched: true, or unknown."""
    tally = judged(range(SHORT), prompt=prompt)
    assert tally.wrong == []
    # Not by saying nothing: a fifth is known, where changes come every few seconds.
    assert tally.definite > tally.verdicts / 5


@pytest.mark.long
@pytest.mark.timeout(3600)
@PROMPT
def test_a_million_histories(prompt):
    """The same for half a million each."""
    tally = judged(range(SHORT, SHORT + LONG), prompt=prompt)
    print(tally.histories, tally.verdicts, tally.definite)
    assert tally.wrong == []


@pytest.mark.parametrize("lag", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("task_list", [TaskListState.CLEAR, TaskListState.ALL])
@pytest.mark.parametrize("found", ["off", "on"])
def test_an_ordinary_day_is_known(found, task_list, lag):
    """A service that looks every second and receives no change knows all its tasks."""
    known = Periods("boot", on_at_boot=False)
    if found == "off":
        known.note(9.0, False, task_list, known_to=0.0)
    known.note(10.01, True, task_list, asked=10.0, known_to=0.0)
    for second in range(11, 71):
        known.note(
            second + 0.01, True, task_list, asked=second, watched=True, known_to=second - lag
        )
    births = {known.birth(tenth / 10) for tenth in range(103, int((70 - lag) * 10))}
    assert births == {Birth.COVERED if task_list is TaskListState.CLEAR else Birth.NEVER_TASK}
    assert known.birth(5.0) is (Birth.BEFORE_AUDIT if found == "off" else Birth.BEFORE_WATCH)


@pytest.mark.parametrize("lag", [0.0, 0.5, 2.0])
def test_a_change_that_is_heard_costs_its_own_time_alone(lag):
    """Before a rule is added, while it stands, and after: only the changes are unknown."""
    known = Periods("boot", on_at_boot=False)
    added, deleted = 30.5, 50.5
    for second in range(10, 101):
        now = float(second)
        known.note(
            now,
            True,
            TaskListState.ALL if added <= now < deleted else TaskListState.CLEAR,
            watched=second > 10,
            changes=[(at - 0.1, at + lag) for at in (added, deleted) if now - 1 < at + lag <= now],
            known_to=min([now, *(at - 0.1 for at in (added, deleted) if at <= now < at + lag)]),
        )
    births = {tenth / 10: known.birth(tenth / 10) for tenth in range(102, 1000)}
    for began, birth in births.items():
        if any(at - 0.2 <= began <= at + lag + 0.2 for at in (added, deleted)):
            assert birth in {Birth.CHANGING, births[20.0], births[40.0]}
        else:
            assert birth is (Birth.NEVER_TASK if added < began < deleted else Birth.COVERED)
