"""Coverage in the store: which rows are proof, and the view of the service's own records."""

from __future__ import annotations

import re
import time
from functools import partial

import pytest
from fixtures import logs
from fixtures.logs import SECOND, call, rows
from sqlalchemy import create_engine

from auditsvc.coverage import proofs
from auditsvc.host.processes import Process, Thread
from auditsvc.record.daemon import DaemonRecords
from auditsvc.store.read import questions

TICKS = 100
load = partial(logs.load, kind="spool")
EPOCH = SECOND - 1000.0


def process(pid, began):
    """Give a process of one thread that began this many seconds after boot."""
    ticks = int(began * TICKS)
    return Process(pid, 1, ticks, b"x", (Thread(pid, ticks),))


@pytest.mark.parametrize(
    ("began", "is_proven"),
    [
        (10, True),
        (1000.0, True),  # within the second of the row, before it
        (1000.3, False),  # within the second, after it
        (1001, False),
        (5000, False),
    ],
)
def test_only_rows_since_its_start_prove_a_process(url, began, is_proven):
    """The rows of an earlier owner of the pid are not its own."""
    load(url, call(1, pid=50, ms=200))
    found = proofs.proven(url, "box", [process(50, began), process(51, 10)], EPOCH)
    assert found == ({50} if is_proven else set())


@pytest.mark.parametrize("kind", ["file", "followed", "journal"])
def test_rows_of_another_log_prove_nothing(url, kind):
    """Rows of an ingested log are no proof that a process is covered."""
    logs.load(url, call(1, pid=50, ms=200), kind=kind)
    assert proofs.proven(url, "box", [process(50, 10)], EPOCH) == set()
    assert questions.newest_call(url, "box") == 0


def test_rows_of_another_host_prove_nothing(url):
    """Pids are numbers of one host."""
    load(url, call(1, pid=50))
    assert proofs.proven(url, "elsewhere", [process(50, 10)], EPOCH) == set()
    assert questions.newest_call(url, "elsewhere") == 0
    assert questions.newest_call(url, "box") == SECOND


def test_many_processes_are_one_question(url):
    """Hundreds of pids, each with calls in several contexts, need one query."""
    load(url, "".join(call(n, pid=n % 400, comm=f'"p{n}"') for n in range(1, 2000)))
    asked = [process(pid, 10) for pid in range(200, 600)]
    assert proofs.proven(url, "box", asked, EPOCH) == set(range(200, 400))


def test_the_question_reads_no_table_of_calls(url, monkeypatch):
    """Calls are searched by the index on their context."""
    load(url, "".join(call(n, pid=n % 40, comm=f'"p{n}"') for n in range(1, 2000)))
    asked = []
    real = questions.run_query
    monkeypatch.setattr(
        questions, "run_query", lambda url, sql: asked.append(sql) or real(url, sql)
    )
    proofs.proven(url, "box", [process(pid, 10) for pid in range(30)], EPOCH)
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    sqlite = engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        if not sqlite:
            connection.exec_driver_sql("ANALYZE")
            connection.exec_driver_sql("SET enable_seqscan = off")
            connection.exec_driver_sql("SET enable_hashjoin = off")
            connection.exec_driver_sql("SET enable_mergejoin = off")
        explain = "EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN "
        plan = "\n".join(str(row[-1]) for row in connection.exec_driver_sql(explain + asked[-1]))
    engine.dispose()
    assert re.search("syscall_([0-9]*_)?context_nr", plan)
    assert not re.search(r"SCAN s\b|Seq Scan on syscall(_[0-9]+)*\b", plan), plan
    if sqlite:
        assert "AUTOMATIC COVERING INDEX (host" not in plan, plan


def said(pid, state, reason, *, began, comm=b"prog", exe=b"/usr/bin/prog"):
    """Give the line that the service writes about a process."""
    line = DaemonRecords().coverage(
        pid,
        began=began,
        comm=comm,
        exe=exe,
        state=state,
        reason=reason,
        threads=2,
        covered=1,
    )
    return line.decode()


def test_the_view_says_what_the_service_said(url):
    """Every field can be read back, whatever bytes are in a program's name."""
    now = time.time()
    load(
        url,
        call(1, second=int(now))
        + said(70, "unknown", "unwatched", began=now - 60, comm=b'a b"=', exe=None)
        + DaemonRecords().coverage_look("enabled=1 covered=1").decode()
        + said(71, "covered", "own_records", began=1_750_000_000.25),
    )
    first, second = rows(url, "SELECT * FROM coverage ORDER BY pid")
    assert (first["comm"], first["exe"], first["state"]) == ('a b"=', None, "unknown")
    assert (second["comm"], second["exe"]) == ("prog", "/usr/bin/prog")
    assert (second["reason"], second["threads"], second["covered"]) == ("own_records", 2, 1)
    assert second["began"] == "2025-06-15 15:06:40.250"
    assert second["host"] == "box"
    assert rows(url, "SELECT pid FROM coverage WHERE state = 'covered'") == [{"pid": 71}]


WAS_COVERED = """
    SELECT state FROM coverage WHERE pid = 70 AND began <= '{when}'
    ORDER BY began DESC, event_id DESC LIMIT 1
"""


def test_was_it_covered_then(url):
    """The last record about the process with the pid at that time decides; the flag is for life."""
    lines = [
        said(70, "unknown", "unwatched", began=1_750_000_000),
        said(70, "covered", "own_records", began=1_750_000_000),
        said(70, "not_covered", "never_task", began=1_750_009_000),
    ]
    load(url, "".join(re.sub(r":\d+\)", f":{n})", line) for n, line in enumerate(lines, 1)))

    def then(when):
        return [row["state"] for row in rows(url, WAS_COVERED.format(when=when))]

    assert then("2025-06-15 15:00:00") == []
    assert then("2025-06-15 16:00:00") == ["covered"]
    assert then("2025-06-15 18:00:00") == ["not_covered"]


@pytest.mark.parametrize("number", ["-", "1e999", "99999999999999999999", "1.5.5", "0x10"])
def test_a_foreign_line_spoils_no_view(url, number):
    """Logs of others are loaded too: a wrong number in one must not make every query fail."""
    line = said(70, "covered", "own_records", began=1_750_000_000)
    bad = re.sub(r":(\d+)\)", ":7)", line).replace("threads=2", f"threads={number}")
    bad = re.sub(r"began=\S+", f"began={number}", bad)
    load(url, re.sub(r":(\d+)\)", ":6)", line) + bad)
    assert [row["pid"] for row in rows(url, "SELECT * FROM coverage")] == [70, 70]
