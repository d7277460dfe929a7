"""What is around retention: the loader of `run`, the file, the command, `status`, `ingest`."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from faults.test_service_faults import Run
from fixtures import commands, days
from fixtures.activity import differs
from fixtures.days import TODAY, log, prune, text_of
from fixtures.logs import load, opening, rows
from fixtures.waiting import until
from sqlalchemy import create_engine, make_url, text

from auditsvc.config import RetentionSettings
from auditsvc.errors import ConfigError
from auditsvc.evidence.pruned_days import announced, begin
from auditsvc.evidence.store_facts import identity_in
from auditsvc.retention import upkeep as upkeeps
from auditsvc.retention.job import Job
from auditsvc.retention.report import date_of, list_due, make_report
from auditsvc.retention.upkeep import Upkeep
from auditsvc.store import open_store
from auditsvc.store import space as space_module
from auditsvc.store.database import reading
from auditsvc.store.databases import open_database, parse_url
from auditsvc.store.read.feed import Feed
from auditsvc.store.schema import FACTS
from auditsvc.store.space import rewrite, space_of
from auditsvc.store.sqlite import SQLite

KEEP = RetentionSettings(keep="1d")
HERE = int(time.time()) // 86_400
"""The day of these tests; at its turn into the next, what they keep is one day less."""


def ours(folder, url, **more):
    """Give the environment of a command with its folders, and `keep` of three days."""
    named = {
        "AUDITSVC_STORE": url,
        "AUDITSVC_RUNTIME_DIRECTORY": str(folder / "run"),
        "AUDITSVC_STATE_DIRECTORY": str(folder / "state"),
        "AUDITSVC_RETENTION__KEEP": "3d",
    }
    return os.environ | named | more


# --- the loader of `run` ----------------------------------------------------------------


@pytest.mark.one_database
def test_run_prunes_while_it_collects(url, tmp_path):
    """What is too old goes without a command; what comes meanwhile is stored once."""
    load(url, text_of(log(days.chance(1), range(HERE - 9, HERE - 5), each=50)), "old")
    run = Run(tmp_path, url, AUDITSVC_RETENTION__KEEP="3d")
    made = log(days.chance(2), [HERE - 1], each=100, serial=5000)
    for number in range(0, 100, 5):
        run.process.stdin.write(text_of(made[number : number + 5]).encode())
        run.process.stdin.flush()
        time.sleep(0.01)
    until(lambda: set(days.pruned_events(url)) == {*range(HERE - 9, HERE - 5)})
    until(lambda: ("pruner",) not in days.table(url, "store_info", "name"))
    run.process.stdin.write(text_of(log(days.chance(3), [HERE - 1], serial=9000)).encode())
    status, said = run.end()
    assert status == 0, said
    assert '"event": "pruned"' in said
    assert sum(days.pruned_events(url).values()) == 200
    stored = days.stored_events(url)
    assert stored.pop(HERE - 1) == 112
    assert set(stored) <= {HERE, HERE + 1}  # its own records
    assert days.dangling(url) == []
    assert announced_days(tmp_path / "state" / "spool", url) == {*range(HERE - 9, HERE - 5)}


def announced_days(spool, url):
    """Give the days of a store that were said to be pruned, beside a spool's heads."""
    with reading(open_database(url)) as connection:
        return announced(spool, identity_in(connection))


class Clock:
    """Seconds that a test sets."""

    now = 1000.0

    def __call__(self):
        """Give them."""
        return self.now


@pytest.mark.one_database
def test_steps_are_few_while_rows_wait_and_many_when_none_do(url):
    """A busy loader does one step, then none for a while; an idle one goes on and on."""
    load(url, text_of(log(days.chance(1), [TODAY - 3], each=300)))
    clock = Clock()
    made = Upkeep(KEEP, clock=clock)
    with open_store(url) as store:
        assert not made.step(store, is_idle=True)  # the first look is later
        assert len(days.table(url, "store_size")) == 1
        clock.now += 6
        assert made.step(store, is_idle=False)
        before = made._job.events.copy()
        for _ in range(5):
            assert made.step(store, is_idle=False)
        assert made._job.events == before == {}
        clock.now += 1
        while made.step(store, is_idle=True):
            pass
        assert made._job is None
        assert made.problem == ""
    assert days.stored_events(url) == {}


