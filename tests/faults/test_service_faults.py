"""Faults around a running service: no uncounted loss, nothing doubled, and it continues."""

from __future__ import annotations

import random
import signal
import subprocess
import time

import psycopg
import pytest
from fixtures import commands
from fixtures.disk import small_disk
from fixtures.logs import balanced, ledger, rows
from fixtures.postgres_server import Server, running
from fixtures.repeats import times
from fixtures.runs import LINES, Run, stored
from fixtures.waiting import at_rest, until
from live.programs import Programs, fresh_auid, rules
from live.service import Service

from auditsvc.rule import printing
from auditsvc.store import open_store


@pytest.mark.postgres
def test_a_server_that_goes_and_comes_back(postgres_server, postgres_url, tmp_path):
    """PostgreSQL stops in the middle of a run: `status` says so, and every row is there after."""
    run = Run(tmp_path, postgres_url)
    run.feed(300)
    until(lambda: run.state("running") and run.state("spool_waiting") == 0)
    postgres_server.stop()
    try:
        run.feed(300)
        until(lambda: "no server answers" in run.state("store_trouble"))
        said = run.status()
        assert "no server answers" in said["store_trouble"]
        assert said["spool_waiting"] > 0
    finally:
        postgres_server.start()
    run.feed(300)
    until(lambda: run.state("store_trouble") == "")
    status, said = run.end()
    assert status == 0, said
    assert "recovered" in said
    assert stored(postgres_url) == (900, 900)
    assert balanced(postgres_url)
    assert ledger(postgres_url)["duplicate"] == 0


def test_a_pause_is_no_end(tmp_path):
    """Stopped and continued, as by a debugger or a freezer: it goes on, and ends when asked to."""
    url = f"sqlite:///{tmp_path}/store.db"
    run = Run(tmp_path, url)
    until(lambda: run.state("running"))
    for number in (signal.SIGSTOP, signal.SIGCONT):
        run.process.send_signal(number)
        time.sleep(1.2)
        assert run.process.poll() is None
    run.process.send_signal(signal.SIGSTOP)
    run.process.send_signal(signal.SIGTERM)
    time.sleep(1.2)
    run.process.send_signal(signal.SIGCONT)
    assert run.process.wait(60) == 0
    assert '"reason": "terminate"' in run.process.stderr.read().decode()


def test_a_second_run_that_is_refused_takes_nothing_from_the_first(tmp_path):
    """It names the lock, and `status` sees the first run as before at once."""
    run = Run(tmp_path, f"sqlite:///{tmp_path}/store.db")
    until(lambda: run.state("running"))
    state = tmp_path / "run" / "state.json"
    # Stopped, so that it cannot write the file again before the test looks.
    run.process.send_signal(signal.SIGSTOP)
    second = Run(tmp_path, run.url)
    status, said = second.end()
    assert status == 1, said
    assert "another" in said.splitlines()[-1], said
    assert state.exists()
    run.process.send_signal(signal.SIGCONT)
    assert run.end()[0] == 0
    assert not state.exists()


@pytest.mark.postgres
def test_a_store_that_does_not_answer_at_the_end(postgres_url, tmp_path):
    """A stop does not wait for ever: it says what is missing, and the next run loads it."""
    run = Run(tmp_path, postgres_url, AUDITSVC_LOADER__PATIENCE="2")
    run.feed(50)
    until(lambda: run.state("running"))
    until(lambda: stored(postgres_url)[0] == 50)
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE syscall IN ACCESS EXCLUSIVE MODE")
        run.feed(50)
        began = time.monotonic()
        run.process.send_signal(signal.SIGTERM)
        _, said = run.process.communicate(timeout=300)
        assert time.monotonic() - began < 300
        assert run.process.returncode == 1
        last = said.decode().splitlines()[-1]
        assert "has not answered for 2 s" in last
        assert "the next run loads them" in last
    again = Run(tmp_path, postgres_url)
    until(lambda: stored(postgres_url)[0] == 100)
    assert again.end()[0] == 0
    assert stored(postgres_url) == (100, 100)
    assert balanced(postgres_url)


def test_a_full_spool(tmp_path):
    """The host goes on, what did not fit is counted, and with it the ledger adds up to all."""
    with small_disk(tmp_path / "small", 1024) as small:
        (small / "ballast").write_bytes(bytes(768 << 10))
        url = f"sqlite:///{tmp_path}/store.db"
        run = Run(
            tmp_path,
            url,
            AUDITSVC_SPOOL__DIRECTORY=str(small / "spool"),
            AUDITSVC_SPOOL__RESERVE_BYTES="0",
        )
        run.feed(2000)  # 1.2 MB
        # The last few lines may have fitted behind a hole: more do not.
        until(lambda: "No space left" in (run.state("spool_trouble") or "") or run.feed(50))
        assert run.process.poll() is None
        run.process.send_signal(signal.SIGHUP)  # a new segment on a full disk is no end either
        until((small / "spool/audit-000000000002.log").exists)
        (small / "ballast").unlink()
        refused = run.fed
        run.feed(20)
        until(lambda: run.state("spool_trouble") == "")
        assert run.state("missing") == 0
        status, said = run.end()
        assert status == 0, said
    count = ledger(url)
    # Lines that nobody put: they are no part of the sum. The signal's own line is, wherever it is.
    (own,) = rows(
        url,
        "SELECT count(*) AS n FROM events WHERE type IN ('DAEMON_ERR', 'DAEMON_ROTATE')",
    )
    assert count["spool_lost"] > 0
    assert count["received"] - own["n"] + count["spool_lost"] == run.fed * LINES + 1
    assert balanced(url)
    (last,) = rows(url, f"SELECT count(*) AS n FROM syscalls WHERE serial > {refused}")
    assert last["n"] == 20


