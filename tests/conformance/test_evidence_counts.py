"""What is counted of stored events is held to them by all that it is counted by, also settled."""

from __future__ import annotations

import pytest
from fixtures.collected import fill, load, verify
from fixtures.evidence import Run
from sqlalchemy import create_engine, inspect, text

from auditsvc.store import open_store
from auditsvc.store.databases import parse_url

pytestmark = pytest.mark.usefixtures("unsynced")

COUNTS = {
    "activity_part": "calls are counted wrong",
    "activity_row": "calls are counted wrong",
    "context_row": "calls are counted wrong",
    "file_part": "uses of files are counted wrong",
    "file_row": "uses of files are counted wrong",
}


def _changes(engine, table):
    """Give each change of a column of one row, and its deletion."""
    columns = [each["name"] for each in inspect(engine).get_columns(table)]
    with engine.connect() as connection:
        row = connection.execute(text(f"SELECT * FROM {table} LIMIT 1")).one()
    where = " AND ".join(f"{name} = {row._mapping[name]}" for name in columns)
    yield from (f"UPDATE {table} SET {each} = {each} + 7 WHERE {where}" for each in columns)
    yield f"DELETE FROM {table} WHERE {where}"


def _filled(engine):
    with engine.connect() as connection:
        return [
            table
            for table in COUNTS
            if connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
        ]


@pytest.mark.parametrize("is_settled", [False, True], ids=["parts", "settled"])
def test_each_column_of_what_is_counted_is_held_to_the_events(new_url, tmp_path, is_settled):
    """One row is altered, or deleted, at a time, and put back."""
    spool = tmp_path / "spool"
    run = Run(spool, segment_bytes=4096)
    fill(run, range(2), 2)
    run.end()
    load(new_url, spool)
    if is_settled:
        with open_store(new_url) as store:
            store.source("file", "any")  # counts what waits
            store.settle(all_of_it=True)
    assert verify(new_url, spool).findings == []
    engine = create_engine(parse_url(new_url))
    tables = _filled(engine)
    assert {"activity_row", "context_row"} <= {*tables} or not is_settled
    for table in tables:
        for statement in _changes(engine, table):
            with engine.begin() as connection:
                kept = connection.execute(text(f"SELECT * FROM {table}")).mappings().all()
                assert connection.execute(text(statement)).rowcount
            found = [each.what for each in verify(new_url, spool).findings]
            assert any(COUNTS[table] in each for each in found), statement
            with engine.begin() as connection:
                connection.execute(text(f"DELETE FROM {table}"))
                names = kept[0].keys()
                values = ", ".join(f":{name}" for name in names)
                insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"
                connection.execute(text(insert), [dict(each) for each in kept])
    engine.dispose()
    assert verify(new_url, spool).findings == []
