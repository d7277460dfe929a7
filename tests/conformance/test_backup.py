"""Backup, restore and repair: whole copies while others write; what is damaged is not taken."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from faults.test_service_faults import Run
from fixtures import commands
from fixtures.filled import filled_store, from_outside, log, problems, url_of
from fixtures.logs import SECOND, load, rows
from fixtures.waiting import until

from auditsvc.errors import AuditsvcError, StoreError, UsageError
from auditsvc.store.backup import backup, restore
from auditsvc.store.databases import file_url

COUNT = "SELECT (SELECT count(*) FROM syscalls) + (SELECT count(*) FROM events) AS n"


@pytest.fixture
def path(tmp_path):
    """Give the path of a store with 300 events."""
    return filled_store(tmp_path)


# --- backup and restore ------------------------------------------------------------------


def test_a_copy_is_one_file_that_only_its_owner_reads(path, tmp_path):
    """Complete, whole, mode 0600, and no other file is left."""
    (tmp_path / "copies").mkdir()
    made = backup(url_of(path), tmp_path / "copies/copy.db")
    assert [each.name for each in made.path.parent.iterdir()] == ["copy.db"]
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert made.newest == SECOND
    assert problems(url_of(made.path)) == {}
    assert rows(url_of(made.path), COUNT) == rows(url_of(path), COUNT) == [{"n": 300}]


@pytest.mark.parametrize("kind", ["link", "loose link", "folder", "pipe"])
def test_only_a_file_is_moved_aside(path, tmp_path, kind):
    """A link may lead to a larger disk, and whatever else is there is no store."""
    copy = backup(url_of(path), tmp_path / "copy.db").path
    target = tmp_path / "target"
    if kind == "folder":
        target.mkdir()
    elif kind == "pipe":
        os.mkfifo(target)
    else:
        target.symlink_to(path if kind == "link" else tmp_path / "none")
    before = os.lstat(target)
    done = commands.run("restore", copy, "--replace", "--store", url_of(target), text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"auditsvc: {target} is ")
    assert done.stderr.count("\n") == 1
    assert os.lstat(target) == before
    assert not list(tmp_path.glob("*replaced*"))


@pytest.mark.parametrize(
    "name", ["a?b.db", "a#b.db", "a%20b.db", "a b.db", "file:a.db", "sqlite:a.db", b"\xff.db"]
)
def test_a_path_is_no_url(path, tmp_path, monkeypatch, name):
    """A copy has the name that was given, and is found by it; so is a store, by its URL."""
    name = os.fsdecode(name)
    monkeypatch.chdir(tmp_path)
    for there in (Path(name), tmp_path / "copies" / name):  # from the folder itself, and above
        (tmp_path / "copies").mkdir(exist_ok=True)
        environment = os.environ | {"AUDITSVC_STORE": url_of(path)}
        within = {"text": True, "environment": environment}
        done = commands.run("backup", there, **within)
        assert (done.returncode, done.stderr) == (0, "")
        copy = tmp_path / there
        assert copy.is_file()
        target = copy.with_name(f"new {name}")
        done = commands.run("restore", there, "--store", file_url(target), **within)
        assert (done.returncode, done.stderr) == (0, "")
        assert target.is_file()
        assert problems(file_url(target)) == {}
        load(file_url(target), log(301, 310), "another log")
        assert rows(file_url(target), COUNT) == [{"n": 310}]
        done = commands.run("check", "--store", file_url(target), **within)
        assert (done.returncode, done.stderr) == (0, "")
        # One with rows missing is told with a command that finds it.
        with closing(sqlite3.connect(target, isolation_level=None)) as connection:
            connection.execute("DELETE FROM context")
        done = commands.run("restore", target, "--replace", **within)
        assert done.returncode == 1
        assert f"--store {file_url(target)}` shows all" in done.stderr
        for each in (copy, target):
            each.unlink()
    assert not (tmp_path / "a").exists()


def test_a_folder_that_is_not_there_is_not_made(path, tmp_path):
    """A typo, or a disk that is not mounted, fills no other place."""
    done = commands.run("backup", tmp_path / "copeis/x.db", "--store", url_of(path), text=True)
    assert done.returncode == 2
    assert done.stderr == (
        f"auditsvc: there is no folder {tmp_path}/copeis; make it, or give another file\n"
    )
    assert not (tmp_path / "copeis").exists()


def test_what_is_no_backup_is_told_as_that(path, tmp_path):
    """Not as a store: nobody is to make one there, or to remove a device."""
    (tmp_path / "empty").touch()
    for name, says in (
        ("/nowhere", "/nowhere: No such file or directory"),
        ("/dev/zero", "/dev/zero is not a regular file"),
        (tmp_path, f"{tmp_path} is not a regular file"),
        (tmp_path / "empty", f"{tmp_path}/empty is empty"),
    ):
        words = ("restore", name, "--store", url_of(path), "--replace")
        done = commands.run(*words, text=True)
        assert done.returncode == (1 if says.endswith("empty") else 2)
        assert done.stderr == f"auditsvc: {says}; give a file that `auditsvc backup` made\n"
    assert rows(url_of(path), COUNT) == [{"n": 300}]


def test_a_terminal_is_told_what_is_done(path, tmp_path):
    """Copying and checking, in one line that is gone at the end; elsewhere nothing is told."""
    ours, theirs = os.openpty()
    words = ("backup", tmp_path / "copy.db", "--store", url_of(path))
    environment = os.environ | {"TERM": "xterm"}
    with os.fdopen(theirs, "wb") as screen:
        process = commands.Begun(
            *words, environment=environment, stdout=subprocess.PIPE, stderr=screen
        )
    said = b""
    with suppress(OSError), os.fdopen(ours, "rb", buffering=0) as terminal:  # EIO: it has ended
        while more := terminal.read(65536):
            said += more
    assert json.loads(process.communicate(timeout=60)[0])["file"] == str(tmp_path / "copy.db")
    assert b"writing it to the disk" in said or b"checking the copy" in said
    quiet = commands.run("check", "--store", url_of(path))
    assert quiet.stderr == b""


def test_a_copy_while_others_write_is_one_moment(path, tmp_path):
    """Each copy is whole, has what was there when it began, and the writer never waits for it."""
    written, stopping = [300], threading.Event()

    def write():
        while not stopping.is_set():
            last = written[0] + 50
            load(url_of(path), log(written[0] + 1, last), name=f"log{last}")
            written[0] = last

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            before = written[0]
            until(lambda before=before: written[0] > before)  # it writes on
            at_least = written[0]
            made = backup(url_of(path), tmp_path / f"copy{number}.db")
            (found,) = rows(url_of(made.path), COUNT)
            assert at_least <= found["n"] <= written[0] + 50
            assert problems(url_of(made.path)) == {}
    finally:
        stopping.set()
        writer.join()


def test_nothing_is_overwritten(path, tmp_path):
    """A file that exists is refused by both; with --replace the old store is moved aside."""
    copy = backup(url_of(path), tmp_path / "copy.db").path
    with pytest.raises(UsageError, match="exists already"):
        backup(url_of(path), copy)
    with pytest.raises(UsageError, match="--replace"):
        restore(copy, url_of(path), replace=False)
    load(url_of(path), log(301, 310))
    wal = path.with_name("store.db-wal")
    wal.write_bytes(b"left by a crash")
    moved = restore(copy, url_of(path), replace=True).moved
    assert rows(url_of(path), COUNT) == [{"n": 300}]
    assert not wal.exists()
    assert [each.name.partition(".replaced-")[0] for each in moved] == ["store.db", "store.db"]
    assert moved[1].name == f"{moved[0].name}-wal"


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "page", "other"])
def test_a_damaged_backup_is_not_restored(path, tmp_path, damage):
    """The store that is there stays as it is."""
    copy = backup(url_of(path), tmp_path / "copy.db").path
    content = copy.read_bytes()
    if damage == "other":
        copy.unlink()
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("CREATE TABLE a (b)")
    else:
        half = len(content) // 2
        copy.write_bytes(
            {
                "empty": b"",
                "text": b"no database" * 500,
                "cut": content[:half],
                "page": content[: half - 4096] + os.urandom(8192) + content[half + 4096 :],
            }[damage]
        )
    with pytest.raises(StoreError):
        restore(copy, url_of(path), replace=True)
    assert rows(url_of(path), COUNT) == [{"n": 300}]
    known = {"store.db", "store.db-wal", "store.db-shm", "copy.db"}
    assert {each.name for each in tmp_path.iterdir()} <= known


def test_a_damaged_store_gives_no_backup(path, tmp_path):
    """A copy of damaged pages would take the place of a whole one."""
    content = path.read_bytes()
    half = len(content) // 2 & ~4095
    path.write_bytes(content[:half] + os.urandom(len(content) - half))
    with pytest.raises(StoreError, match=r"damaged") as caught:
        backup(url_of(path), tmp_path / "copy.db")
    assert "docs/backup.md" in caught.value.hint
    assert [each.name for each in tmp_path.iterdir() if "copy" in each.name] == []
    sql = "SELECT * FROM all_events"
    done = commands.run("query", sql, "--store", url_of(path), text=True)
    assert "docs/backup.md" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_disk_without_room_is_told_before_anything_is_written(path, tmp_path, monkeypatch):
    """With how much is needed."""
    monkeypatch.setattr(
        "auditsvc.store.backup.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 9)
    )
    with pytest.raises(StoreError, match=r"9 bytes free.*needs [0-9]+"):
        backup(url_of(path), tmp_path / "copy.db")
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith((".", "copy"))] == []


@pytest.mark.postgres
def test_a_server_s_own_programs_are_named(postgres_url, tmp_path):
    """Without the password."""
    with pytest.raises(UsageError, match="pg_dump --format=custom") as caught:
        backup(postgres_url.replace("://", "://me:secret@", 1).split("@")[0] + "@db/a", tmp_path)
    assert "secret" not in str(caught.value)
    with pytest.raises(UsageError, match="pg_restore --exit-on-error"):
        restore(tmp_path / "x", postgres_url, replace=True)


@pytest.mark.postgres
def test_the_server_s_programs_do_it_as_the_page_says(postgres_server, postgres_url, tmp_path):
    """The page's own lines: the store as it was, in place of one that went on; damage comes along.

    The database that was there has another name then, and is as it was.
    """
    place, _, name = postgres_url.rpartition("/")
    page = (Path(__file__).parents[2] / "docs/backup.md").read_text()
    page = page.replace("postgresql://auditsvc@db", place).replace("/backup/", f"{tmp_path}/")
    page = re.sub(r"(/| DATABASE )audit\b", rf"\g<1>{name}", page)
    page = page.replace("audit_replaced", f"{name}_replaced")
    dump, *back = re.findall(r"(?m)^(?:pg_dump|psql|pg_restore) .*", page)
    assert len(back) == 3
    path = {"PATH": f"{postgres_server.programs}:{os.environ['PATH']}"}

    def typed(line):
        subprocess.run(["sh", "-euc", line], check=True, env=os.environ | path)

    load(postgres_url, log(1, 20))
    from_outside(postgres_url, "UPDATE ledger_entry SET count = 1 WHERE cause = 'stored'")
    typed(dump)
    load(postgres_url, log(21, 30), name="another")
    for line in back:
        typed(line)
    assert rows(postgres_url, COUNT) == [{"n": 20}]
    assert rows(f"{postgres_url}_replaced", COUNT) == [{"n": 30}]
    assert list(problems(postgres_url)) == ["ledger"]
    load(postgres_url, log(31, 40), name="goes on")
    assert rows(postgres_url, COUNT) == [{"n": 30}]


def test_a_backup_with_rows_missing_is_refused(path, tmp_path):
    """Not put in place in silence: `check`'s word, the way on, and --damaged, which says it too."""
    copy = backup(url_of(path), tmp_path / "copy.db").path
    from_outside(url_of(copy), "DELETE FROM text WHERE id = (SELECT min(fields) FROM event)")
    words = ("restore", copy, "--replace", "--store", url_of(path), "--format", "json")
    done = commands.run(*words, text=True)
    assert done.returncode == 1
    assert f"{copy} is damaged: references of event to text: " in done.stderr
    assert f"`auditsvc check --store {url_of(copy)}` shows all" in done.stderr
    assert done.stderr.count("\n") == 1
    assert problems(url_of(path)) == {}
    assert not list(tmp_path.glob("store.db.re*"))
    done = commands.run(*words, "--damaged", text=True)
    assert (done.returncode, done.stderr) == (0, "")
    (told,) = json.loads(done.stdout)["problems"]
    assert told.startswith("references of event to text: ")
    assert list(problems(url_of(path))) == ["references of event to text"]


