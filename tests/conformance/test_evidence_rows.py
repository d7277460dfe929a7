"""Each way to change the rows of a store shows, as they no longer are those of the lines."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from functools import cache

import pytest
from fixtures.collected import DAY, day_of_lines, fill, load, verify
from fixtures.enriched import enriched
from fixtures.evidence import Run
from fixtures.logs import call, end, path
from fixtures.logs import load as load_log
from fixtures.repeats import some
from fixtures.store_changes import FORGED, ROWS, change, copied, on_stores, rename, settled
from sqlalchemy import create_engine, inspect, text

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.evidence.folder import Folder
from auditsvc.evidence.head import parse_head
from auditsvc.evidence.stored import StoreSide, stored_heads
from auditsvc.evidence.verify import verify_spool
from auditsvc.spool import retention
from auditsvc.spool.identity import source_name
from auditsvc.spool.segments import segment_path, segments
from auditsvc.spool.writer import SpoolWriter
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.databases import parse_url
from auditsvc.store.schema import FACTS

pytestmark = pytest.mark.usefixtures("unsynced")

DAYS, EACH = 2, 5


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Make a signed spool once."""
    folder = tmp_path_factory.mktemp("spool")
    run = Run(folder, segment_bytes=4096)
    fill(run, range(DAYS), EACH)
    run.end()
    return folder


@pytest.fixture
def spool(model, tmp_path):
    """Give a signed spool."""
    return shutil.copytree(model, tmp_path / "spool")


@pytest.fixture(scope="module")
def loaded(model, store_of_kind):
    """Give a function that loads the spool into a store of each kind once."""

    @cache
    def of_kind(kind):
        url = store_of_kind(kind)
        assert load(url, model) == DAYS * EACH * 4
        return settled(url)

    return of_kind


@pytest.fixture
def stored(request, spool, loaded, kind, tmp_path):
    """Give a store into which the spool was loaded: a copy."""
    with copied(request, loaded(kind), tmp_path) as url:
        rename(url, spool)
        yield url


ALWAYS = (
    "a call is deleted",
    "a result is changed",
    "a text is changed",
    "a text is deleted",
    "the view of a table is replaced",
    "all is deleted",
)
SHORT = {
    "sqlite": {*ALWAYS, *some(ROWS, "sqlite", 9)},
    "postgres": {*ALWAYS, *some(ROWS, "postgres", 2)},
}
"""What the short suite tries on each kind of store; with --long it is all."""
ON_STORES = on_stores(ROWS, SHORT)


@pytest.mark.parametrize(("kind", "what"), ON_STORES)
def test_a_change_of_rows_shows(spool, stored, what):
    """As a finding; the lines themselves are as they were."""
    statements = ROWS[what]
    change(stored, *([statements] if isinstance(statements, str) else statements))
    report = verify(stored, spool)
    assert report.findings, what
    assert {finding.kind for finding in report.findings} == {"store"}
    assert verify_spool(spool).is_proved


@pytest.mark.one_database
def test_the_rows_of_a_spool_are_proved(spool, stored):
    """All of them, also after more was loaded, and in pieces."""
    report = verify(stored, spool)
    assert report.findings == []
    assert report.events == DAYS * EACH * 4
    run = Run(spool, segment_bytes=4096)
    fill(run, [3], 7)
    run.end()
    assert verify(stored, spool).findings == []  # lines that are not loaded yet
    load(stored, spool, finish=False)
    report = verify(stored, spool)
    assert report.findings == []
    assert report.events == (DAYS * EACH + 7) * 4


def test_an_event_that_was_changed_is_named(spool, stored):
    """With its id and time; an invented one too."""
    change(stored, ROWS["a result is changed"], ROWS["an event is invented"])
    found = [str(finding) for finding in verify(stored, spool).findings]
    assert any("UTC has another" in each and "2025-06-15 15:06:40" in each for each in found)
    assert any(f"that no segment had: event {FORGED}" in each for each in found)


