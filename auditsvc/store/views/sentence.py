"""The sentence of `story`, made of its other columns: by the views, the archive and the fleet.

    mia as root opened file /etc/shadow using /usr/bin/cat: failed

The action is one of ausearch's words, which `search --format text` gives as they are. Here it is
said as people do: in their words (`auditsvc.tables.verb_words`), else without hyphens; what has no
name by what it is, a process as one, flags of zero not at all, and the outcome at the end.

Archive and lake keep a sentence only where it is not the one that follows from the other columns
(`kept`): where another word than `to` stands before the second object. Programs before revision
0019 said it in other words:

    mia, acting as root, unsuccessfully renamed /a with /b using /usr/bin/mv

Such a text is said anew when it is read, with its word before the second object.
"""

from __future__ import annotations

from typing import Final

from auditsvc.store.read.texts import quoted
from auditsvc.tables.verb_words import FAILURES, PROCESSES, SAID, UNNAMED

COLUMNS: Final = ("actor", "as_user", "outcome", "action", "object", "object2", "how")
"""The columns that it is made of, beside the word before the second object."""


def sentence(prefix: str = "", link: str = "'to'") -> str:
    """Give the SQL for SQLite, PostgreSQL and DuckDB.

    `prefix`: of the columns' names; `link`: SQL for the word before the second object. Columns
    stand in it as seldom as possible: SQLite writes their whole expression in the place of each.
    """
    actor, as_user, outcome, action, first, second, how = (prefix + name for name in COLUMNS)
    said = " ".join(f"WHEN '{verb}' THEN '{words}'" for verb, words in SAID.items())
    unnamed = " ".join(f"WHEN '{verb}' THEN ' {words}'" for verb, words in UNNAMED.items())
    processes, failures = (", ".join(map(quoted, sorted(each))) for each in (PROCESSES, FAILURES))
    return (
        f"{actor} || coalesce(' as ' || nullif({as_user}, {actor}), '')"
        f" || ' ' || CASE {action} {said} ELSE replace({action}, '-', ' ') END"
        f" || coalesce(CASE WHEN {action} IN ({processes}) THEN ' process ' ELSE ' ' END"
        f" || {first}, CASE {action} {unnamed} ELSE '' END)"
        f" || coalesce(' ' || {link} || ' ' || nullif({second}, '0x0'), '')"
        f" || coalesce(CASE {action} WHEN 'executed' THEN NULL WHEN 'crashed-program' THEN ' '"
        f" ELSE ' using ' END || {how}, '')"
        f" || CASE {outcome} WHEN 'failed' THEN CASE WHEN {action} IN ({failures}) THEN ''"
        " ELSE ': failed' END WHEN 'in progress' THEN ': in progress' ELSE '' END"
    )


def kept(prefix: str = "") -> str:
    """Give the SQL of the sentence that archive or lake have, for DuckDB and Spark."""
    actor, as_user, outcome, action, first, second, how = (prefix + name for name in COLUMNS)
    text = f"{prefix}sentence"
    head = (
        f"{actor} || coalesce(', acting as ' || nullif({as_user}, {actor}) || ',', '')"
        f" || CASE {outcome} WHEN 'success' THEN ' successfully' WHEN 'failed' THEN"
        " ' unsuccessfully' WHEN 'in progress' THEN ' asynchronously' ELSE '' END"
        f" || ' ' || {action} || coalesce(' ' || {first}, '') || ' '"
    )
    tail = (
        f"' ' || {second}"
        f" || CASE WHEN {action} = 'executed' THEN '' ELSE coalesce(' using ' || {how}, '') END"
    )
    start, left = f"length({head})", f"length({text}) - length({tail})"
    link = f"substr({text}, {start} + 1, {left} - {start})"
    is_old = f"substr({text}, 1, {start}) = {head} AND {left} > {start}"
    return (
        f"CASE WHEN {text} IS NULL THEN {sentence(prefix)}"
        f" WHEN {is_old} THEN {sentence(prefix, link)} ELSE {text} END"
    )