def test_an_error_of_pruning_is_none_of_loading(url, monkeypatch):
    """It is kept, to be shown; the next look, ten minutes later, tries again."""
    load(url, text_of(log(days.chance(1), [TODAY - 3], each=20)))
    clock = Clock()
    made = Upkeep(KEEP, clock=clock)

    def fail(*_):
        raise ConfigError("no")

    with open_store(url) as store:
        made.step(store, is_idle=True)
        clock.now += 6
        monkeypatch.setattr(upkeeps, "is_due", fail)
        assert not made.step(store, is_idle=True)
        assert made.problem == "no"
        monkeypatch.undo()
        assert not made.step(store, is_idle=True)
        clock.now += 601
        assert made.step(store, is_idle=True)
        assert made.problem == ""


def test_another_program_that_prunes_is_left_alone(url):
    """Until it has been silent for long: then what it left is done."""
    load(url, text_of(log(days.chance(1), [TODAY - 3], each=20)))
    with open_store(url) as store:
        steps = Job(store.database, KEEP).steps()
        next(steps)
        assert not upkeeps.is_due(store.database, KEEP, time.time() + 60)
        assert upkeeps.is_due(store.database, KEEP, time.time() + 300)


# --- the file ---------------------------------------------------------------------------


def bulky(day, count=3000):
    """Give many events of a day, each with texts of its own."""
    return "".join(
        opening(day % 100 * 10_000 + n, name=f"/{day}/{n:0200d}", second=day * 86_400 + n)
        for n in range(count)
    )


@pytest.fixture
def sqlite_url(tmp_path):
    """Give the URL of a new SQLite store."""
    url = f"sqlite:///{tmp_path}/own.db"
    open_store(url).close()
    return url


def size(url):
    """Bytes of an SQLite store's file."""
    return Path(url.removeprefix("sqlite:///")).stat().st_size


def test_the_file_gets_smaller(sqlite_url):
    """A store that this program made gives back what the rows took."""
    load(sqlite_url, bulky(TODAY - 5) + bulky(TODAY, 300))
    before = size(sqlite_url)
    with open_store(sqlite_url) as store:
        prune(store.database, keep="1d")
        assert space_of(store.database).used == space_of(store.database).file
    assert size(sqlite_url) < before / 3


def test_to_open_a_store_waits_for_no_writer(sqlite_url):
    """That a file may shrink is set when it is made, and needs no lock later."""
    path = sqlite_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        database = SQLite(make_url(sqlite_url), busy=0.0)
        database.engine.raw_connection().close()
        database.engine.dispose()


def test_an_older_file_is_used_again_and_can_be_written_anew(sqlite_url, tmp_path):
    """It keeps its size, takes the next rows without growing, and shrinks after `rewrite`."""
    with closing(sqlite3.connect(tmp_path / "own.db")) as file:
        file.execute("PRAGMA auto_vacuum = NONE")
        file.execute("VACUUM")
    load(sqlite_url, bulky(TODAY - 5) + bulky(TODAY, 300))
    before = size(sqlite_url)
    with open_store(sqlite_url) as store:
        prune(store.database, keep="1d")
        assert not space_of(store.database).can_shrink
        assert space_of(store.database).used < before / 3
        load(sqlite_url, bulky(TODAY - 1, 2000), "more")
        assert size(sqlite_url) == before
        prune(store.database, now=(TODAY + 1) * 86_400, keep="1d")
        rewrite(store.database)
        assert space_of(store.database).can_shrink
        load(sqlite_url, bulky(TODAY - 2, 10), "after")
    assert size(sqlite_url) < before / 1.2
    assert days.dangling(sqlite_url) == []


def test_above_max_bytes_the_oldest_days_go(sqlite_url):
    """As many as needed and no more; today's stay, even if they are too many."""
    for day in range(TODAY - 4, TODAY + 1):
        load(sqlite_url, bulky(day, 800), str(day))
    with open_store(sqlite_url) as store:
        whole = space_of(store.database).used
        most = whole * 3 // 4
        due = list_due(sqlite_url, RetentionSettings(max_bytes=most), days.NOW)
        job = prune(store.database, max_bytes=most)
        gone = [date_of(day) for day in job.events]
        # Keys are hashes, so that pages become partly empty: a day more may go than is listed.
        assert [each.day for each in due] == gone[: len(due)]
        assert len(due) in (len(gone) - 1, len(gone))
        assert set(days.stored_events(sqlite_url)) >= {TODAY - 1, TODAY}
        assert most * 0.4 < space_of(store.database).used <= most
        prune(store.database, max_bytes=1 << 20)
        assert set(days.stored_events(sqlite_url)) == {TODAY}


