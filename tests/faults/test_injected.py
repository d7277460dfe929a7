"""Faults of database, disk, clock and input, each injected into a run; then the ledger adds up."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import ExitStack
from urllib.parse import urlsplit

import psycopg
import pytest
from fixtures.logs import SECOND, balanced, ledger, login, opening, rows
from fixtures.proxy import Proxy
from fixtures.runs import LINES, Run, stored
from fixtures.waiting import until

from auditsvc.runtime.service_state import read_state

pytestmark = pytest.mark.long


def through(url, proxy):
    """Give the URL of the same database by way of the proxy."""
    return url.replace(f":{urlsplit(url).port}/", f":{proxy.port}/")


def adds_up(run, url, count, *, lost=0):
    """End a run; each of the events is stored once, and the ledger adds up."""
    status, said = run.end()
    assert status == 0, said
    assert stored(url) == (count, count)
    assert balanced(url)
    kept = ledger(url)
    assert (kept["duplicate"], kept["gap"], kept["spool_lost"]) == (0, 0, lost)


# --- PostgreSQL ------------------------------------------------------------------------------


@pytest.mark.postgres
@pytest.mark.parametrize("after", [100, 3000, 60_000])
def test_connections_cut_in_mid_copy(postgres_url, tmp_path, after):
    """What was sent of a transaction is no row; it is sent again."""
    proxy = Proxy(urlsplit(postgres_url).port, cuts=3, after=after)
    run = Run(tmp_path, through(postgres_url, proxy))
    while proxy.cut < 3:
        run.feed(300)
        before = proxy.cut
        until(lambda before=before: proxy.cut > before or run.state("spool_waiting") == 0)
    run.feed(300)
    adds_up(run, postgres_url, run.fed)
    proxy.close()


@pytest.mark.postgres
def test_a_server_without_a_free_connection(postgres_server, postgres_url, tmp_path):
    """The reason is said, collecting goes on, and rows follow when there is one."""
    database = urlsplit(postgres_url).path[1:]
    user = f"few_{database}"
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'x' CONNECTION LIMIT 2")
        owner.execute(f"ALTER DATABASE {database} OWNER TO {user}")
        owner.execute(f"ALTER SCHEMA public OWNER TO {user}")
    url = f"postgresql://{user}:x@127.0.0.1:{postgres_server.port}/{database}"
    with ExitStack() as others:
        for _ in range(2):
            others.enter_context(psycopg.connect(url))
        run = Run(tmp_path, url)
        run.feed(300)
        until(lambda: "too many connections" in (run.state("store_trouble") or ""))
        until(lambda: run.state("records") == 300 * LINES)
    run.feed(100)
    until(lambda: run.state("store_trouble") == "")
    adds_up(run, url, 400)
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        owner.execute(f"REASSIGN OWNED BY {user} TO CURRENT_USER")
        owner.execute(f"ALTER DATABASE {database} OWNER TO CURRENT_USER")
        owner.execute(f"DROP OWNED BY {user}")
        owner.execute(f"DROP ROLE {user}")


@pytest.mark.postgres
def test_a_slow_server(postgres_url, tmp_path):
    """Collecting does not wait for it: all is in the spool before it is in the store."""
    proxy = Proxy(urlsplit(postgres_url).port)
    run = Run(tmp_path, through(postgres_url, proxy))
    run.feed(10)
    until(lambda: run.state("records") == 10 * LINES and run.state("spool_waiting") == 0)
    proxy.delay = 0.05
    run.feed(2000)
    # Not by `status`, which asks the slow server too.
    until(lambda: read_state(tmp_path / "run").records == 2010 * LINES)
    assert read_state(tmp_path / "run").spool_waiting > 0
    proxy.delay = 0.0
    adds_up(run, postgres_url, 2010)
    proxy.close()


# --- disk ------------------------------------------------------------------------------------

SEGMENT = "state/spool/audit-000000000001.log"
DISK = {
    "spool, read-only": (SEGMENT, "write", "EROFS", "8..30"),
    "spool, input/output error": (SEGMENT, "write", "EIO", "8..30"),
    "spool, failing fsync": (SEGMENT, "fdatasync", "EIO", "1..2"),
    "store, read-only": ("store.db-wal", "pwrite64", "EROFS", "400..402"),
    "store, input/output error": ("store.db-wal", "pwrite64", "EIO", "400..402"),
    "store, failing fsync": ("store.db-wal", "fdatasync", "EIO", "1..2"),
}


@pytest.mark.parametrize("fault", DISK)
def test_a_disk_that_fails_for_a_while(tmp_path, fault):
    """The call fails in the kernel's place; what did not fit is counted, the rest is stored."""
    file, call, error, when = DISK[fault]
    log = tmp_path / "trace"
    inject = f"inject={call}:error={error}:when={when}"
    words = ("strace", "-f", "-qq", "-o", str(log), "-P", str(tmp_path / file), "-e", inject)
    url = f"sqlite:///{tmp_path}/store.db"
    run = Run(tmp_path, url, before=words, AUDITSVC_SPOOL__RESERVE_BYTES="0")
    run.wait_ready()

    def injected():
        return log.read_text().count("(INJECTED)") if log.exists() else 0

    def fed():
        run.feed(20)
        return injected()

    until(fed)
    most = int(when.rpartition("..")[2]) - int(when.partition("..")[0]) + 1
    until(lambda: injected() == most or (fed() and False))
    until(lambda: run.state("spool_trouble") == "" == run.state("store_trouble") or not fed())
    status, said = run.end()
    assert status == 0, said
    count = ledger(url)
    assert balanced(url)
    assert count["duplicate"] == 0
    (own,) = rows(
        url,
        "SELECT count(*) AS n FROM events WHERE type IN ('DAEMON_ERR', 'DAEMON_ROTATE')",
    )
    assert bool(count["spool_lost"]) == (call == "write")
    assert count["received"] - own["n"] + count["spool_lost"] == run.fed * LINES


