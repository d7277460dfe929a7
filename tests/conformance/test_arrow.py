"""`auditsvc.arrow` and the library: what Arrow has is what the views say."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pytest
from fixtures.logs import call, end, load, opening, path, record, rows
from fixtures.terminal import PLAIN, Terminal
from pyarrow import ipc, parquet

import auditsvc
from auditsvc.arrow.answer import table_of
from auditsvc.arrow.columns import BESIDE, LISTS, TIME
from auditsvc.errors import AuditsvcError, ConfigError, QueryError, SpoolError, UsageError
from auditsvc.store.read.result import Result

DATA = Path(__file__).parents[1] / "data"
LOG = (DATA / "mixed.log").read_text(errors="surrogateescape")
PROGRAM = Path(sys.executable).with_name("auditsvc")
INTERPRETER = (sys.executable, "-P", "-c")
"""Without this folder on its path, which has the source and not the package."""
JSON = ("argv", "parent_argv", "fields")

OTHER = "node=other "

# Beside the recorded log: an event without its call, one without its files, a name of odd bytes,
# an event of a past day, one of another host, and numbers of 64 bits.
OTHERS = (
    opening(900_001, a0="ffffffffffffffff", exit="-9223372036854775808", success="no")
    + path(900_001, 'tab\\tand"quote', item=0)
    + path(900_001, "second", item=1)
    + end(900_001)
    + opening(900_002, second=1_600_000_000)
    + opening(900_003, node=OTHER)
    + record(
        "PATH", 900_003, "item=0 name=00C3A9FF22 inode=18446744073709551615", node="node=other "
    )
    + record("USER_CMD", 900_004, "pid=1 uid=0 auid=5 ses=3 msg='cmd=\"x\" res=success'")
    + path(900_005, "orphan")
    + call(900_006, items=2)
)


@pytest.fixture(scope="module")
def filled(common_url):
    """Give a store with events of every kind."""
    load(common_url, LOG.encode(errors="surrogateescape") + OTHERS.encode())
    return common_url


@pytest.fixture(scope="module")
def wide(filled):
    """Give all wide rows of that store."""
    with auditsvc.open_store(filled) as store:
        return store.table()


def plain(name, value):
    """Give a value as the views of SQLite have it; JSON as what it says."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:23]
    if name in JSON and isinstance(value, str):
        return json.loads(value)
    return int(value) if isinstance(value, bool) else value


def asked(url, view):
    """Give the rows of a view, in the order in which they can be compared."""
    found = [
        {name: plain(name, _moment(name, value)) for name, value in row.items()}
        for row in rows(url, f"SELECT * FROM {view}")
    ]
    return sorted(found, key=repr)


def _moment(name, value):
    if name == "time" and "+" in value:  # PostgreSQL's
        return datetime.fromisoformat(value)
    return value


def told(events, view):
    """Give what wide rows say of a view, in the same form."""
    if view in LISTS:
        found = [
            {"event_id": event["event_id"], **each} for event in events for each in event[view]
        ]
    elif view in BESIDE:
        names = {"event_id": "event_id", **BESIDE[view]}
        found = [{name: event[of] for name, of in names.items()} for event in events]
        found = [each for each in found if any(each[name] for name in BESIDE[view])]
    else:
        found = [event for event in events if (event["type"] == "SYSCALL") == (view == "syscalls")]
    return [{name: plain(name, value) for name, value in each.items()} for each in found]


@pytest.mark.parametrize("view", ["syscalls", "events", *LISTS, *BESIDE])
def test_the_wide_rows_are_the_views_row_for_row(filled, wide, view):
    """Every row and every column of a view is in the wide rows, with its value, and no other."""
    events = wide.to_pylist()
    wanted = asked(filled, view)
    assert wanted
    found = [{name: each[name] for name in wanted[0]} for each in told(events, view)]
    assert sorted(found, key=repr) == wanted


def test_a_batch_ends_where_it_may(filled, wide):
    """Batches of any size give the same rows, in order; an event is whole in its batch."""
    with auditsvc.open_store(filled) as store:
        batches = list(store.batches(size=19))
    assert max(map(len, batches)) == 19
    assert pa.Table.from_batches(batches).to_pylist() == wide.to_pylist()
    ids = wide["event_id"].to_pylist()
    assert ids == sorted(ids)


def test_types_are_those_of_the_columns(filled, wide):
    """A time is a timestamp, an id a number, `success` a truth value, also where all are NULL."""
    schema = wide.schema
    with auditsvc.open_store(filled) as store:
        assert next(store.batches(size=1)).schema == schema
    kinds = {name: schema.field(name).type for name in ("time", "pid", "success", "exe", "unit")}
    assert kinds == {
        "time": TIME,
        "pid": pa.int64(),
        "success": pa.bool_(),
        "exe": pa.string(),
        "unit": pa.string(),
    }
    of_path = schema.field("paths").type.value_type
    assert {name: of_path.field(name).type for name in ("inode", "mode")} == {
        "inode": pa.int64(),
        "mode": pa.string(),
    }


