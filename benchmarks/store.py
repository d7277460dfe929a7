"""How fast rows go in, how many bytes they take, and how fast questions are answered.

    benchmarks/store.py [--rows 1000000] [--batch 50000] [--postgres URL]

Rows are plain calls without PATH records, made in memory before the clock starts:
no decoder is measured. Several processes and contexts share every second, as on a
busy host. SQLite is measured beside the fastest that its driver can do with the same
rows (one table, no index), so that the ratio holds on any machine.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from auditsvc.decode import ids
from auditsvc.decode.interface import Batch
from auditsvc.query import run_query
from auditsvc.store import Checkpoint, open_store

SECOND = 1_750_000_000
ARCH = 0xC000003E
NUMBERS = [0, 1, 3, 5, 9, 10, 11, 13, 257, 262, 39, 59, 61, 231, 202, 72, 4, 21, 12, 16, 14, 41]
QUESTIONS = {
    "a second of it": f"SELECT count(comm) FROM syscalls WHERE event_id"
    f" BETWEEN {SECOND + 5 << ids.SERIAL_BITS} AND {SECOND + 6 << ids.SERIAL_BITS}",
    "one program": "SELECT count(*) FROM syscalls WHERE exe = '/usr/bin/prog7'",
    "one pid": "SELECT count(*) FROM syscalls WHERE pid = 2007",
    "one key": "SELECT count(*) FROM syscalls WHERE key = 'key3'",
    "a rare call": "SELECT count(*) FROM syscalls WHERE syscall = 'ptrace'",
    "failures by errno": "SELECT exit, count(*) FROM syscalls WHERE success = {no} GROUP BY exit",
    "calls by name": "SELECT syscall, count(*) FROM syscalls GROUP BY syscall",
    "all": "SELECT count(*) FROM syscalls",
}


def make(rows: int, batch: int, contexts: int, secret: bytes) -> list[Batch]:
    """Make batches of calls: 5000 a second, a new process every 50."""
    chance = random.Random(1)

    def named(table: str, *content: object) -> tuple[object, ...]:
        return (ids.dimension_id(secret, table, content), *content)

    host = named("host", "box")
    texts: dict[str, tuple[object, ...]] = {}

    def text(value: str) -> object:
        return texts.setdefault(value, named("text", value, None))[0]

    def context(n: int) -> tuple[object, ...]:
        program = f"prog{n % 200}"
        who = (1000, 2000 + n, 1000, *[0] * 8)
        words = (text("(none)"), 3, text(program), text(f"/usr/bin/{program}"), None)
        rest = (text(f"key{n % 5}"), text(f"/home/u{n % 300}"), text(f"{program} --n {n}"), None)
        return named("context", host[0], ARCH, *who, *words, *rest)

    made, pool, running = [], [context(n) for n in range(contexts)], list(range(8))
    fresh = 8
    weights = [1 / (n + 1) for n in range(len(NUMBERS))]
    for begin in range(0, rows, batch):
        calls = []
        for n in range(begin, min(begin + batch, rows)):
            if n % 50 == 0:
                running[chance.randrange(8)] = fresh % contexts
                fresh += 1
            failed = chance.random() < 0.08
            serial = 1000 + n
            second = SECOND + n // 5000
            place = ids.event_id(second, serial, int(str(host[0])))
            pointers = (0x7F0000000000 + chance.randrange(1 << 28), chance.randrange(4096))
            small = chance.choice((3, 4, 5, 0x7FFE00001000))
            ended = (0, -2) if failed else (1, chance.randrange(4096))
            nr = chance.choices(NUMBERS, weights)[0]
            process = pool[running[0] if chance.random() < 0.7 else chance.choice(running)]
            calls.append(
                (place, n // 5 % 1000, serial, nr, small, *pointers, 0, *ended, 0, 0, process[0])
            )
        dimensions = {}
        if not made:
            dimensions = {"host": [host], "text": list(texts.values()), "context": pool}
        counts = {"received": len(calls) * 3, "stored": len(calls) * 3}
        made.append(
            Batch(dimensions, {"syscall": calls}, {"syscall": [3] * len(calls)}, [], counts)
        )
    return made


def write(url: str, name: str, batches: list[Batch]) -> float:
    """Write all batches as one source; give the seconds."""
    with open_store(url) as store:
        source = store.source("bench", name)
        begin = time.perf_counter()
        for n, batch in enumerate(batches, 1):
            store.write(source.id, batch, Checkpoint("1", n))
        return time.perf_counter() - begin


def fastest(path: Path, batches: list[Batch]) -> float:
    """Insert the same rows with the driver alone; give the seconds."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a,b,c,d,e,f,g,h,i,j,k,l)")
    begin = time.perf_counter()
    for batch in batches:
        connection.execute("BEGIN")
        connection.executemany(
            f"INSERT INTO t VALUES ({','.join('?' * 13)})", batch.facts["syscall"]
        )
        connection.execute("COMMIT")
    seconds = time.perf_counter() - begin
    connection.close()
    return seconds


def ask(url: str) -> None:
    """Time the questions."""
    no = "0" if url.startswith("sqlite") else "false"
    for name, question in QUESTIONS.items():
        sql = question.format(no=no)
        begin = time.perf_counter()
        with run_query(url, sql) as result:
            found = sum(1 for _ in result)
        print(f"  {name:20} {(time.perf_counter() - begin) * 1000:8.1f} ms  ({found} rows)")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=50_000)
    parser.add_argument("--contexts", type=int, default=20_000)
    parser.add_argument("--postgres", help="URL of an empty database")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = Path(folder).absolute() / "store.db"
        url = f"sqlite:///{path}"
        with open_store(url) as store:
            secret = store.secret
        batches = make(options.rows, options.batch, options.contexts, secret)
        plain = fastest(Path(folder) / "plain.db", batches)
        ours = write(url, "first", batches)
        size = path.stat().st_size / options.rows
        print(f"sqlite: {options.rows / ours:,.0f} rows/s, {size:.1f} bytes an event;", end=" ")
        print(f"driver alone, no index: {options.rows / plain:,.0f} ({ours / plain:.2f}x the time)")
        again = write(url, "again", batches)
        print(f"  the same again, all duplicates: {options.rows / again:,.0f} rows/s")
        ask(url)
    if options.postgres:
        with open_store(options.postgres) as store:
            secret = store.secret
        batches = make(options.rows, options.batch, options.contexts, secret)
        ours = write(options.postgres, "first", batches)
        with psycopg.connect(options.postgres, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            (size,) = connection.execute(
                "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r'"
                " AND relnamespace = 'public'::regnamespace"
            ).fetchone() or (0,)
        print(f"postgres: {options.rows / ours:,.0f} rows/s,", end=" ")
        print(f"{size / options.rows:.1f} bytes an event")
        ask(options.postgres)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
