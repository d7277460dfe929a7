"""A table of the store is not taken for a view in a user's SQL."""

from __future__ import annotations

import pytest
from sqlalchemy import make_url

from auditsvc.errors import QueryError
from auditsvc.store.read.raw_tables import DELIBERATE, INSTEAD, refuse_tables
from auditsvc.store.schema import metadata
from auditsvc.store.views import NAMES

URLS = ("sqlite:////nowhere", "postgresql://nowhere/x")
on_both = pytest.mark.parametrize("url", [make_url(each) for each in URLS], ids=("sqlite", "pg"))

REFUSED = (
    "SELECT count(*) FROM syscall",
    "select * from SYSCALL s where nr = 2",
    'SELECT * FROM "syscall"',
    "SELECT * FROM main.event",
    "SELECT e.id FROM syscalls s JOIN event e ON e.id = s.event_id",
    "SELECT * FROM syscalls s, path p WHERE p.event = s.event_id",
    "SELECT * FROM syscalls WHERE event_id IN (SELECT event FROM path)",
    "SELECT (SELECT count(*) FROM record r WHERE r.event = s.event_id) FROM syscalls s",
    "WITH x AS (SELECT * FROM ledger_entry) SELECT * FROM x",
    "WITH syscall AS (SELECT * FROM syscall) SELECT * FROM syscall",
    "SELECT * FROM syscalls UNION ALL SELECT * FROM syscall",
    "SELECT * FROM /* the calls */ syscall",
    "SELECT * FROM -- the calls\n syscall",
    "EXPLAIN QUERY PLAN SELECT * FROM syscall",
    "SELECT * FROM syscall WHERE !! what no parser takes",
)
ALLOWED = (
    "SELECT syscall, host, path FROM files",
    "SELECT syscall, count(*) FROM syscalls GROUP BY syscall",
    "SELECT exe, syscall FROM syscalls ORDER BY exe, syscall",
    "SELECT 1 FROM syscalls, paths",
    "SELECT * FROM events WHERE type = 'from syscall'",
    "WITH path AS (SELECT event_id FROM paths) SELECT * FROM path",
    "WITH RECURSIVE event (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM event) SELECT n FROM event",
    "SELECT * FROM sqlite_schema",
    "SELECT s.syscall, e.name FROM syscalls s LEFT JOIN errno_name e ON e.errno = -s.exit",
    "PRAGMA table_info(syscall)",
    "DELETE FROM syscall",
    f"{DELIBERATE} SELECT * FROM syscall",
    f"SELECT * FROM syscall {DELIBERATE}",
)


@on_both
@pytest.mark.parametrize("sql", REFUSED)
def test_a_table_is_refused_by_its_name(url, sql):
    """Wherever it stands; the error names it, and how the query can be meant."""
    with pytest.raises(QueryError) as found:
        refuse_tables(url, sql)
    assert "is a table of the store" in found.value.what
    assert DELIBERATE in (found.value.hint or "")


def test_the_short_form_of_postgresql_is_refused():
    """SQLite has none."""
    with pytest.raises(QueryError):
        refuse_tables(make_url(URLS[1]), "TABLE syscall")


@on_both
@pytest.mark.parametrize("sql", ALLOWED)
def test_all_else_is_not(url, sql):
    """Columns, texts, CTEs and aliases of such a name; what is no query; what says so."""
    refuse_tables(url, sql)


@on_both
@pytest.mark.parametrize("table", sorted(INSTEAD))
def test_each_table_is_refused(url, table):
    """The view that shows what it holds is named."""
    with pytest.raises(QueryError) as found:
        refuse_tables(url, f"SELECT * FROM {table}")
    assert found.value.what.startswith(f"`{table}` is a table")
    assert f"`{INSTEAD[table]}`" in (found.value.hint or "")


def test_what_is_named_instead_is_there():
    """Each table and view has its name, and no view has that of a table."""
    assert set(INSTEAD) <= set(metadata.tables)
    assert set(INSTEAD.values()) <= set(NAMES)
    assert not set(metadata.tables) & set(NAMES)


def test_each_table_one_letter_from_a_view_is_refused():
    """By its name in the plural, too, as `syscall` is of `syscalls`."""
    close = {name for name in metadata.tables for end in ("s", "es") if f"{name}{end}" in NAMES}
    assert len(close) > 5
    assert close <= set(INSTEAD)
