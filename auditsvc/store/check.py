"""Whether a store is whole: its file, its references, its counts. Changes nothing.

    check(url) -> (Outcome(what, problem), ...), one after the other

* file: SQLite's own check of every page, row and index. A server's files are its own affair.
* schema: tables and views are as this program makes them (of a server's, what stands beside them).
* references: every id of a dimension in a fact, or in another dimension, has its row.
* ledger: of each source, received = stored + end + raw + duplicate + open.
* activity: the sums by hour are those of the calls.

All checks see the store at one moment, while others write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.errors import StoreError
from auditsvc.plural import counted
from auditsvc.store import open_store
from auditsvc.store.builtin import is_of_this_program
from auditsvc.store.database import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from auditsvc.store.backup import Tell
    from auditsvc.store.database import Database

_UPDATE: Final = "(`auditsvc migrate` updates it)"
_MOST: Final = 20
"""Problems that SQLite names."""
_TEXTS: Final = ("tty", "comm", "exe", "subj", "key", "cwd", "title", "extra")
_REFERENCES: Final = (
    ("syscall", ("context",), "context"),
    ("exec", ("argv",), "text"),
    ("path", ("file",), "file"),
    ("sockaddr", ("address",), "address"),
    ("event", ("host",), "host"),
    ("event", ("fields",), "text"),
    ("record", ("fields",), "text"),
    ("context", ("host",), "host"),
    ("context", _TEXTS, "text"),
    ("file", ("name", "obj", "extra"), "text"),
)
"""What refers to what: table, columns, dimension (`auditsvc.store.schema`)."""
_SUM: Final = ("stored", "end", "raw", "duplicate", "open")


FILE: Final = "file"
"""The check of a file's pages and indexes."""
SCHEMA: Final = "schema"
"""The check of tables and views: these may also be another version's, and are made again then."""


class Outcome(NamedTuple):
    """What was checked, and what is wrong with it; "" if nothing is."""

    what: str
    problem: str


def check(url: str, tell: Tell = lambda _what, _share: None) -> Iterator[Outcome]:
    """Check a store; StoreError if it cannot be opened."""
    with open_store(url, create=False, read=True) as store:
        checks: list[tuple[str, Callable[[Connection], str]]] = [
            (SCHEMA, lambda connection: _schema(store.database, connection)),
            *((f"references of {table} to {to}", _refers(table, columns, to))
              for table, columns, to in _REFERENCES),
            ("ledger", _ledger),
            ("activity", _activity),
        ]  # fmt: skip
        if store.engine.dialect.name == "sqlite":
            checks.insert(0, (FILE, _file))
        for done, (what, look) in enumerate(checks):
            tell(f"checking the {what}", done / len(checks))
            try:
                with reading(store.database) as connection:
                    problem = look(connection)
            except StoreError as error:
                problem = error.what
            yield Outcome(what, problem)


def _file(connection: Connection) -> str:
    found = connection.exec_driver_sql(f"PRAGMA integrity_check({_MOST})").scalars().all()
    return "" if list(found) == ["ok"] else "; ".join(str(each) for each in found)


def _schema(database: Database, connection: Connection) -> str:
    # PostgreSQL has to make our views to compare them (`verify` does), which a check does not.
    whole = connection.dialect.name == "sqlite"
    found = sorted(database.strangers(connection, whole=whole))
    if not found:
        return ""
    others = "" if is_of_this_program(connection) else f", or another version's {_UPDATE}"
    return f"not as auditsvc made it{others}: {', '.join(found)}"


def _refers(table: str, columns: tuple[str, ...], to: str) -> Callable[[Connection], str]:
    def look(connection: Connection) -> str:
        found = []
        for column in columns:
            missing = connection.exec_driver_sql(
                f'SELECT count(*) FROM "{table}" f WHERE f."{column}" IS NOT NULL'  # noqa: S608 - names of the schema
                f' AND NOT EXISTS (SELECT 1 FROM "{to}" d WHERE d.id = f."{column}")'
            ).scalar_one()
            if missing:
                found.append(f"{counted(int(missing), 'row')} without their {column}")
        return "; ".join(found)

    return look


def _ledger(connection: Connection) -> str:
    causes = ", ".join(f"'{cause}'" for cause in _SUM)
    rows = connection.exec_driver_sql(
        "SELECT s.kind, s.name, sum(CASE WHEN l.cause = 'received' THEN l.count ELSE 0 END),"  # noqa: S608 - words of ours
        f" sum(CASE WHEN l.cause IN ({causes}) THEN l.count ELSE 0 END)"
        " FROM ledger_entry l JOIN source s ON s.id = l.source GROUP BY s.kind, s.name"
    )
    return "; ".join(
        f"{kind} {name}: {received} received, {kept} accounted for"
        for kind, name, received, kept in rows
        if received != kept
    )


def _activity(connection: Connection) -> str:
    summed = connection.exec_driver_sql("SELECT coalesce(sum(calls), 0) FROM activity").scalar_one()
    calls = connection.exec_driver_sql("SELECT count(*) FROM syscall").scalar_one()
    return "" if int(summed) == int(calls) else f"{summed} calls are summed, and {calls} stored"
