"""Refuses the store's own tables in a user's SQL: a slip must not be answered with raw numbers.

    SELECT syscall, a0 FROM syscall      -- for syscalls: numbers, ids of texts, no names

The views are the project's contract; the tables beside them hold ids and change with the schema.
A query that names one, in FROM or JOIN, is an error that names the view. Who wants the tables
says so in the query, with the comment ``DELIBERATE`` anywhere in it. Only those who ask in a
user's words check this: `auditsvc query`, the shell, the library and the page for SQL. Other
programs read the file or the database itself, and nothing can be refused there (docs/sql.md).

Not against anybody: what can be read through a view can be read through the tables.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Final

from auditsvc.errors import QueryError

if TYPE_CHECKING:
    from sqlalchemy import URL

DELIBERATE: Final = "/* tables */"
"""The comment of a query that reads the tables."""
INSTEAD: Final = {
    "syscall": "syscalls",
    "exec": "syscalls",
    "path": "paths",
    "file": "paths",
    "sockaddr": "sockaddrs",
    "address": "sockaddrs",
    "event": "events",
    "record": "records",
    "context": "syscalls",
    "host": "syscalls",
    "text": "syscalls",
    "activity_row": "activity",
    "activity_part": "activity",
    "process_sign": "processes",
    "process_cgroup": "processes",
    "account_name": "names",
    "access_entry": "access",
    "access_end": "access",
    "ledger_entry": "ledger",
    "source": "ledger",
    "origin": "origins",
    "pruned_day": "pruned",
}
"""The tables that are refused, and the view that shows what each holds.

Tables without a view (of names, of words, the store's own) are no slip of a view.
"""
_GAP: Final = r"(?:\s|\(|/\*.*?\*/|--[^\n]*\n)*"
_IN_FROM: Final = r"(?:(?!\b(?:select|where|group|order|limit|having|union)\b).)*?,"
_TABLE: Final = rf"{_GAP}(?:\w+\.)?[\"`\[]?({'|'.join(sorted(INSTEAD))})\b"
_NAMED: Final = re.compile(
    rf"\b(?:from(?:{_IN_FROM})?|join|table|only){_TABLE}", re.IGNORECASE | re.DOTALL
)
"""What a query that names a table has: cheaper than to parse each query."""
_DIALECTS: Final = {"sqlite": "sqlite", "postgresql": "postgres"}


def refuse_tables(url: URL, sql: str) -> None:
    """Raise QueryError if a user's query names a table of the store and does not say so."""
    if DELIBERATE in sql or not _NAMED.search(sql):
        return
    # Only then, as sqlglot is large.
    parser = import_module("auditsvc.store.read.named_tables")
    found = parser.named_tables(sql, _DIALECTS[url.get_backend_name()])
    if found is None:
        found = {name.lower() for name in _NAMED.findall(sql)}
    for name in sorted(found & INSTEAD.keys()):
        raise QueryError(
            f"`{name}` is a table of the store, with numbers and ids, and no view",
            f"the view is `{INSTEAD[name]}`; if the table is meant, add {DELIBERATE} to the query",
        )