def test_a_backup_of_an_older_schema_is_taken(path, tmp_path):
    """Its tables are others than those that `check` knows: that is told, with what to do."""
    copy = backup(url_of(path), tmp_path / "copy.db").path
    from_outside(url_of(copy), "UPDATE alembic_version SET version_num = '0001'")
    (told,) = restore(copy, url_of(path), replace=True).problems
    assert told.startswith("only its pages were checked, as its schema is an older one (0001)")


def test_a_backup_with_the_views_of_another_version_is_taken(path, tmp_path):
    """Of the same schema: the program that opens the store makes its own; `check` says which."""
    copy = backup(url_of(path), tmp_path / "copy.db").path
    for statement in (
        "DROP VIEW story",
        "CREATE VIEW story AS SELECT 1 AS event_id",
        "UPDATE store_info SET value = 'another' WHERE name = 'content'",
    ):
        from_outside(url_of(copy), statement)
    (told,) = restore(copy, url_of(path), replace=True).problems
    assert told.startswith("schema: not as auditsvc made it, or another version's (`auditsvc mig")
    load(url_of(path), log(301, 310))
    assert problems(url_of(path)) == {}


# --- repair ------------------------------------------------------------------------------


def test_the_spool_fills_what_a_restored_backup_lacks(tmp_path):
    """Damage, restore, run: every event once, and that rows were lost is in the evidence."""
    store = tmp_path / "store.db"
    run = Run(tmp_path, url_of(store))
    run.feed(40)
    until(lambda: store.exists() and count(store) >= 40)
    copy = tmp_path / "copy.db"
    words = ("backup", copy, "--format", "json")
    made = commands.run(*words, environment=run.environment, text=True)
    assert json.loads(made.stdout)["file"] == str(copy)
    run.feed(60)
    replace = ("restore", "--replace", copy)
    done = commands.run(*replace, environment=run.environment, text=True)
    assert done.returncode == 2
    assert "stop it first" in done.stderr  # its rows would go into a file that nobody reads
    assert run.end()[0] == 0
    with store.open("r+b") as file:  # the schema's page and what follows
        file.write(os.urandom(65536))
    refused = Run(tmp_path, url_of(store))
    refused.feed(0)
    assert refused.end()[0] == 1  # it says so, and stores nothing
    done = commands.run(*replace, environment=run.environment, text=True)
    assert done.returncode == 0, done.stderr
    again = Run(tmp_path, url_of(store))
    again.fed = 100
    again.feed(5)
    assert again.end()[0] == 0
    found = rows(url_of(store), "SELECT serial FROM syscalls ORDER BY serial")
    assert [row["serial"] for row in found] == list(range(1, 106))
    said = rows(
        url_of(store),
        "SELECT count(*) AS n FROM events WHERE fields ->> 'state' = 'lost-rows'",
    )
    assert said == [{"n": 1}]
    assert problems(url_of(store)) == {}


def test_without_a_backup_the_spool_is_loaded_into_a_new_store(tmp_path):
    """As docs/backup.md says: the damaged file and store.json away, then run."""
    store = tmp_path / "store.db"
    run = Run(tmp_path, url_of(store))
    run.feed(50)
    assert run.end()[0] == 0
    for file in tmp_path.glob("store.db*"):
        file.rename(tmp_path / f"damaged{file.suffix}")
    (tmp_path / "state/spool/store.json").unlink()
    again = Run(tmp_path, url_of(store))
    again.fed = 50
    again.feed(5)
    assert again.end()[0] == 0
    assert count(store) == 55
    other = tmp_path / "other.db"
    done = commands.run(
        *("ingest", *sorted((tmp_path / "state/spool").glob("audit-*.log"))),
        *("--store", url_of(other)),
    )
    assert done.returncode == 0, done.stderr
    assert count(other) == 55


def count(store):
    """Give the number of calls in a store."""
    try:
        return rows(url_of(store), "SELECT count(*) AS n FROM syscalls")[0]["n"]
    except AuditsvcError:  # it is just being made
        return 0
