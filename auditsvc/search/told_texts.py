"""SQL of the events without a call whose fields say something, where each text is read once.

    texts_said (id) AS (...), events_said_0 (event_id) AS (...)

Many events say the same (half a million logins from one host do), and a text of JSON takes a
microsecond for each field that it is asked for. So the different texts are found first, then those
that fulfil a condition, and then the events that have one of these. Other texts are no JSON, so
none may be read before it is known to be one of these: the expression names the row that says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditsvc.search.dialect import Dialect

_TEXTS: Final = "texts_said"
_EVENTS: Final = "events_said_"
_ALWAYS: Final = "d.id * 0"
"""A number that is not below 0, of which no planner knows that before it has the row."""


def condition_of(number: int) -> str:
    """Write the condition that an event of `events` fulfils the one with this number."""
    return f"event_id IN (SELECT event_id FROM {_EVENTS}{number})"  # noqa: S608 - a number


def tables(conditions: Sequence[str], dialect: Dialect, period: Sequence[str]) -> list[str]:
    """Give the tables of a WITH, for conditions on `fields`; `period`: conditions on `event_id`."""
    if not conditions:
        return []
    within = " AND ".join(each.replace("event_id", "e.id") for each in period) or "1 = 1"
    value = dialect.store.json.format("t.value", _ALWAYS)
    fields = f"CASE WHEN {_ALWAYS} >= 0 THEN {value} END"
    texts = f"SELECT d.id, {_ALWAYS} AS event_id, {fields} AS fields FROM {_TEXTS} d"  # noqa: S608 - names of ours
    return [
        f"{_TEXTS} (id) AS MATERIALIZED (SELECT DISTINCT e.fields FROM event e WHERE {within})",  # noqa: S608
        *(
            f"""{_EVENTS}{number} (event_id) AS (
    SELECT e.id FROM event e WHERE {within} AND e.fields IN (
        SELECT id FROM ({texts} JOIN text t ON t.id = d.id) AS texts WHERE {condition}
    )
)"""  # noqa: S608 - names of ours; texts as `literal` quotes them
            for number, condition in enumerate(conditions)
        ),
    ]
