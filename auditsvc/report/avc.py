"""Decisions of SELinux and AppArmor: a line for each AVC and USER_AVC record.

SELinux names subject and object by their contexts, AppArmor by profile and path, and has the
operation where SELinux has a class.
"""

from __future__ import annotations

import heapq
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from auditsvc.report import types
from auditsvc.report.columns import FIRST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.report.choice import Choice
    from auditsvc.report.dialect import Dialect
    from auditsvc.report.reader import Reader

_EVENT: Final = "e.id, e.ms, e.serial, e.host, coalesce(e.auid, -1)"
OBJECT: Final = 10
"""The place of the object in a row."""


def rows(reader: Reader, choice: Choice) -> Iterator[tuple[Any, ...]]:
    """Give id, ms, serial, host, auid; comm, subj, syscall, class, permission, obj, result."""
    parts = [reader.rows(sql, choice.values) for sql in statements(choice, reader.dialect)]
    return heapq.merge(*parts, key=itemgetter(0))


class _Decision:
    """The expressions of a decision, of the record whose fields a column refers to."""

    def __init__(self, dialect: Dialect, owner: str) -> None:
        def of(*names: str) -> str:
            return ", ".join(dialect.of(name, owner) for name in names)

        verdict = f"lower(coalesce({of('seresult', 'apparmor')}))"
        permission = f"replace({of('seperms')}, ',', ' '), {of('denied_mask', 'requested_mask')}"
        self.comm = of("comm")
        self.subject = f"coalesce({of('scontext', 'profile')})"
        self.outcome = f"CASE {verdict} WHEN 'denied' THEN 0 ELSE 1 END"
        self.about = ", ".join(
            [
                f"coalesce({of('tclass', 'class', 'operation')})",
                f"coalesce({permission})",
                f"coalesce({of('tcontext', 'name')})",
                verdict,
            ]
        )
        """Class, permission, object, result."""


def statements(choice: Choice, dialect: Dialect) -> list[str]:
    """Give the statements whose rows, merged by their first column, are the report's."""
    of_record, of_event = _Decision(dialect, "r.fields"), _Decision(dialect, "e.fields")
    wanted = types.AVC.condition
    of_calls = [*choice.of_event("s.id", "s.success", FIRST), *choice.of_caller("c")]
    whose = choice.of_caller("e")
    times = choice.times("r.event")
    call = " AND ".join([wanted("r.type"), *times, *of_calls])
    own = [wanted("e.type"), *choice.of_event("e.id", of_event.outcome, "e.type"), *whose]
    further = [
        wanted("r.type"),
        *times,
        *choice.of_event("e.id", of_record.outcome, "e.type"),
        *whose,
    ]
    return [
        # Conditions are ours; the values of a choice are parameters.
        f"""
        SELECT s.id, s.ms, s.serial, c.host, coalesce(c.auid, -1),
            comm.value, {of_record.subject}, coalesce(name.name, CAST(s.nr AS text)),
            {of_record.about}
        FROM record r CROSS JOIN text f {dialect.call} CROSS JOIN context c
        LEFT JOIN text comm ON comm.id = c.comm
        LEFT JOIN syscall_name name ON name.arch = c.arch AND name.nr = s.nr
        WHERE f.id = r.fields AND s.id = r.event AND c.id = s.context AND {call}
        ORDER BY s.id, r.type, r.seq""",  # noqa: S608
        f"""
        SELECT {_EVENT}, {of_event.comm}, {of_event.subject}, NULL, {of_event.about}
        FROM event e CROSS JOIN text f
        WHERE f.id = e.fields AND {" AND ".join(own)} ORDER BY e.id""",  # noqa: S608
        f"""
        SELECT {_EVENT}, {of_record.comm}, {of_record.subject}, NULL, {of_record.about}
        FROM record r CROSS JOIN text f CROSS JOIN event e
        WHERE f.id = r.fields AND e.id = r.event AND {" AND ".join(further)}
        ORDER BY e.id, r.type, r.seq""",  # noqa: S608
    ]