def test_a_full_store(tmp_path):
    """The store's disk fills: collecting goes on, and the rows follow once there is room."""
    with small_disk(tmp_path / "small", 3072) as small:
        url = f"sqlite:///{small}/store.db"
        assert commands.run("migrate", "--store", url).returncode == 0
        used = sum(path.stat().st_size for path in small.iterdir())
        (small / "ballast").write_bytes(bytes((3072 << 10) - used - (160 << 10)))
        run = Run(tmp_path, url)
        until(lambda: run.state("running"))
        run.feed(3000)
        until(lambda: "full" in (run.state("store_trouble") or ""))
        before = run.state("records")
        run.feed(100)
        until(lambda: run.state("records") == before + 100 * LINES)
        (small / "ballast").unlink()
        until(lambda: run.state("store_trouble") == "")
        status, said = run.end()
        assert status == 0, said
        assert stored(url) == (3100, 3100)
        assert balanced(url)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    """Give the URL of a store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    return request.getfixturevalue("postgres_url")


def spooled(tmp_path):
    """Number of calls in the spool."""
    segments = sorted((tmp_path / "state/spool").glob("*.log"))
    return sum(segment.read_bytes().count(b"type=SYSCALL ") for segment in segments)


@pytest.mark.one_database
@pytest.mark.parametrize("kills", times(3, 60))
def test_killed_at_any_moment(url, tmp_path, kills):
    """Killed again and again, wherever it was: each event that reached the spool is stored once."""
    chance = random.Random(7)
    fed = 0
    for turn in range(kills):
        run = Run(tmp_path, url)
        run.fed = fed
        run.feed(40)  # less than a pipe holds
        if turn % 4:  # else while it begins
            run.wait_ready()
        time.sleep(chance.uniform(0, 0.6))
        run.feed(40)
        time.sleep(chance.uniform(0, 0.2))
        if turn == kills - 1:
            until(lambda: spooled(tmp_path) > 40)
        run.process.kill()
        run.process.communicate()
        fed = run.fed
    run = Run(tmp_path, url)
    status, said = run.end()
    assert status == 0, said
    whole = spooled(tmp_path)
    assert stored(url) == (whole, whole)
    assert whole > 40
    assert balanced(url)
    assert ledger(url)["duplicate"] == 0


@pytest.fixture
def as_auid(tmp_path):
    """Build the program that sets a login uid and executes the rest of its words."""
    return Programs.build(tmp_path)["as_auid"]


class OwnServer(Server):
    """A server whose processes have a login uid of their own."""

    def as_login(self, program, auid):
        """Start under the login uid that `program` sets."""
        self._login = [str(program), str(auid), "/usr/bin/env"]

    def _as_owner(self):
        return [*getattr(self, "_login", []), *super()._as_owner()]


@pytest.mark.live
@pytest.mark.postgres
def test_a_server_on_this_host_does_not_feed_its_store(audit_lock, as_auid, tmp_path):
    """A server that the rules match is left out, also one that was started anew; and said so."""
    before, others = audit_lock.raw_rules(), audit_lock.rules()
    auid = fresh_auid()
    with running(OwnServer, fsync="off") as server:
        server.stop()
        server.as_login(as_auid, auid)
        server.start()
        open_store(server.url()).close()  # to make one takes longer than the service waits
        service = Service(tmp_path, rules(auid), store=server.url())
        with service:

            def excluded():
                ours = [rule for rule in audit_lock.rules() if rule not in others]
                texts = [printing.text(rule) for rule in ours]
                return [text for text in texts if "auditsvc-server" in text]  # what it is for

            def of_server():
                sql = "SELECT count(*) AS n FROM syscalls WHERE comm LIKE 'postgres%'"
                return service.query(sql)[0]["n"]

            first = excluded()
            assert len(first) == 4
            assert all("never" in rule for rule in first)
            subprocess.run([as_auid, str(auid), "/bin/true"], check=True)
            until(lambda: service.query("SELECT count(*) AS n FROM syscalls")[0]["n"])
            assert of_server() == 0
            server.stop()
            until(lambda: not excluded())  # its pid may become another's
            server.start()
            until(lambda: len(excluded()) == 4)
            assert excluded() != first
            subprocess.run([as_auid, str(auid), "/bin/true"], check=True)
            until(of_server)  # while it started nobody had left it out: the rules do match it

            def rests():
                settled = at_rest(of_server)
                subprocess.run([as_auid, str(auid), "/bin/true"], check=True)
                return at_rest(of_server) == settled

            until(rests)  # what was on its way may have come late
        assert service.log.read_text().count("the store's server runs on this host") == 2
        assert audit_lock.raw_rules() == before
        assert service.query("SELECT * FROM tamper") == []  # what we do ourselves is none
