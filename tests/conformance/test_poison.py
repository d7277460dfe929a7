"""No line stops the loader: numbers at and beyond every limit, bytes that are no text, faults.

Every view is read afterwards: a value that can be stored but not read is a fault too.
"""

from __future__ import annotations

import itertools
import re
import sqlite3

import psycopg
import pytest
from fixtures.logs import SECOND, balanced, call, ledger, load, opening, path, record, rows
from fixtures.repeats import examples, times
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from auditsvc.config import load_settings
from auditsvc.decode import DECODERS
from auditsvc.decode.batch import Batch
from auditsvc.errors import RefusedError, StoreError
from auditsvc.ingest.ingest import Ingest
from auditsvc.store import Checkpoint, objects_postgres, open_store, views
from auditsvc.store.write.writer import Writer


@pytest.fixture(autouse=True, params=list(DECODERS))
def decoder(request, monkeypatch):
    """Have the rows from each decoder."""
    monkeypatch.setenv("AUDITSVC_DECODER", request.param)


def ingest(url, folder, log):
    """Load a log as the command does."""
    file = folder / "audit.log"
    file.write_bytes(log if isinstance(log, bytes) else log.encode())
    job = Ingest(load_settings(store=url, host="box"), [file])
    job.run(lambda _: None)
    return job


def read_all(url):
    """Read every view to its end."""
    for view in views.NAMES:
        rows(url, f"SELECT * FROM {view}")


EDGES = [
    *(f"{sign}{(1 << bits) + step}" for bits in (15, 16, 31, 32, 63, 64) for step in (-1, 0, 1)
      for sign in ("", "-")),
    *("0", "-0", "-1", "00000000000000000001", "9" * 19, "9" * 20, "9" * 21, "9" * 400, "1e9"),
    *("0x7fffffffffffffff", "nan", "inf", "", "+1", "1_000", "\u0661\u0662"),
]  # fmt: skip

# A line of each type that has numbers somewhere, and of those that are read by us.
LINES = [
    *opening(11).splitlines(),
    path(12, "/x"),
    record("DAEMON_ERR", 13, "op=lost kernel=1 spool=2 overflows=3 pid=4 res=failed"),
    record("DAEMON_CONFIG", 14, "op=coverage began=1.5 comm=x threads=1 covered=1 pid=1 res=1"),
    record("DAEMON_CONFIG", 15, f"op=tamper what=x evidence={SECOND}.123:11 pid=1 auid=2 ses=3"),
    record("URINGOP", 16, "uring_op=18 success=yes exit=3 items=0 ppid=1 pid=2 uid=3"),
    record("USER_LOGIN", 17, "pid=1 uid=2 auid=3 ses=4 msg='op=login id=5 res=success'"),
    record("SECCOMP", 18, "auid=1 uid=2 gid=3 ses=4 pid=5 sig=31 arch=c000003e syscall=9 code=0x0"),
    record("EXECVE", 19, "argc=2 a0=41 a1_len=2 a1[0]=41 a1[1]=42"),
    record("SOCKADDR", 20, "saddr=020000507F0000010000000000000000"),
    record("CONFIG_CHANGE", 21, "op=set audit_backlog_limit=64 old=64 auid=1 ses=2 res=1"),
    record("UNKNOWN[1999]", 22, "a=1"),
    record("1998", 23, "a=1"),
]
NUMBER = re.compile(r"(?<=[=.:(\[])[0-9][0-9a-f]*")


def extremes():
    """Give every line with every number in it replaced by every edge, one at a time."""
    for line in LINES:
        for match in NUMBER.finditer(line):
            for edge in EDGES:
                yield line[: match.start()] + edge + line[match.end() :].rstrip("\n") + "\n"