POSTGRES = pytest.mark.parametrize(
    "url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


def partitions_of(url):
    """Give the days that have partitions, of each table."""
    sql = (
        "SELECT p.relname AS t, array_agg(right(c.relname, 8) ORDER BY c.relname) AS d"
        " FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " JOIN pg_class p ON p.oid = i.inhparent WHERE p.relkind = 'p' GROUP BY 1"
    )
    found = {row["t"]: row["d"] for row in rows(url, sql)}
    assert len(found) == len(FACTS)
    (only,) = {tuple(each) for each in found.values()}
    return [f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in only]


@POSTGRES
def test_max_bytes_drops_the_oldest_partitions(url):
    """As many as needed and no more; today's stays, and the bytes are free at once."""
    for day in range(TODAY - 4, TODAY + 1):
        load(url, bulky(day, 1500), str(day))
    with open_store(url) as store:
        whole = space_of(store.database).used
        # Two of five days leave three quarters, as little is in other tables. What is used is
        # estimated, and differs by some hundred bytes a moment later: the limit is not just there.
        limited = RetentionSettings(max_bytes=whole * 77 // 100)
        due = list_due(url, limited, days.NOW)
        job = prune(store.database, max_bytes=limited.max_bytes)
        assert [each.day for each in due] == [date_of(day) for day in job.events]
        assert space_of(store.database).used <= limited.max_bytes
        left = [date_of(day) for day in range(TODAY - 4, TODAY + 1) if day not in job.events]
        assert partitions_of(url) == left
        assert job.freed > whole // 5
        prune(store.database, max_bytes=1 << 20)
        assert partitions_of(url) == [date_of(TODAY)]
    assert days.dangling(url) == []
    assert days.unused(url) == {}
    assert differs(url) == []
    assert make_report(url, limited)["max_bytes"] == limited.max_bytes


@POSTGRES
def test_a_partition_that_somebody_reads_is_emptied_in_slices(url):
    """A query that takes long stops no pruning, and the partition goes when nobody reads it."""
    for day in range(TODAY - 3, TODAY + 1):
        load(url, bulky(day, 100), str(day))
    engine = create_engine(parse_url(url))
    with open_store(url) as store, engine.connect() as reader:
        reader.execute(text("SELECT count(*) FROM syscalls")).all()  # its locks stay
        job = prune(store.database, keep="1d")
        assert len(job.events) == 2
        assert len(days.stored_events(url)) == 2
        assert len(partitions_of(url)) == 4
        reader.rollback()
        prune(store.database, keep="1d")
        assert partitions_of(url) == [date_of(TODAY - 1), date_of(TODAY)]
    engine.dispose()
    assert differs(url) == []
    assert days.dangling(url) == []


@POSTGRES
def test_what_tables_have_after_rows_were_deleted_is_estimated(url, monkeypatch):
    """A table half of whose rows went counts half, and one of a new store counts whole."""
    monkeypatch.setattr(space_module, "_PAGES", 200)
    with open_store(url) as store:
        with store.engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO text (id, value) SELECT n, repeat('x', 100)"
                    " FROM generate_series(1, 20000) n"
                )
            )
        with store.engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            alone.execute(text("VACUUM text"))
        whole = space_of(store.database)
        assert whole.used == whole.file
        with store.engine.begin() as connection:
            connection.execute(text("DELETE FROM text WHERE id % 2 = 0"))
            connection.execute(text("INSERT INTO pruned_day VALUES (1, 1, 0, 1)"))
        half = space_of(store.database)
        assert half.file - whole.file < 100_000
        table = 20_000 * 140
        assert whole.used - table < half.used < whole.used - table / 4


# --- the command, status, ingest --------------------------------------------------------