# --- clock, serials, input -------------------------------------------------------------------


@pytest.mark.parametrize(
    "step", [3600, -3600, 86400 * 400, -86400 * 400], ids=lambda n: f"{n:+d} s"
)
def test_a_clock_that_is_stepped(tmp_path, step):
    """Serials go on; times may be the same again, which makes no event another's double."""
    url = f"sqlite:///{tmp_path}/store.db"
    run = Run(tmp_path, url)
    at = [SECOND + n // 10 + (step if 100 <= n < 200 else 0) for n in range(300)]
    run.write("".join(opening(n + 1, second=at[n]) for n in range(300)))
    adds_up(run, url, 300)


def test_serials_that_wrap(tmp_path):
    """The serial after 2^32 - 1 is 0 or 1: no gap, no duplicate, and the order stays."""
    url = f"sqlite:///{tmp_path}/store.db"
    run = Run(tmp_path, url)
    serials = [n % 2**32 for n in range(2**32 - 100, 2**32 + 100)]
    run.write("".join(opening(n) for n in serials))
    adds_up(run, url, 200)
    kept = rows(url, "SELECT serial FROM syscalls ORDER BY serial")
    assert [row["serial"] for row in kept] == sorted(serials)


def test_a_loader_that_is_stopped_while_load_goes_on(tmp_path):
    """Somebody holds the store: records are written to the spool, and loaded afterwards."""
    url = f"sqlite:///{tmp_path}/store.db"
    run = Run(tmp_path, url)
    run.feed(10)
    until(lambda: run.state("records") == 10 * LINES and run.state("spool_waiting") == 0)
    with sqlite3.connect(tmp_path / "store.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(20):
            run.feed(200)
        until(lambda: run.state("records") == 4010 * LINES)
        assert other.execute("SELECT count(*) FROM syscall").fetchone()[0] < 4010
        other.execute("ROLLBACK")
    other.close()
    adds_up(run, url, 4010)


@pytest.mark.parametrize("size", [1 << 16, 3 << 20, 20 << 20], ids=lambda n: f"{n >> 10} KiB")
def test_a_record_larger_than_any_buffer(tmp_path, size):
    """It is kept, as an event or in pieces as raw lines; those around it are what they were."""
    url = f"sqlite:///{tmp_path}/store.db"
    run = Run(tmp_path, url, AUDITSVC_LOADER__BATCH_BYTES=str(1 << 16))
    run.feed(50)
    run.write(login(51).replace("msg='", "msg='" + "x" * size))
    run.fed += 1
    run.feed(50)
    status, said = run.end()
    assert status == 0, said
    assert stored(url) == (100, 100)
    assert balanced(url)
    count = ledger(url)
    (kept,) = rows(url, "SELECT count(*) AS n FROM events WHERE type = 'USER_LOGIN'")
    assert kept["n"] + count["raw"] >= 1
    assert count["duplicate"] == 0


def test_a_service_that_is_stopped_under_load(tmp_path):
    """SIGSTOP, twice, while records come: what was in the pipe is stored after SIGCONT."""
    url = f"sqlite:///{tmp_path}/store.db"
    run = Run(tmp_path, url)
    run.wait_ready()
    for _ in range(2):
        run.feed(500)
        run.process.send_signal(signal.SIGSTOP)
        run.feed(40)  # less than a pipe holds
        run.process.send_signal(signal.SIGCONT)
    adds_up(run, url, 1080)