def test_columns_and_times_that_are_asked_for(filled):
    """Only these columns, in this order; and the events that the view has in that time."""
    with auditsvc.open_store(filled) as store:
        table = store.table(["exe", "paths", "time"], until="2021-01-01")
        assert table.column_names == ["exe", "paths", "time"]
        assert len(table) == 1
        later = store.table(["event_id"], since=datetime(2021, 1, 1, tzinfo=UTC))
        assert len(later) == len(store.table(["event_id"])) - 1
        with pytest.raises(UsageError, match="no column exes"):
            store.table(["exes"])
        assert store.table(since="2199-01-01").to_pylist() == []


def test_an_answer_in_columns(filled):
    """A query's columns have the types of the views' columns, with the values of its rows."""
    sql = "SELECT event_id, time, success, exe, exit FROM syscalls ORDER BY event_id"
    with auditsvc.open_store(filled) as store:
        answer = store.query(sql)
        table = answer.arrow()
        assert table.schema.types == [pa.int64(), TIME, pa.bool_(), pa.string(), pa.int64()]
        shown = [{n: plain(n, v) for n, v in row.items()} for row in table.to_pylist()]
        assert shown == [
            {n: plain(n, _moment(n, v)) for n, v in row.items()} for row in rows(filled, sql)
        ]
        assert len(answer) == len(list(answer)) == len(table)
        assert answer.dicts()[0]["exe"] == table["exe"][0].as_py()
        with pytest.raises(QueryError):
            store.query("DELETE FROM syscall")


@pytest.mark.parametrize(
    ("values", "kind", "given"),
    [
        ([1, None, 2], pa.int64(), [1, None, 2]),
        ([1, 2.5], pa.float64(), [1.0, 2.5]),
        ([1, "x", None], pa.string(), ["1", "x", None]),
        ([1 << 70], pa.string(), [str(1 << 70)]),
        ([None, None], pa.string(), [None, None]),
        ([b"\xff", "x"], pa.string(), ["ff", "x"]),
        ([{"a": [1]}, None], pa.string(), ['{"a": [1]}', None]),
        ([*[1] * 10_000, "x"], pa.string(), [*["1"] * 10_000, "x"]),
        ([*[1] * 10_000, 0.5], pa.float64(), [*[1.0] * 10_000, 0.5]),
        ([*[(1 << 53) + 1] * 10_000, 0.5], pa.string(), [*[str((1 << 53) + 1)] * 10_000, "0.5"]),
    ],
    ids=lambda each: str(each)[:20],
)
def test_a_column_of_any_values_has_one_type(values, kind, given):
    """Also where a later value is of another type; nothing is lost."""
    column = table_of(Result(("n",), [(value,) for value in values]))["n"]
    assert column.type == kind
    assert column.to_pylist() == given


@pytest.mark.parametrize(
    ("name", "values"),
    [("time", ["yesterday"]), ("time", ["2026-11-29"]), ("success", [7]), ("pid", ["7"])],
)
def test_a_name_alone_changes_no_value(name, values):
    """A column that only has the name of a view's column keeps its values."""
    table = table_of(Result((name, name), [(value, value) for value in values]))
    assert table.column_names == [name, f"{name}_2"]
    assert table[name].to_pylist() == values


