"""Removes dimension rows that nothing refers to any more, while others write.

A decoder gives each dimension row once, in the batch that first uses it, and relies on the
store from then on. So a row that nothing refers to now may be used by the next batch. The steps,
each a row of short transactions without other writers:

1. **Note.** What may be unused goes into `unused_row`: contexts, files and addresses without a
   fact (an index tells), the texts of these, and the texts of the facts that are deleted.
2. **Turn.** The store's generation changes, once. A writer compares it in every transaction
   with that of the moment at which its decoder began; if they differ, it begins anew from its
   checkpoint (`check`): its decoder knows no row and gives all that it uses again.
3. **Spare.** While there are notes, a writer removes from them every row that its batch gives
   or that it copies (`spare`). So a note that stands after the turn is of a row on which no
   batch since the turn relies, and those of before cannot be written any more.
4. **Delete** contexts, files and addresses that are noted and still have no fact.
5. **Look** through all rows that refer to texts, and remove from the notes those that are used.
   No index leads from a text to its users, so all of them are read, in slices.
6. **Delete** the texts that are still noted.

Invariants: a row is deleted only if it was noted before the last turn, not spared since, and
nothing refers to it. After a crash the notes stand, and the steps begin again at the first.
Memory is bounded: everything is done by the database, for so many rows at a time.

Hosts, types, and names of machines and calls stay: they are few.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, select
from sqlalchemy import text as sql

from auditsvc.decode.batch import pieces_of
from auditsvc.errors import ClashError
from auditsvc.store import activity, schema
from auditsvc.store.schema import store_info, unused_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from auditsvc.decode.batch import Row

TEXT: Final = schema.text.name
KINDS: Final = {TEXT: 1, schema.context.name: 2, schema.file.name: 3, schema.address.name: 4}
"""Tables of which rows are removed, and their number in `unused_row`."""

_USED_BY: Final = {
    schema.context.name: ("syscall", "context"),
    schema.file.name: ("path", "file"),
    schema.address.name: ("sockaddr", "address"),
}
"""The facts that refer to a table, by an index."""
WALKED: Final = tuple(_USED_BY)

_CONTEXT_TEXTS: Final = ("tty", "comm", "exe", "subj", "key", "cwd", "title", "extra")
_TEXTS: Final = {
    schema.context.name: ("id", _CONTEXT_TEXTS),
    schema.file.name: ("id", ("name", "obj", "extra")),
    schema.event.name: ("id", ("fields",)),
    schema.exec_.name: ("event", ("argv",)),
    schema.record.name: ("event", ("fields",)),
}
"""What refers to texts: table -> its key, and the columns with ids of texts."""
TEXT_USERS: Final = tuple(_TEXTS)
"""Those that have most of the texts come first: where no note is left, nothing more is read."""
_FACT_TEXTS: Final = (schema.event.name, schema.exec_.name, schema.record.name)

_GENERATION: Final = "generation"
_AT_ONCE: Final = 500
"""Ids that one statement names."""


def references(name: str) -> list[tuple[str, str]]:
    """Give all that refers to one of the tables of `KINDS`, as (table, column)."""
    if name in _USED_BY:
        return [_USED_BY[name]]
    return [(user, column) for user, (_, columns) in _TEXTS.items() for column in columns]


# --- for writers ----------------------------------------------------------------------


def generation(connection: Connection) -> str:
    """Give the store's generation; "" if no row was ever removed."""
    found = select(store_info.c.value).where(store_info.c.name == _GENERATION)
    return connection.scalar(found) or ""


def check(connection: Connection, begun: str) -> None:
    """ClashError without pins if the generation is not the one in which a decoder began."""
    if generation(connection) != begun:
        raise ClashError([])


def spare(connection: Connection, rows: Mapping[str, Sequence[Row]]) -> None:
    """Take dimension rows, of a batch or made beside it, from the notes, if there are any."""
    if _is_noted(connection):
        for name in KINDS:
            for piece in pieces_of(rows, name):
                _spare(connection, {name: [row[0] for row in piece]})


def spare_copied(connection: Connection, facts: Mapping[str, Sequence[Row]]) -> None:
    """Take from the notes the texts of facts that move, perhaps to where step 5 was already.

    Contexts, files and addresses need none of this: step 4 asks for their facts once more.
    """
    if not _is_noted(connection):
        return
    used: list[object] = []
    for name in _FACT_TEXTS:
        columns = schema.metadata.tables[name].columns.keys()
        places = [columns.index(column) for column in _TEXTS[name][1]]
        used += [row[place] for row in facts.get(name, ()) for place in places]
    _spare(connection, {TEXT: used})


def _is_noted(connection: Connection) -> bool:
    return connection.execute(select(unused_row.c.id).limit(1)).first() is not None


def _spare(connection: Connection, used: Mapping[str, Iterable[object]]) -> None:
    for name, ids in used.items():
        wanted = sorted(each for each in set(ids) if isinstance(each, int))
        for start in range(0, len(wanted), _AT_ONCE):
            some = unused_row.c.id.in_(wanted[start : start + _AT_ONCE])
            connection.execute(delete(unused_row).where(unused_row.c.kind == KINDS[name], some))


