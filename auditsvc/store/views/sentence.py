"""The sentence of `story`, made of its other columns: by the views, the archive and the fleet.

    mia as root opened file /etc/shadow using /usr/bin/cat: failed

The action is one of ausearch's words, which `search --format text` gives as they are. Here it is
said as people do: without hyphens, what has no name by what it is, and the outcome at the end.
"""

from __future__ import annotations

from typing import Final

from auditsvc.tables.verbs import UNNAMED

COLUMNS: Final = ("actor", "as_user", "outcome", "action", "object", "object2", "how")
"""The columns that it is made of, beside the word before the second object."""


def sentence(prefix: str = "", link: str = "'to'") -> str:
    """Give the SQL for SQLite, PostgreSQL and DuckDB.

    `prefix`: of the columns' names; `link`: SQL for the word before the second object. Columns
    stand in it as seldom as possible: SQLite writes their whole expression in the place of each.
    """
    actor, as_user, outcome, action, first, second, how = (prefix + name for name in COLUMNS)
    unnamed = " ".join(f"WHEN '{verb}' THEN ' {words}'" for verb, words in UNNAMED.items())
    return (
        f"{actor} || coalesce(' as ' || nullif({as_user}, {actor}), '')"
        f" || ' ' || replace({action}, '-', ' ')"
        f" || coalesce(' ' || {first}, CASE {action} {unnamed} ELSE '' END)"
        f" || coalesce(' ' || {link} || ' ' || {second}, '')"
        f" || CASE WHEN {action} = 'executed' THEN '' ELSE coalesce(' using ' || {how}, '') END"
        f" || CASE {outcome} WHEN 'failed' THEN ': failed' WHEN 'in progress' THEN ': in progress'"
        " ELSE '' END"
    )
