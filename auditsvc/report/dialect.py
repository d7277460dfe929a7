"""The expressions of reports that differ between the databases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Dialect:
    """One database; each is a format of its arguments."""

    field: str
    """A field by its name, of the text `f` with the JSON of a record.

    The column that refers to the text comes with it: both databases may look at all texts before
    they join (SQLite for a Bloom filter of those that a condition holds for, from some hundred
    rows on), and others are no JSON. Of a field that stands several times in a record it is the
    last: libaudit writes its own after what a program gave it, so a value that holds `exe=`
    cannot stand for the program.
    """
    call: str
    """Joins the call `s` of a record `r`, found by its key: PostgreSQL has no statistics of all
    partitions together, expects many calls of an event, and would sort all of them instead."""

    json: str = ""
    """How `field` reads the text, if it does so anew for each mention: there is a `once`."""

    def of(self, name: str, owner: str = "e.fields") -> str:
        """Give a field of the text `f` to which the column `owner` refers."""
        return self.field.format(name, owner)

    def once(self, shown: Sequence[str], source: str) -> tuple[tuple[str, ...], str]:
        """Have the text of an event `e` in a FROM clause read once for all that is shown of it.

        OFFSET 0: PostgreSQL would put the expression in the place of each mention again.
        """
        text = self.json.format("", "e.fields")
        if not text or "".join(shown).count(text) < _WORTH:
            return tuple(shown), source
        read = f"{source} CROSS JOIN LATERAL (SELECT {text} AS value OFFSET 0) told"
        return tuple(each.replace(text, "told.value") for each in shown), read


_WORTH: Final = 2
"""Mentions from which it takes less."""

SQLITE: Final = Dialect(
    field="(CASE WHEN f.id = {1} THEN json_extract(f.value, CASE json_type(f.value, '$.\"{0}\"')"
    " WHEN 'array' THEN '$.\"{0}\"[#-1]' ELSE '$.\"{0}\"' END) END)",
    call="CROSS JOIN syscall s",
)
_JSON: Final = "CAST(CASE WHEN f.id = {1} THEN f.value END AS jsonb)"
POSTGRESQL: Final = Dialect(
    # One path, as each mention of the JSON is read anew: `last` of what is no array is that itself.
    field=f"(jsonb_path_query_first({_JSON}, '$.\"{{0}}\"[last]') #>> '{{{{}}}}')",
    call="CROSS JOIN LATERAL (SELECT * FROM syscall WHERE id = r.event OFFSET 0) s",
    json=_JSON,
)
DIALECTS: Final = {"sqlite": SQLITE, "postgresql": POSTGRESQL}