def test_who_deletes_one_row_and_invents_another_is_found(spool, stored):
    """The count of rows is as before."""
    change(
        stored,
        ROWS["a call is invented"],
        "DELETE FROM syscall WHERE id = (SELECT max(id) FROM syscall)",
    )
    assert verify(stored, spool).findings


def test_a_trigger_that_takes_rows_away_is_found(spool, stored):
    """And what it has taken."""
    if stored.startswith("sqlite"):
        change(stored, "CREATE TRIGGER t AFTER INSERT ON syscall BEGIN DELETE FROM syscall; END")
    else:
        change(
            stored,
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "CREATE TRIGGER t BEFORE INSERT ON syscall FOR EACH ROW EXECUTE FUNCTION f()",
        )
    found = verify(stored, spool).findings
    assert "holds what auditsvc did not make: trigger" in str(found[0])


def test_flipped_bytes_are_found(spool, tmp_path):
    """Of the file of a store; wherever they are."""
    url = f"sqlite:///{tmp_path}/flipped.db"
    load(url, spool)
    file = tmp_path / "flipped.db"
    engine = create_engine(parse_url(url))
    with engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    engine.dispose()
    whole = file.read_bytes()
    for word in (b"/etc/f1", b"acct", b"/usr/bin/cat"):
        at = whole.index(word)
        file.write_bytes(whole[:at] + bytes([whole[at + 1] ^ 1]) + whole[at + 1 :])
        assert verify(url, spool).findings, word
    pages = range(2048, len(whole), 2048 * 7)
    for page in some(pages, "pages", 4):
        file.write_bytes(whole[:page] + bytes(2048) + whole[page + 2048 :])
        assert verify(url, spool).findings, page


@pytest.mark.one_database
def test_an_event_that_came_in_parts_is_no_tampering(spool, stored):
    """A pause between its records: a part was stored, the rest was merged into it."""
    run = Run(spool, segment_bytes=1 << 20)
    run.writer.append(call(900_001, items=2).encode())
    run.writer.append(path(900_001, "/one").encode())
    load(stored, spool)  # ends what is open, as the idle time does
    run.writer.append((path(900_001, "/two", item=1) + call(900_002)).encode())
    run.end()
    load(stored, spool)
    report = verify(stored, spool)
    assert report.findings == []
    assert "1 event came in parts" in " ".join(report.notes)
    change(stored, "UPDATE syscall SET a1 = 7 WHERE serial = 900001")
    assert verify(stored, spool).findings


def bind(url, spool, *, serials=3):
    """Load more, and have a head bind the store and go into it; gives the heads."""
    run = Run(spool, segment_bytes=4096)
    fill(run, [5], serials)
    load(url, spool, finish=False)
    side = StoreSide(source_name(spool), spool, every=0, newest=lambda: run.heads[-1])
    with open_store(url) as store:
        side.step(store)
        run.notary.store = lambda: side.bound
        fill(run, [6], 1)
        side.step(store)
    run.end()
    return run.heads


@pytest.mark.one_database
def test_a_store_that_a_head_binds_is_proved(spool, stored):
    """Its identity, schema, checkpoint and ledger; and it has the heads."""
    head = parse_head(bind(stored, spool)[-1])
    assert head.store["segment"] > 1
    assert head.store["ledger"]["received"] > 100
    report = verify(stored, spool)
    assert report.findings == []
    with open_store(stored, read=True) as store, reading(store.database) as connection:
        assert stored_heads(connection, head.spool)[-1].n in (head.n, head.n - 1)


