"""What a committer takes of a batch: a host's key may have been stolen, and other hosts go on."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from auditsvc.fleet.commit import _checked
from auditsvc.fleet.names import BATCH
from auditsvc.fleet.schema import schema

KEY = ("web1", "a" * 32)
MADE = 1_764_428_400


def batch(time=MADE, **told):
    """Give the first batch of a store, with one event of a time, and what it tells of itself."""
    says = {"n": 1, "events": 1, "missing": 0, "made": float(MADE), "ledger": {}} | told
    own = {"event_id": -1, "time": MADE * 1_000_000, "type": BATCH, "fields": json.dumps(says)}
    event = {"event_id": 5, "time": time * 1_000_000, "type": "SYSCALL", "fields": None}
    known = {"host": KEY[0], "store": KEY[1], "batch": 1, "version": 0}
    rows = [known | own, known | event]
    out = io.BytesIO()
    named = {name: pa.array([row[name] for row in rows]) for name in rows[0]}
    parquet.write_table(
        pa.table({name: each.cast(schema().field(name).type) for name, each in named.items()}), out
    )
    return out.getvalue()


def test_what_a_host_tells_is_what_a_watermark_has():
    """Its counts over all its logs."""
    _, told = _checked(batch(ledger={"a": {"stored": 2}, "b": {"stored": 3, "end": 1}}), KEY, 1)
    assert (told["ledger"], told["made"]) == ({"stored": 5, "end": 1}, MADE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ledger": {"a": {"stored": "many"}}},
        {"ledger": {"a": {"stored": None}}},
        {"ledger": {"a": 1}},
        {"ledger": [1]},
        {"events": float("inf")},
        {"made": "now"},
        {"made": None},
        {"made": float("nan")},
        {"made": -1e308},
        {"n": 7},
        {"time": 1 << 40},
        {"time": -1},
    ],
    ids=str,
)
def test_what_no_host_of_ours_tells_is_refused(wrong):
    """It stays in the inbox; else it would end the committer, or the list of all hosts."""
    with pytest.raises(ValueError, match=r"^(what it tells|it has a time|it says that it is)"):
        _checked(batch(**wrong), KEY, 1)


def test_what_is_built_to_be_misread_is_refused():
    """A column twice; JSON that is nested too deep."""
    table = parquet.read_table(io.BytesIO(batch()))
    out = io.BytesIO()
    parquet.write_table(table.append_column("host", table["host"]), out)
    with pytest.raises(ValueError, match="it cannot be read"):
        _checked(out.getvalue(), KEY, 1)
    place, out = table.column_names.index("fields"), io.BytesIO()
    deep = pa.array(["[" * 500_000, None])
    parquet.write_table(table.set_column(place, "fields", deep), out)
    with pytest.raises(ValueError, match="what it tells of itself"):
        _checked(out.getvalue(), KEY, 1)
