"""Which numbers pass tests, compared with trying every number."""

from __future__ import annotations

from fixtures.kernel_model import compared
from fixtures.repeats import examples
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.rule.fields import OPERATORS
from auditsvc.ruleset import ranges

SMALL = 64
TESTS = st.lists(
    st.tuples(st.sampled_from(sorted(OPERATORS.values())), st.integers(0, SMALL)), max_size=5
)


def numbers(tests):
    """The small numbers that meet all tests, as the kernel compares."""
    return [
        number
        for number in range(SMALL)
        if all(compared(number, operator, value) for operator, value in tests)
    ]


@examples(600, long=15_000, derandomize=True)
@given(TESTS)
def test_a_number_is_possible_where_one_is_found(tests):
    """Equality, order and bits, in any mixture."""
    assert ranges.possible([*tests, (ranges.LESS, SMALL)]) == bool(numbers(tests))


@examples(600, long=15_000, derandomize=True)
@given(TESTS, TESTS)
def test_one_test_follows_from_others_where_no_number_denies_it(given_tests, wanted):
    """Of every operator, from any mixture."""
    left = numbers(given_tests)
    for test in wanted:
        follows = all(compared(number, *test) for number in left)
        assert ranges.implies([*given_tests, (ranges.LESS, SMALL)], test) == follows


@examples(250, long=5000, derandomize=True)
@given(TESTS)
def test_bounds_are_the_smallest_and_the_largest_number(tests):
    """Whatever equality, order and bits leave."""
    left = numbers(tests)
    low, high = ranges.bounds([*tests, (ranges.LESS, SMALL)])
    assert (low, high) == (left[0], left[-1]) if left else low > high


def test_numbers_have_32_bits_and_no_sign():
    """No number is below 0, and a negative one is a large one."""
    assert not ranges.possible([(ranges.LESS, 0)])
    assert not ranges.possible([(ranges.GREATER, ranges.LARGEST)])
    assert ranges.possible([(ranges.GREATER_EQUAL, ranges.LARGEST), (ranges.ALL_BITS, 1 << 31)])
    assert not ranges.possible([(ranges.ALL_BITS, 1 << 31), (ranges.LESS, 1 << 31)])


def test_too_many_choices_of_bits_are_taken_to_be_possible():
    """Rather than to try them all."""
    many = [(ranges.ANY_BIT, ranges.LARGEST)] * 5
    assert ranges.possible([*many, (ranges.EQUAL, 0)])