@pytest.mark.one_database
def test_a_store_that_was_put_back_is_found(spool, stored):
    """To a consistent earlier state, as by an older copy, or by deleting its write-ahead log."""
    engine = create_engine(parse_url(stored))
    counts = ["activity_part", "activity_row", "context_row", "file_part", "file_row", "file_taken"]
    tables = ["source", "ledger_entry", *counts, *(t.name for t in FACTS)]
    with engine.begin() as connection:
        before = {t: connection.execute(text(f"SELECT * FROM {t}")).all() for t in tables}
    bind(stored, spool)
    with engine.begin() as connection:
        for table in tables:
            connection.execute(text(f"DELETE FROM {table}"))
            columns = inspect(connection).get_columns(table)
            names = ", ".join(f'"{each["name"]}"' for each in columns)
            marks = ", ".join(f":{n}" for n in range(len(columns)))
            statement = text(f"INSERT INTO {table} ({names}) VALUES ({marks})")
            for row in before[table]:
                connection.execute(statement, {str(n): value for n, value in enumerate(row)})
    engine.dispose()
    found = [str(each) for each in verify(stored, spool).findings]
    # The signs of processes were not put back.
    (finding, *others) = [each for each in found if "a sign of process" not in each]
    assert "the store has lost rows" in finding
    assert all("the ledger says" in each for each in others)


def test_a_write_ahead_log_that_is_deleted_is_found(spool, tmp_path):
    """The file is a consistent store without it, with fewer rows."""
    url = f"sqlite:///{tmp_path}/wal.db"
    load(url, spool)
    file, wal, kept = (tmp_path / name for name in ("wal.db", "wal.db-wal", "kept.db"))
    # As long as somebody reads, what is written stays in the write-ahead log.
    with closing(sqlite3.connect(file)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM source").fetchone()
        bind(url, spool)
        assert wal.stat().st_size > 4096
        shutil.copy(file, kept)
    shutil.copy(kept, file)
    wal.unlink(missing_ok=True)
    assert any("has lost rows" in str(each) for each in verify(url, spool).findings)


@pytest.mark.one_database
def test_an_emptied_or_another_store_is_found(spool, stored, tmp_path):
    """Nothing in it contradicts the log; but a head was signed for another."""
    bind(stored, spool)
    other = f"sqlite:///{tmp_path}/other.db"
    open_store(other).close()
    assert "another store than head" in str(verify(other, spool).findings[0])
    load(other, spool)
    assert "another store than head" in str(verify(other, spool).findings[0])
    change(stored, "DELETE FROM source", "DELETE FROM ledger_entry")
    assert any("has lost rows" in str(each) for each in verify(stored, spool).findings)


@pytest.mark.one_database
def test_a_ledger_that_was_less_than_a_head_says_is_found(spool, stored):
    """Also where the lines that were counted are no longer there."""
    bind(stored, spool)
    change(
        stored, "UPDATE ledger_entry SET count = count - 1 WHERE cause IN ('stored', 'received')"
    )
    found = [str(each) for each in verify(stored, spool).findings]
    assert any("the ledger says stored" in each and "in head" in each for each in found)


def test_a_cut_log_shows_by_the_heads_in_the_store(spool, stored):
    """Its end, and the heads of it, were removed."""
    bind(stored, spool)
    folder = Folder(spool)
    path = folder.heads_path(folder.segments()[-1])
    heads = path.read_text().splitlines(keepends=True)
    path.write_text("".join(heads[:1]))
    found = [str(each) for each in verify(stored, spool).findings]
    assert any("the log was cut" in each for each in found)


@pytest.mark.one_database
def test_a_store_that_began_later_is_held_to_what_it_began_with(spool, stored, tmp_path):
    """`run --from now`: what the spool had before was never loaded."""
    run = Run(spool, segment_bytes=4096)
    began = run.writer.place
    fill(run, [4], 3)
    url = f"sqlite:///{tmp_path}/late.db"
    load(url, spool, began=began)
    side = StoreSide(source_name(spool), spool, every=0, newest=lambda: "")
    side.began = began
    with open_store(url) as store:
        side.step(store)
    run.notary.store = lambda: side.bound
    fill(run, [5], 1)
    run.end()
    report = verify(url, spool)
    assert report.findings == []
    assert report.events == 12
    run = Run(spool)  # the next run binds it too, although it was not told
    run.notary.store = lambda: {k: v for k, v in side.bound.items() if k != "from"}
    fill(run, [6], 1)
    run.end()
    assert verify(url, spool).findings == []
    assert stored


@pytest.mark.one_database
@pytest.mark.parametrize(
    "lines_left", [2, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 3))]
)
def test_segments_that_went_before_signing_began_are_no_tampering(url, tmp_path, lines_left):
    """A spool of an older program, whose first segments were deleted when nothing was signed.

    The first event that is there has lost its first lines with them.
    """
    spool = tmp_path / "old"
    with SpoolWriter(spool, segment_bytes=1 << 30, fsync="none") as writer:
        for n in range(600):
            writer.append(day_of_lines(0, 4 * n + 1))
        torn = call(2401, items=2) + path(2401, "/gone") + path(2401, "/left", item=1) + end(2401)
        lines = torn.encode().splitlines(keepends=True)
        writer.append(b"".join(lines[:-lines_left]))
        writer.rotate()
        writer.append(b"".join(lines[-lines_left:]))
        for n in range(601, 1300):
            writer.append(day_of_lines(1, 4 * n + 1))
    load(url, spool)
    retention.delete(spool, [1])
    run = Run(spool)
    fill(run, [2], 1)
    run.end()
    load(url, spool)
    report = verify(url, spool)
    assert report.findings == []
    assert report.events > 1000  # all but a few at the beginning
    assert "segments were deleted" in " ".join(report.notes)
    changed = "SELECT id FROM syscall WHERE nr = 42 ORDER BY id DESC LIMIT 1"
    assert change(url, f"UPDATE syscall SET a1 = 7 WHERE id IN ({changed})") == 1
    assert verify(url, spool).findings


