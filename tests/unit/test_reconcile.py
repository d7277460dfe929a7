"""Plans carried out on a model of the kernel: a refused plan is undone, a lock is reported."""

from __future__ import annotations

import errno

import pytest
from fixtures.fake_kernel import FakeKernel
from fixtures.repeats import examples
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.errors import KernelError, LockedError
from auditsvc.kernel.apply_plan import apply
from auditsvc.rule import Action, Add, Condition, FilterList, Rule, fields, printing
from auditsvc.ruleset.plan import STAND_IN, plan


def rule(name, action=Action.ALWAYS):
    """A rule that matches every call, told from others by its key."""
    return Rule(FilterList.EXIT, action, (Condition(fields.KEY, fields.EQUAL, name),))


POOL = [rule(f"r{n}", Action.NEVER if n % 3 == 0 else Action.ALWAYS) for n in range(7)]
A, B, C = (rule(name) for name in "abc")


@examples(300)
@given(
    st.lists(st.sampled_from(POOL), unique=True),
    st.lists(st.sampled_from(POOL), unique=True),
    st.lists(st.booleans(), min_size=7, max_size=7),
    st.sampled_from(POOL),
)
def test_a_refusal_brings_back_rules_and_order(wanted, loaded, heads, bad):
    """Whatever rule is refused, afterwards every rule is where it was."""
    control = FakeKernel(loaded)
    control.refused = {bad} - set(loaded)
    changes = plan(
        [Add(each, head) for each, head in zip(wanted, heads, strict=False)], loaded, POOL
    )
    if bad in wanted and bad not in loaded:
        with pytest.raises(KernelError) as caught:
            apply(control, changes)
        assert control.loaded == loaded
        assert "everything is as it was before" in str(caught.value)
        assert caught.value.errno == errno.EINVAL
    else:
        apply(control, changes)
        assert set(control.loaded) == set(wanted)


def test_what_cannot_be_put_back_is_said():
    """A rule that moved and is refused from then on is named, and its stand-in stays."""
    control = FakeKernel([B, A])
    changes = plan([Add(A), Add(B), Add(C)], [B, A])
    control.refused = {B, C}
    with pytest.raises(KernelError, match="could not be restored: adding the rule") as caught:
        apply(control, changes)
    assert printing.text(B) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [each.keys for each in control.loaded if STAND_IN in each.keys] == [("b", STAND_IN)]
    # The next plan mends it: the stand-in goes once the rule is back.
    control.refused = set()
    apply(control, plan([Add(A), Add(B)], control.rules()))
    assert control.loaded == [A, B]


def test_skipping_what_is_refused():
    """With `skip` the rest is done; a moved rule that is refused keeps its stand-in."""
    control = FakeKernel([B, A])
    control.refused = {C}
    skipped = []
    apply(control, plan([Add(C), Add(B), Add(A)], [B, A]), lambda each, _: skipped.append(each))
    assert (control.loaded, skipped) == ([B, A], [C])
    control.refused = {B}
    apply(control, plan([Add(A), Add(B)], [B, A]), lambda each, _: skipped.append(each))
    assert skipped == [C, B]
    assert [each.keys for each in control.loaded] == [("b", STAND_IN), ("a",)]


def test_what_somebody_else_has_done_is_done():
    """A rule that is there, or gone, by the time we come to it is no error."""
    control = FakeKernel([B])
    changes = plan([Add(A)], [B, C], [C])
    control.loaded.append(A)
    apply(control, changes)
    assert control.loaded == [B, A]
    assert control.requests == []


@pytest.mark.parametrize("made", [0, 1, 2])
def test_a_lock_in_the_middle(made):
    """Nothing can be taken back under -e 2: the error says how much was made."""
    control = FakeKernel()
    control.lock_after = made
    with pytest.raises(LockedError) as caught:
        apply(control, plan([Add(A), Add(B), Add(C)], []))
    says = f"{made} of 3 changes were made and stay" if made else "nothing was changed"
    assert says in str(caught.value)
    assert len(control.loaded) == made
