"""Whether the calls that a search can find are those of few callers.

    sql = counted(criteria, dialect)      # "" if the search asks for no caller
    few = Few.of(row)

SQLite knows nothing of how many calls a program or a key has. Of a search for failed calls of a
program it would begin with the index of failed calls, of which a busy store has a million, and look
up the caller of each; of one for an address and a user, with all uses of the address. So the calls
of the callers are counted first, as far as they are few: an index has them by their caller. Where
they are few, the search begins with these.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.search.conditions import Conditions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditsvc.search.alternatives import Condition
    from auditsvc.search.criteria import Criteria
    from auditsvc.search.dialect import Dialect

MOST: Final = 200_000
"""Calls that are looked up in less time than a million failed ones are gone through."""
_NUMBERS: Final = (
    *("ppid", "pid", "auid", "uid", "gid", "euid", "suid", "fsuid", "egid", "sgid", "fsgid", "ses"),
)
_TEXTS: Final = ("tty", "comm", "exe", "subj", "key", "cwd")
_COLUMNS: Final = {
    **{name: f"c.{name}" for name in _NUMBERS},
    **{name: f"(SELECT t.value FROM text t WHERE t.id = c.{name})" for name in _TEXTS},  # noqa: S608 - ours
    "host": "(SELECT h.name FROM host h WHERE h.id = c.host)",
    "arch": "(SELECT m.name FROM arch_name m WHERE m.arch = c.arch)",
}
"""Columns of `syscalls` that all calls of a caller have in common, of a context `c`."""
_WORDS: Final = {"or", "and", "not", "is", "null", "in", "instr", "substr"}
_LITERAL: Final = re.compile(r"'(?:[^']|'')*'")
_NAME: Final = re.compile(r"[a-z_]+", re.IGNORECASE)


class Few(NamedTuple):
    """Whether the calls are few of the callers that meet some of the conditions."""

    alone: bool = False
    """Of those that only a call's own row can meet: all calls that are found are among these."""
    together: bool = False
    """Of all: among these are all that are found by their own rows."""

    @classmethod
    def of(cls, counts: Sequence[int | None]) -> Few:
        """Read the row that `counted` gives."""
        return cls(*(each is not None and each <= MOST for each in counts))


def counted(criteria: Criteria, dialect: Dialect) -> str:
    """Give the statement that counts the calls of these callers, each up to one more than MOST.

    Its columns are those of `Few`, NULL where there is no condition. "": another database plans
    that itself, or the conditions are on callers only, or none is.
    """
    if dialect.own_tables:
        return ""
    conditions = list(Conditions(criteria, dialect).written())
    alone = [test for test in map(_alone, conditions) if test]
    together = alone + [test for test in map(_among_others, conditions) if test]
    if not together or len(alone) == len(conditions):
        return ""
    return f"SELECT {_count(alone)}, {_count(together)}"


def _count(tests: Sequence[str]) -> str:
    if not tests:
        return "NULL"
    shown = ", ".join(f"{value} AS {name}" for name, value in _COLUMNS.items())
    found = (
        f"SELECT 1 FROM (SELECT c.id AS caller, {shown} FROM context c) callers"  # noqa: S608 - ours
        f" CROSS JOIN syscall s WHERE s.context = caller AND {' AND '.join(tests)}"
        f" LIMIT {MOST + 1}"
    )
    return f"(SELECT count(*) FROM ({found}))"  # noqa: S608 - as above


def _alone(condition: Condition) -> str:
    """Give what holds for the caller of each call that meets a condition; "" if that is not so."""
    rows = strings_of(condition)
    return _any(rows) if len(rows) == len(condition.calls) else ""


def _among_others(condition: Condition) -> str:
    """Give the same of a condition that rows of other views can meet, too."""
    return "" if _alone(condition) else _any(strings_of(condition))


def _any(rows: Sequence[str]) -> str:
    return f"({' OR '.join(rows)})" if rows and all(map(_is_of_caller, rows)) else ""


def strings_of(condition: Condition) -> list[str]:
    """Give the alternatives of a call that are on its own row."""
    return [each for each in condition.calls if isinstance(each, str)]


def _is_of_caller(condition: str) -> bool:
    names = {each.lower() for each in _NAME.findall(_LITERAL.sub("", condition))}
    return names - _WORDS <= set(_COLUMNS)
