"""SQL of the events that used files of some names, where it is not known how many names there are.

    named_files_0 (id) AS (...), named_paths_0 (event_id) AS (...)

A part of a name may be that of one file or of half of them. The uses of a file are found by an
index, which costs some looks a file, in a store of any size; all uses are gone through once in a
time that grows with the store alone. So the names are looked through first, and then it is one
or the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditsvc.search.dialect import Dialect

FEW: Final = 200
"""Files whose uses are looked up one by one."""
PATHS: Final = "named_paths_"
NAMELESS: Final = "name IS NULL"
"""The condition of files without a name."""


def view_of(number: int) -> str:
    """Give the name of the table of events of the condition with this number."""
    return f"{PATHS}{number}"


def tables(
    conditions: Sequence[tuple[str, str]], dialect: Dialect, period: Sequence[str]
) -> list[str]:
    """Give the tables of a WITH, for conditions on a column of `file` that is a text.

    `conditions`: the columns, `name` or `obj`, and conditions on them; `period`: on `event_id`.
    """
    within = "".join(f" AND {each.replace('event_id', 'np.event')}" for each in period)
    few = dialect.store.settled.format("p", "file = nl.id")
    # SQLite would ask that for each row.
    asked_first = "(SELECT 1 WHERE {0}) CROSS JOIN path np WHERE 1 = 1"
    many = "path np WHERE {0}" if dialect.store.joins else asked_first
    # PostgreSQL would look up the uses of all of them by the index, of whatever time.
    used = "np.file + 0" if dialect.store.joins else "np.file"
    made = []
    for number, (column, condition) in enumerate(conditions):
        files = f"named_files_{number}"
        count = f"(SELECT count(*) FROM {files})"  # noqa: S608 - names of ours
        by_file = "".join(f" AND {each.replace('event_id', 'p.event')}" for each in period)
        texts = (
            f"SELECT nf.id AS id, nt.value AS {column} FROM file nf CROSS JOIN text nt"  # noqa: S608
            f" WHERE nt.id = nf.{column}"
        )
        if condition == NAMELESS:
            texts = "SELECT nf.id AS id, nf.name AS name FROM file nf"
        made.append(
            f"""{files} (id) AS MATERIALIZED (
    SELECT id FROM ({texts}) AS names WHERE {condition}
), {view_of(number)} (event_id) AS (
    SELECT p.event FROM {files} nl CROSS JOIN path p
    WHERE {few} AND {count} <= {FEW}{by_file}
    UNION ALL
    SELECT np.event FROM {many.format(f"{count} > {FEW}")}
    AND {used} IN (SELECT id FROM {files}){within}
)"""  # noqa: S608 - names of ours; texts as `literal` quotes them
        )
    return made
