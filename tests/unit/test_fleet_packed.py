"""A batch has its rows in few bytes, and gives them back as they were."""

from __future__ import annotations

import io
import random

import pyarrow as pa
import pytest
from fixtures.repeats import seeds
from pyarrow import parquet

from auditsvc.fleet.commit import _rows_of
from auditsvc.fleet.packed import is_packed, packed, packed_schema, unpacked, written
from auditsvc.fleet.schema import schema

IDS = ("auid", "uid", "gid", "euid", "suid", "fsuid", "egid", "sgid", "fsgid")
NUMBERS = (None, 0, 0, 5, 1000, 4_294_967_295, -(1 << 63), (1 << 63) - 1)
TEXTS = (None, "", "system", "/x", "0", "1000", "\0", "\0\0", "\0/x", "5")


def rows(seed, count=300):
    """Give rows of the columns that are packed: whatever they may hold, often the same."""
    chance = random.Random(seed)
    made = []
    for n in range(count):
        row = {"event_id": n} | {name: chance.choice(NUMBERS) for name in IDS}
        row |= {name: chance.choice(TEXTS) for name in ("exe", "outcome")}
        story = {each.name: chance.choice(TEXTS) for each in schema().field("story").type}
        kind = schema().field("paths").type.value_type
        paths = [
            {each.name: chance.choice(TEXTS) for each in kind if each.type == pa.string()}
            for _ in range(chance.randrange(3))
        ]
        row["story"] = chance.choice((story, story, None))
        row["paths"] = chance.choice((paths, paths, None))
        made.append(row)
    return pa.Table.from_pylist(made, schema())


@pytest.mark.parametrize("seed", seeds(3, 60))
def test_rows_come_back_as_they_were(seed):
    """NULL, nothing, and texts that begin as the mark does; in one piece and in several."""
    whole = rows(seed)
    assert unpacked(packed(whole)).equals(whole)
    parts = pa.concat_tables([whole.slice(17, 50), whole.slice(70), whole.slice(3, 1)])
    assert unpacked(packed(parts)).equals(parts.combine_chunks())
    assert _rows_of(written(parts, {})).equals(parts.combine_chunks())
    for few in (whole.slice(0, 0), whole.slice(5, 3)):
        assert _rows_of(written(few, {})).to_pylist() == few.to_pylist()


def test_lists_without_rows_are_left_out_and_come_back():
    """NULL where there is no event; a list that one event has a row in is written whole."""
    empty = {"paths": [], "tamper": [], "logins": [], "records": [{"seq": 0, "type": "CWD"}]}
    made = [{"event_id": -1, "type": "FLEET_BATCH"}]
    made += [{"event_id": n, "type": "SYSCALL"} | empty for n in range(9)]
    made += [{"event_id": 9, "type": "FLEET_GONE"}]
    table = pa.Table.from_pylist(made, schema())
    data = written(table, {})
    names = parquet.read_schema(io.BytesIO(data)).names
    assert "records" in names
    assert "access" in names  # NULL where an event has a list: not what it is without rows
    assert not {"paths", "tamper", "logins"} & set(names)
    assert _rows_of(data).equals(table)


def test_a_batch_of_an_older_program_is_read():
    """It has its columns as they are."""
    whole, out = rows(1), io.BytesIO()
    parquet.write_table(whole, out)
    assert _rows_of(out.getvalue()).equals(whole)


def test_an_older_program_refuses_what_it_would_misread():
    """It knows no column with the name of a difference."""
    assert set(packed_schema().names) - set(schema().names)
    assert is_packed(packed_schema().names)
    assert not is_packed(schema().names)


def test_what_mostly_is_the_same_takes_no_room():
    """Ids that are one id, a path that is its name, and a story of them."""
    call = {"event_id": 1, "outcome": "success", "exe": "/bin/cat"}
    told = {"actor": "1000", "as_user": "1000", "outcome": "success", "how": "/bin/cat"}
    names = [f"/etc/{random.Random(n).random()}" for n in range(3000)]
    made = [
        call
        | dict.fromkeys(IDS, 1000)
        | {"paths": [{"name": name, "path": name}], "story": told | {"object": name}}
        for name in names
    ]
    table = pa.Table.from_pylist(made, schema())
    bare = table.set_column(
        table.column_names.index("story"),
        "story",
        pa.nulls(len(table), schema().field("story").type),
    )
    assert len(written(table, {})) < 1.1 * len(written(bare, {}))