@pytest.mark.one_database
def test_every_number_of_every_record_at_every_edge(url, tmp_path):
    """Whatever number is in whatever place, all of the log is loaded and can be read."""
    log = "".join(extremes())
    assert log.count("\n") > 3000
    ingest(url, tmp_path, log + opening(99, name="/behind"))
    assert balanced(url)
    assert rows(url, "SELECT count(*) AS n FROM paths WHERE name = '/behind'") == [{"n": 1}]
    assert rows(url, "SELECT sum(count) AS n FROM ledger WHERE cause = 'kernel_lost'") != []
    read_all(url)


def test_a_count_of_losses_that_nobody_can_have_counted(url):
    """A number of 64 bits in what looks like our own note adds nothing; one of ours does."""
    note = "op=lost kernel={} spool={} res=failed"
    log = record("DAEMON_ERR", 1, note.format(18446744073709551615, "9" * 19))
    load(url, log + record("DAEMON_ERR", 2, note.format(7, 5)), kind="spool")
    assert (ledger(url)["kernel_lost"], ledger(url)["spool_lost"]) == (7, 5)


@pytest.mark.one_database
def test_counts_that_grow_beyond_all_bounds(url, tmp_path):
    """A ledger's entry that has reached its end stays there."""
    with psycopg.connect(url) if url.startswith("postgresql") else _sqlite(url) as store:
        store.execute("UPDATE ledger_entry SET count = 0")
    ingest(url, tmp_path, opening(1))
    with psycopg.connect(url) if url.startswith("postgresql") else _sqlite(url) as store:
        store.execute(f"UPDATE ledger_entry SET count = {(1 << 63) - 1} WHERE cause = 'gap'")
        store.commit()
    (tmp_path / "second").mkdir()
    # The first line names a log: the same one goes on.
    ingest(url, tmp_path / "second", opening(1) + opening(1000))
    assert ledger(url)["gap"] <= (1 << 63) - 1
    read_all(url)


def _sqlite(url):
    return sqlite3.connect(url.removeprefix("sqlite:///"))


BYTES = [
    *(b"\0", b"\0\0\0", b"\x01", b"\x1b[2J", b"\x7f", b"\x80", b"\xff\xfe", b"\xc3", b"\xc3\x28"),
    *(b"\xed\xa0\x80", b"\xed\xb0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f", "\ufffe\uffff".encode()),
    *(b"\\u0000", b"\\ud800", b'\\"', b"\\x00", b"\xe2\x80\xae", b"'", b'"', b"{", b"}", b"%s%n"),
    *(b"$1", b"?", b":n", b"\x1d", b"\t", b"\x0b", b"\x85", "\u2028".encode()),
]


@pytest.mark.parametrize("where", ["value", "hex", "name", "type", "node", "argument", "escaped"])
def test_bytes_that_are_no_text(url, tmp_path, where):
    """NUL, invalid UTF-8, surrogates, escapes: wherever they stand they are stored and read."""
    lines = []
    for n, piece in enumerate(BYTES):
        head = f"msg=audit({SECOND}.000:{n}):".encode()
        lines += {
            "value": [b"type=USER_CMD %b pid=1 cmd=a%bb dev=%b" % (head, piece, piece)],
            "hex": [
                b"type=USER_CMD %b pid=1 cmd=%b" % (head, piece.hex().upper().encode()),
                b"type=PATH %b item=0 name=%b dev=%b" % (head, piece.hex().upper().encode(), piece),
                b"type=CWD %b cwd=%b" % (head, piece.hex().upper().encode()),
                b"type=SOCKADDR %b saddr=0100%b" % (head, piece.hex().upper().encode()),
            ],
            "name": [b"type=USER_CMD %b pid=1 a%bb=1 %b=2" % (head, piece, piece)],
            "type": [b"type=T%b %b pid=1" % (piece, head)],
            "node": [b"node=a%bb type=USER_CMD %b pid=1" % (piece, head)],
            "argument": [
                call(n, nr=59, second=SECOND, ms=0, items=0).strip().encode(),
                b"type=EXECVE %b argc=2 a0=%b a1=x%by"
                % (head, piece.hex().upper().encode(), piece),
            ],
            "escaped": [
                b"type=USER_CMD %b cmd=%b\x1dESCAPED=1"
                % (head, b"".join(b"\\x%02X" % byte for byte in piece))
            ],
        }[where]
    ingest(url, tmp_path, b"\n".join(lines) + b"\n" + opening(9999).encode())
    assert balanced(url)
    assert rows(url, "SELECT count(*) AS n FROM syscalls WHERE serial = 9999") == [{"n": 1}]
    assert rows(url, "SELECT count(*) AS n FROM raw WHERE reason LIKE 'cannot%'") == [{"n": 0}]
    read_all(url)