# --- for pruning: each call is a part of one transaction --------------------------------


def note_texts(connection: Connection, low: int, high: int, since: str = "") -> None:
    """Step 1, before the facts with ids from `low` to `high` are deleted.

    `since`, on PostgreSQL: a transaction's number; only of rows that are not older.
    """
    newer = f" AND age(xmin) <= age('{since}'::xid)" if since else ""
    for name in _FACT_TEXTS:
        key, (column,) = _TEXTS[name]
        _note(
            connection,
            f"SELECT DISTINCT {KINDS[TEXT]}, {column} FROM {name}"  # noqa: S608 - names of the schema
            f" WHERE {key} BETWEEN :low AND :high{newer}",
            low=low,
            high=high,
        )


def note_walked(connection: Connection, name: str, after: int, rows: int) -> int | None:
    """Step 1: note rows of `name`, behind the id `after`, that have no fact.

    Gives up to which id was looked, None at the table's end.
    """
    last = _behind(connection, name, "id", after, rows)
    if last is None:
        return None
    facts, column = _USED_BY[name]
    kind, ends = KINDS[name], {"after": after, "last": last}
    _note(
        connection,
        f"SELECT {kind}, d.id FROM {name} d WHERE d.id > :after AND d.id <= :last"  # noqa: S608 - names of the schema
        f" AND NOT EXISTS (SELECT 1 FROM {facts} u WHERE u.{column} = d.id)",
        **ends,
    )
    for text in _TEXTS.get(name, ("", ()))[1]:
        _note(
            connection,
            f"SELECT DISTINCT {KINDS[TEXT]}, d.{text} FROM unused_row n"  # noqa: S608 - as above
            f" JOIN {name} d ON d.id = n.id WHERE n.kind = {kind}"
            f" AND n.id > :after AND n.id <= :last AND d.{text} IS NOT NULL",
            **ends,
        )
    return last


def turn(connection: Connection) -> None:
    """Step 2: change the generation."""
    made = secrets.token_hex(8)
    connection.execute(delete(store_info).where(store_info.c.name == _GENERATION))
    connection.execute(store_info.insert().values(name=_GENERATION, value=made))


def delete_noted(connection: Connection, name: str, rows: int) -> bool:
    """Steps 4 and 6: delete rows of `name` that are noted; gives whether there were any notes."""
    kind, noted_id = KINDS[name], unused_row.c.id
    noted = select(noted_id).where(unused_row.c.kind == kind)
    found = connection.scalars(noted.order_by(noted_id).limit(rows)).all()
    if not found:
        return False
    if name == schema.context.name:
        activity.settle(connection)  # parts name contexts, also of calls that were taken away
    unused = ""
    if name in _USED_BY:
        facts, column = _USED_BY[name]
        unused = f" AND NOT EXISTS (SELECT 1 FROM {facts} u WHERE u.{column} = {name}.id)"  # noqa: S608 - as above
    these = "FROM unused_row WHERE kind = :kind AND id <= :last"
    ends = {"kind": kind, "last": found[-1]}
    connection.execute(
        sql(f"DELETE FROM {name} WHERE id IN (SELECT id {these}){unused}"),  # noqa: S608 - as above
        ends,
    )
    connection.execute(sql(f"DELETE {these}"), ends)
    return True


def spare_used(connection: Connection, name: str, after: int, rows: int) -> int | None:
    """Step 5: take from the notes the texts that rows of `name` behind a key refer to.

    Gives up to which key was looked, None at the table's end.
    """
    key, columns = _TEXTS[name]
    last = _behind(connection, name, key, after, rows)
    if last is None:
        return None
    for column in columns:
        connection.execute(
            sql(
                f"DELETE FROM unused_row WHERE kind = {KINDS[TEXT]} AND id IN"  # noqa: S608 - as above
                f" (SELECT {column} FROM {name} WHERE {key} > :after AND {key} <= :last)"
            ),
            {"after": after, "last": last},
        )
    return last


def has_notes(connection: Connection, name: str) -> bool:
    """Whether any row of `name` is noted."""
    noted = select(unused_row.c.id).where(unused_row.c.kind == KINDS[name]).limit(1)
    return connection.execute(noted).first() is not None


def _note(connection: Connection, rows: str, **values: int) -> None:
    note = f"INSERT INTO unused_row (kind, id) {rows} ON CONFLICT DO NOTHING"
    connection.execute(sql(note), values)


def _behind(connection: Connection, name: str, key: str, after: int, rows: int) -> int | None:
    """Give the key of about the row `rows` behind `after`; None if there is no row behind it."""
    place = f"SELECT {key} FROM {name} WHERE {key} > :after ORDER BY {key}"  # noqa: S608 - as above
    values = {"after": after, "rows": max(0, rows - 1)}
    found = connection.scalar(sql(f"{place} LIMIT 1 OFFSET :rows"), values)
    if found is None:
        most = f"SELECT max({key}) FROM {name} WHERE {key} > :after"  # noqa: S608 - as above
        found = connection.scalar(sql(most), {"after": after})
    return None if found is None else int(found)