def run(*words, code=0):
    """Run the program; give what it wrote to both streams."""
    done = subprocess.run([PROGRAM, *words], capture_output=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr.decode()


def test_query_writes_arrow_and_parquet(tmp_path):
    """Both can be read again and have the same rows; and a pipe is enough."""
    filled = f"sqlite:///{tmp_path}/store.db"
    load(filled, opening(1) + opening(2))
    sql = "SELECT * FROM syscalls ORDER BY event_id"
    with auditsvc.open_store(filled) as store:
        wanted = store.query(sql).arrow()
    out, _ = run("query", sql, "--store", filled, "--format", "arrow")
    assert ipc.open_stream(out).read_all().equals(wanted)
    out, _ = run("query", sql, "--store", filled, "--format", "parquet")
    assert parquet.read_table(pa.BufferReader(out)).equals(wanted)


def test_bytes_are_not_sent_to_a_terminal(tmp_path):
    """It is an error of one line, before anything is asked."""
    words = ("query", "SELECT 1", "--store", f"sqlite:///{tmp_path}/none.db", "--format", "arrow")
    with Terminal(PROGRAM, *words, environment=PLAIN) as terminal:
        terminal.until("which a terminal cannot show")


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pyarrow", "pandas", "polars", "duckdb"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


def test_without_pyarrow_there_are_rows_and_a_line_that_says_what_to_install(tmp_path):
    """A query's rows need no package beside auditsvc; what needs one says which."""
    (tmp_path / "a.log").write_text(opening(1))
    code = f"""{WITHOUT}
import auditsvc
from auditsvc.errors import ConfigError
with auditsvc.read_log({str(tmp_path / "a.log")!r}) as log:
    answer = log.query("SELECT serial FROM syscalls")
    print(answer.rows)
    for asked in (answer.arrow, answer.pandas, answer.polars, log.table):
        try:
            asked()
        except ConfigError as error:
            print(error)
from auditsvc.cli import main
sys.argv = ["auditsvc", "query", "SELECT 1", "--format", "parquet"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    line = "pyarrow is not installed; pip install 'auditsvc[arrow]', or make deb EXTRAS=arrow"
    assert done.stdout.splitlines() == ["[(1,)]", *[line] * 4]
    assert done.stderr.strip().endswith(line)
    assert "Traceback" not in done.stderr
    assert done.returncode == 2


def test_the_service_imports_none_of_it():
    """Neither the service nor a command loads a package of the extras."""
    code = """
import pkgutil, sys, auditsvc
from importlib import import_module
for each in pkgutil.walk_packages(auditsvc.__path__, "auditsvc."):
    extras = ("auditsvc.arrow.", "auditsvc.archive.", "auditsvc.fleet.")
    if not each.name.startswith((*extras, "auditsvc.__main__", "auditsvc.migrations.")):
        import_module(each.name)
assert "auditsvc.service.run" in sys.modules
print([name for name in ("pyarrow", "duckdb", "pandas", "polars", "numpy") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_log_is_read_without_a_store(tmp_path):
    """Its events are those of a store that the log was loaded into, and nothing is left behind."""
    (tmp_path / "a.log").write_text(LOG, errors="surrogateescape")
    url = f"sqlite:///{tmp_path}/store.db"
    load(url, LOG.encode(errors="surrogateescape"))
    (tmp_path / "made").mkdir()
    odd = {"origin_kind", "origin_source"}
    with (
        auditsvc.read_log(tmp_path / "a.log", host="test-host", folder=tmp_path / "made") as log,
        auditsvc.open_store(url) as store,
    ):
        columns = [c for c in store.table().column_names if c not in odd and c != "host"]
        key = {"serial", "time", "type", "records", "paths", "exe", "argv", "a0"} & set(columns)
        found = log.table(sorted(key)).to_pylist()
        assert sorted(map(repr, found)) == sorted(map(repr, store.table(sorted(key)).to_pylist()))
        assert [event["serial"] for event in log.events(["serial"])] == [
            event["serial"] for event in log.events()
        ]
        assert list((tmp_path / "made").iterdir())
    assert not list((tmp_path / "made").iterdir())


def test_what_is_wrong_with_a_log_is_said(tmp_path):
    """Lines that are no records are told of; a file that is not there is an error."""
    (tmp_path / "a.log").write_text(opening(1) + "no record\n")
    with auditsvc.read_log(tmp_path / "a.log") as log:
        assert len(log.query("SELECT 1 FROM syscalls")) == 1
        assert "no record" in log.problems[0]
    with pytest.raises(SpoolError, match=r"none\.log"):
        auditsvc.read_log(tmp_path / "none.log")
    with pytest.raises(AuditsvcError, match="no store"):
        auditsvc.open_store(f"sqlite:///{tmp_path}/none.db")


def test_who_reads_by_the_library_is_recorded_too(tmp_path):
    """A query and the reading of events are rows of the view `access`, with their counts."""
    url = f"sqlite:///{tmp_path}/store.db"
    load(url, opening(1) + opening(2))
    with auditsvc.open_store(url) as store:
        store.query("SELECT serial FROM syscalls")
        assert len(list(store.events(["serial"]))) == 2
    other = tmp_path / "again.log"
    other.write_text(opening(3))
    run("ingest", str(other), "--store", url)
    found = rows(url, "SELECT command, sql, rows FROM access WHERE command = 'library'")
    assert {(row["sql"], row["rows"]) for row in found} == {
        ("SELECT serial FROM syscalls", 2),
        (None, 2),
    }


def test_a_missing_frame_library_is_named(tmp_path):
    """Pandas and polars are optional: without them one line says so."""
    (tmp_path / "a.log").write_text(opening(1))
    with auditsvc.read_log(tmp_path / "a.log") as log:
        answer = log.query("SELECT serial FROM syscalls")
        for name in ("pandas", "polars"):
            if find_spec(name) is None:
                with pytest.raises(ConfigError, match=f"{name} is not installed"):
                    getattr(answer, name)()
            else:
                assert len(getattr(answer, name)()) == 1