@pytest.mark.one_database
@examples(
    2,
    long=800,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.binary(max_size=60), max_size=20), st.integers(0, 5))
def test_any_bytes_behind_any_record(url, tmp_path, texts, kind):
    """Bytes drawn at random behind the heads of records are loaded, and all views can be read."""
    kinds = [b"SYSCALL", b"PATH", b"EXECVE", b"SOCKADDR", b"USER_CMD", b"AVC"]
    log = b"".join(
        b"type=%b msg=audit(%d.000:%d): %b\n" % (kinds[(n + kind) % 6], SECOND, n, text)
        for n, text in enumerate(texts)
    )
    (tmp_path / "audit.log").unlink(missing_ok=True)
    ingest(url, tmp_path, log or b"\n")
    assert balanced(url)
    read_all(url)


# --- faults ----------------------------------------------------------------------------


class Fault:
    """Makes the store refuse batches that hold a word, as one refuses what fits no column."""

    def __init__(self, monkeypatch, error):
        self.batches = []
        real = Writer._before

        def before(writer, connection, order):
            real(writer, connection, order)
            batches = [order.batch, *(seam.coming for seam in order.seams)]
            texts = [row[1] for each in batches for row in each.dimensions.get("text", ())]
            self.batches.append(len(texts))
            if any("poison" in text for text in texts):
                raise error

        monkeypatch.setattr(Writer, "_before", before)