@pytest.mark.one_database
def test_the_command_deletes_what_it_listed(url, tmp_path):
    """`--dry-run` changes nothing; the command says what went, and again that nothing did."""
    made = log(days.chance(1), [HERE - 9, HERE - 8, HERE - 1], each=20)
    load(url, text_of(made))
    environment = ours(tmp_path, url)

    def say(*words):
        done = commands.run("prune", *words, environment=environment, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = json.loads(say("--dry-run", "--format", "json"))
    assert [(each["day"], each["events"]) for each in listed] == [
        (date_of(HERE - 9), 20),
        (date_of(HERE - 8), 20),
    ]
    assert "held for" in say("--dry-run", "--format", "table")
    assert len(days.stored_events(url)) == 3
    assert "deleted: 40 events of 2 days, 0 raw lines" in say("--format", "table")
    assert set(days.stored_events(url)) == {HERE - 1}
    assert json.loads(say("--format", "json"))["events"] == {}


def test_a_file_that_cannot_shrink_is_told_in_both_forms(tmp_path):
    """One that an older version made: as text with the command, as JSON with a fact."""
    said = {}
    for form in ("json", "table"):
        url = f"sqlite:///{tmp_path}/{form}.db"
        load(url, text_of(log(days.chance(1), [HERE - 9, HERE - 1], each=500)))
        with closing(sqlite3.connect(tmp_path / f"{form}.db", isolation_level=None)) as old:
            old.execute("PRAGMA auto_vacuum = NONE")
            old.execute("VACUUM")
        words = ("prune", "--format", form)
        for more in ((), ("--rewrite",)):
            done = commands.run(*words, *more, environment=ours(tmp_path, url), text=True)
            assert (done.returncode, done.stderr) == (0, "")
            said[form, more] = done.stdout
    for more, is_so in (((), True), (("--rewrite",), False)):
        assert json.loads(said["json", more])["needs_rewrite"] is is_so
        assert ("`auditsvc prune --rewrite` makes it smaller" in said["table", more]) is is_so


@pytest.mark.one_database
def test_the_command_says_beforehand_what_it_deletes(url, tmp_path):
    """Where the log is signed; if it cannot, nothing is deleted, and the line says why."""
    load(url, text_of(log(days.chance(1), [HERE - 9, HERE - 1], each=20)))
    spool, environment = tmp_path / "state" / "spool", ours(tmp_path, url)
    (spool / "evidence").mkdir(parents=True, mode=0o700)
    (spool / "evidence" / "pruned").mkdir()
    done = commands.run("prune", environment=environment, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Is a directory" in done.stderr
    assert "Traceback" not in done.stderr
    assert set(days.stored_events(url)) == {HERE - 9, HERE - 1}
    (spool / "evidence" / "pruned").rmdir()
    with reading(open_database(url)) as connection:
        begin(spool, identity_in(connection), [])
    assert commands.run("prune", environment=environment).returncode == 0
    assert announced_days(spool, url) == {HERE - 9}


def test_the_command_without_anything_to_limit_by(url, tmp_path):
    """It is a wrong use, and the line says which setting there is."""
    environment = ours(tmp_path, url)
    del environment["AUDITSVC_RETENTION__KEEP"]
    done = commands.run("prune", environment=environment, text=True)
    assert done.returncode == 2
    assert "retention.keep" in done.stderr


@pytest.mark.one_database
def test_status_says_what_is_kept_and_what_is_held(url, tmp_path):
    """With the reader that days wait for, what was pruned, and when the store will be full."""
    with open_store(url) as store:
        load(url, text_of(log(days.chance(1), [HERE - 9], each=20)))
        prune(store.database, now=time.time(), keep="3d")
        Feed(store, "journal")
        load(url, text_of(log(days.chance(2), [HERE - 8], each=20, serial=50)), "late")
        with store.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM store_size")
            for hours, count in ((48, 10_000), (24, 20_000)):
                connection.exec_driver_sql(
                    f"INSERT INTO store_size VALUES ({int(time.time()) - hours * 3600}, {count}, 0)"
                )
    facts = make_report(url, RetentionSettings(keep="3d"))
    assert facts["keep"] == "3d"
    assert facts["pruned_events"] == 20
    assert facts["oldest"].startswith(date_of(HERE - 8))
    assert "journal has not had" in facts["held"]
    assert facts["bytes_a_day"] == 10_000
    assert "about 40000 bytes" in facts["forecast"] or "server" in facts["forecast"]
    done = commands.run("status", environment=ours(tmp_path, url), text=True)
    told = json.loads(done.stdout)
    assert told["retention"]["held"] == facts["held"]
    assert "retention: events from" in told["health"]["problems"]


@pytest.mark.one_database
def test_ingest_says_what_becomes_of_an_old_log(url, tmp_path):
    """It is stored until the next prune; what was read before is not read again."""
    file = tmp_path / "old.log"
    file.write_text(text_of(log(days.chance(1), [HERE - 9], each=20)))
    environment = ours(tmp_path, url)
    words = "older events are stored until the next prune"
    done = commands.run("ingest", file, environment=environment, text=True)
    assert done.stdout.startswith("20 new events")
    assert words in done.stderr
    commands.run("prune", environment=environment, text=True)
    done = commands.run("ingest", file, environment=environment, text=True)
    assert done.stdout.startswith("0 new events; 0 records already stored")
    assert "is not read again" in done.stderr
    assert days.stored_events(url) == {}
    other = tmp_path / "other.log"  # the same events, in a log that was not read
    other.write_text("type=EOE msg=audit(1.000:1):\n" + file.read_text())
    done = commands.run("ingest", other, environment=environment, text=True)
    assert done.stdout.startswith("20 new events")
    assert rows(url, "SELECT cause FROM ledger WHERE cause = 'duplicate' AND count > 0") == []
