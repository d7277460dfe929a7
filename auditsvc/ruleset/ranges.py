"""The 32-bit numbers that pass tests. Pure.

    tests (operator, value) of one number -> whether some number passes all of them

The kernel compares unsigned numbers of 32 bits (audit_comparator in
kernel/auditfilter.c): a negative value is a large one, and no number is below 0.
"""

from __future__ import annotations

import itertools
from math import prod
from typing import TYPE_CHECKING, Final

from auditsvc.rule import fields

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

Test = tuple[int, int]
"""An operator (fields.OPERATORS) and the value to compare with."""

LARGEST: Final = 0xFFFFFFFF

EQUAL: Final = fields.EQUAL
NOT_EQUAL: Final = fields.NOT_EQUAL
LESS: Final = fields.OPERATORS["<"]
LESS_EQUAL: Final = fields.OPERATORS["<="]
GREATER: Final = fields.OPERATORS[">"]
GREATER_EQUAL: Final = fields.OPERATORS[">="]
ANY_BIT: Final = fields.OPERATORS["&"]
ALL_BITS: Final = fields.OPERATORS["&="]

_MOST_CHOICES: Final = 1024  # combinations of bits; with more, a number counts as possible


def possible(tests: Iterable[Test]) -> bool:
    """Whether some number passes all tests; True where the search would take too long."""
    return _Remaining.after(tests).any()


def implies(given: Collection[Test], wanted: Test) -> bool:
    """Whether every number that passes all of `given` passes `wanted`."""
    left = _Remaining.after(given)
    left.take_not(wanted)
    return not left.any()


def bounds(tests: Collection[Test]) -> tuple[int, int]:
    """Give the smallest and the largest number that pass all tests.

    The first is greater than the second if no number does. Tests of bits are ignored where
    the search would take too long.
    """
    left = _Remaining.after(tests)
    low = left.smallest()
    if low is None:
        return 1, 0
    high = left.mirrored().smallest()
    return low, LARGEST - (high or 0)


class _Remaining:
    """The numbers that remain after tests."""

    def __init__(self) -> None:
        self.low, self.high = 0, LARGEST
        self.holes: set[int] = set()
        self.ones = 0
        self.zeros = 0
        self.some_one: list[int] = []
        """Masks; in each, at least one bit must be 1."""
        self.some_zero: list[int] = []

    @classmethod
    def after(cls, tests: Iterable[Test]) -> _Remaining:
        """Apply all tests."""
        left = cls()
        for operator, value in tests:
            left.take(operator, value)
        return left

    def take(self, operator: int, value: int) -> None:
        """Keep the numbers that pass a test."""
        match operator:
            case fields.EQUAL:
                self.low, self.high = max(self.low, value), min(self.high, value)
            case fields.NOT_EQUAL:
                self.holes.add(value)
            case _ if operator == LESS:
                self.high = min(self.high, value - 1)
            case _ if operator == LESS_EQUAL:
                self.high = min(self.high, value)
            case _ if operator == GREATER:
                self.low = max(self.low, value + 1)
            case _ if operator == GREATER_EQUAL:
                self.low = max(self.low, value)
            case _ if operator == ANY_BIT:
                self.some_one.append(value)
            case _:
                self.ones |= value

    def take_not(self, test: Test) -> None:
        """Keep the numbers that do not pass a test."""
        operator, value = test
        if operator in _OPPOSITE:
            self.take(_OPPOSITE[operator], value)
        elif operator == ANY_BIT:
            self.zeros |= value
        else:
            self.some_zero.append(value)

    def any(self) -> bool:
        """Whether a number remains."""
        return self.smallest() is not None

    def smallest(self) -> int | None:
        """Give the smallest number that remains."""
        if self.low > self.high:
            return None
        choices = [*map(_bits, self.some_one), *map(_bits, self.some_zero)]
        if not choices:
            return self._smallest((), ())
        if prod(map(len, choices)) > _MOST_CHOICES:
            return self.low
        count = len(self.some_one)
        found = [
            self._smallest(chosen[:count], chosen[count:]) for chosen in itertools.product(*choices)
        ]
        return min((each for each in found if each is not None), default=None)

    def _smallest(self, ones: Iterable[int], zeros: Iterable[int]) -> int | None:
        """Give the smallest remaining number in which these bits are 1 and 0."""
        set_, unset = self.ones, self.zeros
        for bit in ones:
            set_ |= bit
        for bit in zeros:
            unset |= bit
        found = _next(self.low, set_, unset)
        while found is not None and found in self.holes:
            found = _next(found + 1, set_, unset)
        return found if found is not None and found <= self.high else None

    def mirrored(self) -> _Remaining:
        """Give the same for numbers with inverted bits: its smallest is the largest here."""
        other = _Remaining()
        other.low, other.high = LARGEST - self.high, LARGEST - self.low
        other.holes = {LARGEST - each for each in self.holes}
        other.ones, other.zeros = self.zeros, self.ones
        other.some_one, other.some_zero = self.some_zero, self.some_one
        return other


_OPPOSITE: Final = {
    EQUAL: NOT_EQUAL,
    NOT_EQUAL: EQUAL,
    LESS: GREATER_EQUAL,
    GREATER_EQUAL: LESS,
    GREATER: LESS_EQUAL,
    LESS_EQUAL: GREATER,
}


def _bits(mask: int) -> list[int]:
    return [1 << place for place in range(32) if mask >> place & 1]


def _next(low: int, ones: int, zeros: int) -> int | None:
    """Give the smallest number from `low` on in which the bits `ones` are 1 and `zeros` 0."""
    if ones & zeros or low > LARGEST:
        return None
    if low & ones == ones and not low & zeros:
        return low
    return next(_greater(low, ones, zeros), None)


def _greater(low: int, ones: int, zeros: int) -> Iterator[int]:
    """Yield numbers that are equal to `low` above some bit that is 1 in them and 0 in `low`."""
    for place in range(32):
        bit = 1 << place
        above = LARGEST & ~(2 * bit - 1)
        high = low & above
        if not (low & bit or zeros & bit or high & zeros or ones & above & ~high):
            yield high | bit | ones & (bit - 1)
