"""`auditsvc.arrow.sqlite_rows`: the native core and the driver's objects give the same columns."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, exc

from auditsvc import native
from auditsvc.arrow import room, sqlite_rows
from auditsvc.arrow.sqlite_rows import read_columns
from auditsvc.arrow.where import Where
from auditsvc.errors import StoreError, TooMuchError

INTEGERS = st.none() | st.integers(-(1 << 63), (1 << 63) - 1)
TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]))
EVERY = Where("1 = 1")


@pytest.fixture(params=["native", "driver"])
def _way(request, monkeypatch):
    """Have columns read in one way."""
    if request.param == "native" and not native.is_built():
        pytest.skip("the native core is not built")
    if request.param == "driver":
        monkeypatch.setattr(sqlite_rows, "native_core", lambda: None)


@pytest.fixture
def connection():
    """Give a connection to a database in memory."""
    with create_engine("sqlite://").connect() as connection:
        yield connection


@given(st.lists(st.tuples(INTEGERS, TEXTS), max_size=40))
def test_rows_come_as_they_are(rows):
    """Integers of 64 bits and texts of any characters, NULL among them, in both ways."""
    for core in (native.native_core, lambda: None):
        with pytest.MonkeyPatch.context() as patch, create_engine("sqlite://").connect() as held:
            patch.setattr(sqlite_rows, "native_core", core)
            held.exec_driver_sql("CREATE TABLE t (place INTEGER PRIMARY KEY, n INTEGER, word TEXT)")
            for place, row in enumerate(rows):
                held.exec_driver_sql("INSERT INTO t VALUES (?, ?, ?)", (place, *row))
            kinds = {"n": pa.int64(), "word": pa.string()}
            sql = "SELECT n, word FROM t ORDER BY place"
            found = read_columns(held, kinds, sql, EVERY)
            found.validate(full=True)
            assert found.schema == pa.schema(kinds.items())
            assert [tuple(row.values()) for row in found.to_pylist()] == rows


@pytest.mark.usefixtures("_way")
def test_many_columns_come_beside_each_other(connection):
    """As many as a view has, and more."""
    names = [f"c{number}" for number in range(250)]
    shown = ", ".join(f"{place} * n AS {name}" for place, name in enumerate(names))
    sql = f"SELECT {shown} FROM (SELECT 1 AS n UNION ALL SELECT 2) ORDER BY n DESC"
    found = read_columns(connection, dict.fromkeys(names, pa.int64()), sql, EVERY)
    assert found.to_pylist() == [
        {name: times * place for place, name in enumerate(names)} for times in (2, 1)
    ]


@pytest.mark.usefixtures("_way")
def test_values_of_a_condition_are_given(connection):
    """By their names."""
    where = Where("n > :least", {"least": 1})
    sql = f"SELECT n FROM (SELECT 1 AS n UNION ALL SELECT 2) WHERE {where.text}"
    assert read_columns(connection, {"n": pa.int64()}, sql, where).to_pylist() == [{"n": 2}]


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize(("kind", "value"), [("int64", "'one'"), ("string", "1"), ("int64", "1.5")])
def test_a_value_of_another_kind_is_an_error(connection, kind, value):
    """It is never shown as something that it is not."""
    kinds = {"n": getattr(pa, kind)()}
    with pytest.raises(StoreError, match="another"):
        read_columns(connection, kinds, f"SELECT {value} AS n", EVERY)


@pytest.mark.usefixtures("_way")
def test_a_text_that_is_no_utf8_is_an_error(connection):
    """As a file of another program may have it."""
    with pytest.raises(exc.OperationalError):
        read_columns(connection, {"n": pa.string()}, "SELECT CAST(x'ff' AS TEXT) AS n", EVERY)


def test_a_column_that_has_no_room_is_told_by_its_name(connection, monkeypatch):
    """Who asks can ask for fewer rows: Arrow itself has 2 GiB for a column."""
    monkeypatch.setattr(sqlite_rows, "native_core", lambda: None)
    monkeypatch.setattr(room, "MOST", 1000)
    kinds, sql = {"word": pa.string()}, "SELECT printf('%.*c', {0}, 'x') AS word"
    assert len(read_columns(connection, kinds, sql.format(900), EVERY)) == 1
    with pytest.raises(TooMuchError):
        read_columns(connection, kinds, sql.format(1001), EVERY)


@pytest.mark.long
def test_the_native_core_tells_it_in_the_same_words(connection):
    """It takes a gigabyte of memory to see."""
    texts = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 65)"
    sql = f"{texts} SELECT printf('%.*c', {1 << 24}, 'x') AS word FROM n"
    with pytest.raises(TooMuchError):
        read_columns(connection, {"word": pa.string()}, sql, EVERY)
