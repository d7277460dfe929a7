"""What the program puts into every store in addition to the tables: views and names.

Both belong to the program and not to the data, so they are not in migrations: they are made
again if the store was last opened by a program with other ones.
"""

from __future__ import annotations

import json
import re
import secrets
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from sqlalchemy import inspect

from auditsvc.store import schema, views, words
from auditsvc.store.values import unreadable
from auditsvc.tables import names

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

    from auditsvc.decode.batch import Row
    from auditsvc.store.database import Database

_SECRET_BYTES: Final = 32
_SECRET: Final = re.compile(f"[0-9a-f]{{{2 * _SECRET_BYTES}}}")
_DIGEST: Final = "content"


def refresh(database: Database, connection: Connection) -> bool:
    """Make the views and names of this program; gives whether anything had to be changed."""
    dialect = database.engine.dialect.name
    digest = _digest(dialect)
    have_views = set(views.NAMES) <= set(inspect(connection).get_view_names())
    if have_views and is_of_this_program(connection):
        return False
    for statement in views.statements(dialect):
        connection.exec_driver_sql(
            statement.replace("%", "%%") if _percent(database) else statement
        )
    for table, rows in _name_tables():
        _put(database, connection, table, rows)
    for table, rows in words.tables():
        connection.execute(table.delete())
        database.insert_absent(connection, table, rows)
    _set_info(connection, _DIGEST, digest)
    return True


def is_of_this_program(connection: Connection) -> bool:
    """Whether the store says that it has the views and names of this program."""
    return _info(connection, _DIGEST) == _digest(connection.dialect.name)


@cache
def _digest(dialect: str) -> str:
    """Give a hash of the views and names of this program."""
    listing = json.dumps(
        [
            views.statements(dialect),
            [(table.name, rows) for table, rows in (*_name_tables(), *words.tables())],
        ]
    )
    return blake2b(listing.encode(), digest_size=16).hexdigest()


def secret(connection: Connection) -> bytes:
    """Give the key of this store's hashes, which is made once; StoreError if it was changed."""
    value = _info(connection, "secret")
    if value is None:
        value = secrets.token_hex(_SECRET_BYTES)
        _set_info(connection, "secret", value)
    if not _SECRET.fullmatch(value):
        raise unreadable("store_info.value of secret", len(value) * "*")  # it is for no log
    return bytes.fromhex(value)


def _name_tables() -> list[tuple[Table, list[Row]]]:
    arches = sorted(names.arches())
    return [
        (schema.arch_name, [(arch, names.arch_name(arch)) for arch in arches]),
        (
            schema.syscall_name,
            [(arch, nr, name) for arch in arches for nr, name in names.syscalls(arch).items()],
        ),
        (schema.record_type, list(names.record_types().items())),
        (schema.errno_name, list(names.errnos().items())),
    ]


def altered_names(connection: Connection) -> list[str]:
    """Name rows of the tables of names that are not as this program puts them."""
    found = []
    for table, rows in _name_tables():
        width = len(table.primary_key)
        stored = {tuple(row[:width]): row[width] for row in connection.execute(table.select())}
        ours = {row[:width]: row[width] for row in rows}
        for key, name in ours.items():
            if stored.pop(key, None) != name:
                found.append(f"{table.name} {key[-1]} is not {name}")
        found += [
            f"{table.name} {key[-1]} is {name}"
            for key, name in stored.items()
            if name in ours.values()
        ]
    return found


def altered_words(connection: Connection) -> list[str]:
    """Name the tables of words whose rows are not those of this program, with one such row.

    They decide what the views say of each call: its verb, and its arguments in words.
    """
    found = []
    for table, rows in words.tables():
        stored = {tuple(row) for row in connection.execute(table.select())}
        ours = set(rows)
        if stored != ours:
            other = sorted(map(repr, stored - ours)) or sorted(map(repr, ours - stored))
            state = "has" if stored - ours else "lacks"
            found.append(f"{table.name} {state} {other[0]}")
    if found and not is_of_this_program(connection):
        return [
            f"{each}, or is another version's (`auditsvc migrate` updates it)" for each in found
        ]
    return found


def _put(database: Database, connection: Connection, table: Table, rows: list[Row]) -> None:
    """Insert names; a stored number without a name, or with another one, gets the new name."""
    if database.insert_absent(connection, table, rows) == len(rows):
        return
    width = len(table.primary_key)
    stored = {tuple(row[:width]): row[width] for row in connection.execute(table.select())}
    for row in rows:
        if stored.get(row[:width]) not in (None, row[width]):
            key = zip(table.primary_key, row[:width], strict=True)
            match = [column == value for column, value in key]
            connection.execute(table.update().where(*match).values(name=row[width]))


def _percent(database: Database) -> bool:
    """Whether % begins a parameter for this driver."""
    return database.engine.dialect.paramstyle in ("format", "pyformat")


def _info(connection: Connection, name: str) -> str | None:
    table = schema.store_info
    return connection.scalar(
        table.select().with_only_columns(table.c.value).where(table.c.name == name)
    )


def _set_info(connection: Connection, name: str, value: str) -> None:
    table = schema.store_info
    connection.execute(table.delete().where(table.c.name == name))
    connection.execute(table.insert().values(name=name, value=value))