@pytest.mark.one_database
def test_rows_of_other_logs_are_left_out(spool, stored):
    """What was ingested beside is neither proved nor a finding; a change of it is not found."""
    other = "".join(call(n, second=DAY + 86400 * 30) for n in range(5, 9))
    load_log(stored, other.encode(), "/other.log")
    assert verify(stored, spool).findings == []
    low = (DAY + 86400 * 30) << SERIAL_BITS
    assert change(stored, f"UPDATE syscall SET a1 = 7 WHERE id >= {low}") == 4
    assert verify(stored, spool).findings == []


@pytest.mark.parametrize("order", ["spool first", "log first", "a part first"])
def test_names_of_an_enriched_log_change_no_row_of_the_spool(spool, url, order):
    """Auditd's ENRICHED log of the same events beside it: the spool's rows are its lines' rows.

    So who changes one of them is found as before.
    """
    lines = b"".join(segment_path(spool, each).read_bytes() for each in segments(spool))
    named = enriched(lines)
    if order == "a part first":
        part = named.splitlines(keepends=True)[1::2]
        load_log(url, b"".join(part), "/part.log", host="here")
    if order != "spool first":
        load_log(url, named, "/audit.log", host="here")
    assert load(url, spool) == (DAYS * EACH * 4 if order == "spool first" else 0)
    load_log(url, named, "/again.log", host="here")
    report = verify(url, spool)
    assert report.findings == []
    assert report.events == DAYS * EACH * 4
    for what in ("a result is changed", "an argument is changed"):
        assert change(url, ROWS[what])
        assert verify(url, spool).findings, what


@pytest.mark.one_database
def test_in_a_shared_store_the_rows_of_each_spool_are_proved(spool, stored, tmp_path):
    """But not that there are no others, which is said."""
    other = tmp_path / "another"
    run = Run(other)
    fill(run, [9], 2)
    run.end()
    load(stored, other)
    for each in (spool, other):
        report = verify(stored, each)
        assert report.findings == []
        assert "other spools" in " ".join(report.notes)
    change(stored, ROWS["an argument is changed"])
    assert verify(stored, spool).findings
    assert verify(stored, other).findings == []
    change(stored, ROWS["an event is invented"])
    assert verify(stored, other).findings == []