def poisoned(*numbers, total=1000):
    """Give a log of calls, some of which open a file that cannot be stored."""
    return "".join(
        opening(n, name="/poison" if n in numbers else f"/f{n}", second=SECOND + n // 100)
        for n in range(1, total)
    )


@pytest.mark.parametrize("total", times(300, 1000))
@pytest.mark.parametrize(
    "places",
    [(1,), (999,), pytest.param((500,), marks=pytest.mark.long), (233, 237), (10, 466, 960)],
    ids=lambda places: f"{len(places)}",
)
def test_the_line_that_cannot_be_stored_is_found(url, tmp_path, monkeypatch, places, total):
    """A batch is halved until the line is found: it goes to `raw`, and everything else is there.

    `places`: thousandths of the log.
    """
    bad = [max(1, place * total // 1000) for place in places]
    fault = Fault(monkeypatch, RefusedError("the store refuses"))
    ingest(url, tmp_path, poisoned(*bad, total=total))
    monkeypatch.undo()
    kept = rows(url, "SELECT reason, line FROM raw ORDER BY position")
    assert len(kept) == len(bad)
    assert {row["reason"] for row in kept} == {"cannot be stored: the store refuses"}
    assert rows(url, "SELECT count(*) AS n FROM syscalls") == [{"n": total - 1}]
    names = {row["name"] for row in rows(url, "SELECT name FROM paths")}
    assert names == {f"/f{n}" for n in range(1, total) if n not in bad}
    assert ledger(url)["raw"] == len(bad)
    assert balanced(url)
    assert len(fault.batches) < 120 * len(bad)
    read_all(url)


@pytest.mark.one_database
def test_a_line_that_waited_is_found(url, tmp_path, monkeypatch):
    """The line that cannot be stored may be one that was pending for a long time."""
    Fault(monkeypatch, RefusedError("the store refuses"))
    monkeypatch.setenv("AUDITSVC_LOADER__BATCH_BYTES", "65536")
    waiting = call(9000, items=2) + path(9000, "/poison")
    end = path(9000, "/good", item=1) + record("PROCTITLE", 9000, 'proctitle="x"')
    ingest(url, tmp_path, waiting + poisoned(total=2000) + end)
    monkeypatch.undo()
    assert rows(url, "SELECT count(*) AS n FROM raw") == [{"n": 1}]
    seen = rows(url, "SELECT name FROM paths JOIN syscalls USING (event_id) WHERE serial = 9000")
    assert [row["name"] for row in seen] == ["/good"]
    assert balanced(url)


@pytest.mark.parametrize(("ending", "raw"), [("", 0), ("\n", 1)])
def test_the_last_line_is_found(url, tmp_path, monkeypatch, ending, raw):
    """A line of an event that is open is set aside too; one that has no end yet waits for it."""
    Fault(monkeypatch, RefusedError("the store refuses"))
    ingest(url, tmp_path, opening(1) + path(2, "/poison").strip() + ending)
    monkeypatch.undo()
    assert rows(url, "SELECT count(*) AS n FROM raw") == [{"n": raw}]
    assert ledger(url)["open"] == 1 - raw
    assert balanced(url)


def test_a_store_that_is_away_is_no_reason_to_set_lines_aside(url, tmp_path, monkeypatch):
    """An error that is not the data's ends the attempt; afterwards everything is stored."""
    fault = Fault(monkeypatch, StoreError("the disk is full"))
    with pytest.raises(StoreError, match="disk is full"):
        ingest(url, tmp_path, poisoned(5, total=50))
    assert len(fault.batches) == 1
    monkeypatch.undo()
    ingest(url, tmp_path, poisoned(5, total=50))
    assert rows(url, "SELECT count(*) AS n FROM raw") == [{"n": 0}]
    assert rows(url, "SELECT count(*) AS n FROM paths") == [{"n": 49}]


def test_what_no_lines_are_to_blame_for_is_an_error(url, tmp_path, monkeypatch):
    """If the store refuses even an empty batch, no line is set aside: it is an error."""

    def refuse(*_):
        raise RefusedError("the store refuses everything")

    monkeypatch.setattr(Writer, "_before", refuse)
    with pytest.raises(StoreError, match="refuses everything"):
        ingest(url, tmp_path, opening(1))
    monkeypatch.undo()
    ingest(url, tmp_path, opening(1))
    assert balanced(url)


@pytest.mark.postgres
def test_what_the_server_refuses_is_found(postgres_url, tmp_path, monkeypatch):
    """A constraint that some text breaks: the server's own error leads to the line."""
    monkeypatch.setattr(objects_postgres, "strangers", lambda *_, **__: iter(()))
    ingest(postgres_url, tmp_path, opening(1))
    with psycopg.connect(postgres_url) as store:
        store.execute("ALTER TABLE text ADD CHECK (value NOT LIKE '%poison%')")
    (tmp_path / "second").mkdir()
    ingest(postgres_url, tmp_path / "second", poisoned(77, total=300))
    assert rows(postgres_url, "SELECT count(*) AS n FROM raw") == [{"n": 1}]
    assert len(rows(postgres_url, "SELECT 1 AS n FROM syscalls")) == 299
    assert balanced(postgres_url)


def test_a_number_that_no_column_takes_is_told_as_refused(url, monkeypatch):
    """What the drivers raise for a number beyond 64 bits, or a NUL, is an error of ours."""
    monkeypatch.undo()
    with open_store(url) as store:
        source = store.source("file", "x")
        for raw in ([(0, b"x", "nul \0 or lone \ud800")], [(1 << 70, b"x", "far")]):
            batch = Batch(raw=raw)
            if raw[0][0]:
                batch = Batch(dimensions={"host": [(1 << 70, "h")]})
            with pytest.raises(RefusedError):
                store.write(source.id, batch, Checkpoint("", 0))
        assert list(itertools.islice(rows(url, "SELECT * FROM raw"), 1)) == []
