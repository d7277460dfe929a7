"""The view `access`: each query, search and report is a row; readers can forge none of others."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from faults.test_service_faults import Run
from fixtures import commands
from fixtures.commands import Begun
from fixtures.logs import SECOND, balanced, load, opening, record, rows
from fixtures.other_user import NOBODY, as_user, reachable_folder
from fixtures.waiting import at_rest, until
from psycopg import errors
from sqlalchemy import make_url, text

from auditsvc import cli
from auditsvc.access import client, pending
from auditsvc.access.client import recording
from auditsvc.access.entry import Asked, this_reader
from auditsvc.access.tables import entry_values, insert_end, insert_entry
from auditsvc.config import load_settings
from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.report.choice import Choice
from auditsvc.report.report import make_daily
from auditsvc.store import open_store
from auditsvc.store.read.time_span import Span
from auditsvc.store.write.prune import DAY, Pruner, ids_of

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
END = {"at": SECOND << SERIAL_BITS, "ms": 0, "rows": 1, "ended": "done"}
SQL_PAGE = Path(__file__).parents[2] / "docs/sql.md"


@pytest.fixture
def environment(url, tmp_path):
    """Give the environment of commands on a store with two calls, without a service."""
    load(url, opening(1) + opening(2))
    return os.environ | {
        "AUDITSVC_STORE": url,
        "AUDITSVC_STATE_DIRECTORY": str(tmp_path / "state"),
        "AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path / "run"),
    }


def accesses(url):
    """Give the rows, oldest first, also what a file beside the store holds."""
    with open_store(url) as store:
        assert pending.load(store, url) == ""
    return rows(url, "SELECT * FROM access ORDER BY event_id >> 30, time")


def shown(row, *names):
    """Give these columns."""
    return tuple(row[name] for name in names)


RECORDED = {
    *("query", "shell", "search", "top", "tail", "tree", "web", "report", "forward"),
    *("compliance", "backup"),
}
"""Commands that show what is in the store, or copy it; of `forward`, its --dry-run."""
NO_EVENTS = {
    *("run", "ingest", "prune", "archive", "verify", "status", "metrics", "doctor", "coverage"),
    *("adopt", "on", "off", "restore", "check", "migrate"),
}
"""They show none: counts, states, what is wrong, the processes that live."""


def test_no_command_is_forgotten():
    """A new command that reads is recorded, or is said here to show no event."""
    folder = Path(cli.__file__).parent
    verbs = {each.words[0] for each in cli.all_commands() if len(each.words) == 1}
    assert verbs - {"rules", "fleet", "config"} == RECORDED | NO_EVENTS  # which have commands
    for verb in RECORDED - {"query", "web"}:  # which have it from rooms of their own
        assert "recorded(settings" in (folder / f"{verb}.py").read_text(), verb


@pytest.mark.one_database
def test_each_command_that_reads_is_a_row(url, environment, tmp_path):
    """With its options, its SQL, how many rows it gave and how it ended."""
    for words in (
        ["query", "SELECT serial FROM syscalls", "--format", "csv"],
        ["query", "SELECT nothing"],
        ["search", "-k", "files", "--store", url],
        ["search", "-k", "none of these"],
        ["report", "file", "--summary"],
        ["report", "daily", "--since", "2025-06-15", "--until", "2025-06-16"],
        ["rules", "report", "--days", "3"],
        ["tree", "--session", "3", "--format", "json"],
        ["tree", "100"],
        ["forward", "--dry-run", "--minutes", "1"],
        ["backup", str(tmp_path / "copy")],
    ):
        done = commands.run(*words, environment=environment, text=True)
        assert "not recorded" not in done.stderr
    found = accesses(url)
    assert [shown(row, "command", "options", "sql", "rows") for row in found][:5] == [
        ("query", "--format csv", "SELECT serial FROM syscalls", 2),
        ("query", "", "SELECT nothing", 0),
        ("search", "-k files", None, 2),
        ("search", "-k 'none of these'", None, 0),
        ("report", "file --summary", None, 1),
    ]
    assert [shown(row, "command", "options") for row in found][5:] == [
        ("report", "daily --since 2025-06-15 --until 2025-06-16"),
        ("rules_report", "--days 3"),
        ("tree", "--session 3 --format json"),
        ("tree", "100"),
        ("forward", "--dry-run --minutes 1"),
        ("backup", str(tmp_path / "copy")),
    ]
    assert found[8]["rows"] == 1
    assert {row["ended"] for row in found[:1] + found[2:7] + found[8:10]} == {"done"}
    assert found[7]["ended"].startswith("failed: ")  # there is no such session
    # A server's own programs copy it; that it was asked for is on record all the same.
    assert (found[10]["ended"] == "done") == url.startswith("sqlite")
    assert found[1]["ended"].startswith("failed: ")
    assert "nothing" in found[1]["ended"]
    assert {shown(row, "uid", "name", "host") for row in found} == {
        (0, "root", os.uname().nodename)
    }
    assert all(row["ended_at"] >= row["time"] for row in found)
    assert "secret" not in str(found)


@pytest.mark.one_database
def test_who_is_ended_by_a_limit_or_a_signal(url, environment):
    """A row says that, too."""
    commands.run("query", ENDLESS, "--timeout", "0.2", environment=environment)
    assert [row["ended"] for row in accesses(url)] == [
        "failed: the question took longer than 0.2 s"
    ]
    process = Begun("query", ENDLESS, environment=environment)
    until(lambda: len(accesses(url)) == 2)
    process.send_signal(signal.SIGINT)
    process.wait()
    assert [row["ended"] for row in accesses(url)][1] == "interrupted"


@pytest.mark.one_database
def test_a_time_can_be_asked_for(url, environment):
    """`--since` and `--until` apply to the view."""
    commands.run("query", "SELECT 1", environment=environment)
    accesses(url)
    count = "SELECT count(*) AS n FROM access WHERE sql = 'SELECT 1'"
    for words, found in ((["--since", "-1h"], "1"), (["--until", "-1h"], "0")):
        done = commands.run("query", count, *words, environment=environment, text=True)
        assert done.stdout.split() == ["n", found]


def put(store, url, values):
    """Have an access with these columns, and its end."""
    end = END | {"id": values["id"]}
    if url.startswith("sqlite"):
        pending.append(pending.file_of(url), "entry", values)
        pending.append(pending.file_of(url), "end", end)
        assert pending.load(store, url) == ""
    else:
        insert_entry(store.database, values)
        insert_end(store.database, end)


def test_pruned_with_the_days_that_are_not_kept(url):
    """Old rows go with the events of their time."""
    load(url, opening(1) + opening(2, second=SECOND + DAY))
    with open_store(url) as store:
        for second in (SECOND, SECOND + DAY):
            values = entry_values(Asked("query", "", "SELECT 1", ""), this_reader("box"))
            put(store, url, values | {"id": second << SERIAL_BITS})
        pruner = Pruner(store.database)
        pruner.begin()
        with pruner.turn() as connection:
            pruner.delete_slice(connection, *ids_of(SECOND // DAY), 100)
            (ends,) = connection.execute(text("SELECT count(*) FROM access_end")).one()
        pruner.end()
    assert ends == 1
    assert [row["event_id"] >> SERIAL_BITS for row in accesses(url)] == [SECOND + DAY]


@contextmanager
def role_of(server_url, grants):
    """Give the URL of a role that may read a store, and has these grants."""
    role = f"reader_{time.time_ns()}"
    with psycopg.connect(server_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
        owner.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        for grant in grants:
            owner.execute(f"{grant} TO {role}")
        parsed = make_url(server_url).set(username=role, password="secret")
        try:
            yield role, parsed.render_as_string(hide_password=False)
        finally:
            owner.execute(f"DROP OWNED BY {role}")
            owner.execute(f"DROP ROLE {role}")


GRANTS = re.findall(r"^(GRANT INSERT .*) TO \w+;$", SQL_PAGE.read_text(), flags=re.MULTILINE)


@pytest.fixture
def reader(postgres_url):
    """Give the name and the URL of a role with the grants of docs/sql.md."""
    assert len(GRANTS) == 2
    with role_of(postgres_url, GRANTS) as made:
        yield made


def ask_as(url, tmp_path, **more):
    """Run a query with a URL that has a password; give what it printed."""
    environment = os.environ | {"AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path)} | more
    return commands.run(
        "query", "SELECT 7 AS x", "--store", url, environment=environment, text=True
    )


@pytest.mark.postgres
def test_the_server_says_who_inserted_a_row(postgres_url, reader, tmp_path):
    """The role and its address are the server's word; no password is in the row."""
    role, url = reader
    assert ask_as(url, tmp_path).stderr == ""
    (row,) = accesses(postgres_url)
    assert shown(row, "role", "client", "known_by", "rows", "ended") == (
        *(role, "127.0.0.1", "database"),
        *(1, "done"),
    )
    assert "secret" not in str(row)


FORGERIES = [
    "INSERT INTO access_entry (id, ms, host, command, options, role) SELECT 7, 0, '', '', '', 'x'",
    "INSERT INTO access_entry (id, ms, host, command, options, client) SELECT 7, 0, '', '', '', ''",
    "INSERT INTO access_end (id, role, at, ms, ended) VALUES (7, 'ann', 0, 0, '')",
    "UPDATE access_entry SET sql = ''",
    "UPDATE access_end SET rows = 0",
    "DELETE FROM access_entry",
    "DELETE FROM access_end",
    "TRUNCATE access_entry",
    "INSERT INTO event (id, ms, serial, host, type, state) VALUES (1, 0, 1, 1, 1207, 0)",
]


@pytest.mark.postgres
@pytest.mark.parametrize("forgery", FORGERIES, ids=range(len(FORGERIES)))
def test_no_role_writes_for_another(reader, forgery):
    """It may insert what it did itself, and change nothing."""
    with (
        psycopg.connect(reader[1]) as connection,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        connection.execute(forgery)


@pytest.mark.postgres
def test_no_role_ends_the_access_of_another(postgres_url, reader):
    """An end of another role is not shown, and keeps the right one out of nothing."""
    with open_store(postgres_url) as store:
        values = entry_values(Asked("query", "", "SELECT 1", ""), this_reader("box"))
        insert_entry(store.database, values)
        with psycopg.connect(reader[1], autocommit=True) as connection:
            connection.execute(
                "INSERT INTO access_end (id, at, ms, rows, ended) VALUES (%s, 0, 0, 9, 'forged')",
                (values["id"],),
            )
        assert [row["ended"] for row in accesses(postgres_url)] == [None]
        insert_end(store.database, END | {"id": values["id"]})
    assert [row["ended"] for row in accesses(postgres_url)] == ["done"]


@pytest.mark.postgres
def test_without_a_grant_it_is_said(postgres_url, tmp_path):
    """The query is answered, with a line on stderr; or refused, where a record is required."""
    with role_of(postgres_url, []) as (_, url):
        done = ask_as(url, tmp_path)
        assert (done.returncode, done.stdout) == (0, "x\n7\n")
        assert done.stderr.startswith("auditsvc: not recorded: ")
        assert "secret" not in done.stderr
        done = ask_as(url, tmp_path, AUDITSVC_ACCESS__REQUIRED="true")
        assert (done.returncode, done.stdout) == (1, "")
        assert "nothing is read" in done.stderr
    assert accesses(postgres_url) == []


@pytest.fixture
def public():
    """Give the URL of an SQLite store that every user may read, and nobody else write."""
    with reachable_folder() as folder:
        url = f"sqlite:///{folder}/store.db"
        load(url, opening(1))
        folder.chmod(0o755)
        for each in folder.iterdir():
            each.chmod(0o644)
        yield url


def read_as_nobody(settings):
    """Read as a user who may read the file; give why it is not recorded."""

    def read():
        with recording(settings, "query", "", "SELECT 1") as access:
            return access.reason

    return as_user(NOBODY, read)


def test_who_may_only_read_the_file_is_not_recorded_without_a_service(public, tmp_path):
    """He cannot write beside the store; that there is no record is said."""
    settings = load_settings(store=public, runtime_directory=tmp_path / "run")
    assert "Permission denied" in read_as_nobody(settings)
    assert accesses(public) == []


def test_who_may_only_read_the_file_is_recorded_by_the_service(public, monkeypatch):
    """With his uid, on the kernel's word, in the store of the service; each access once."""
    monkeypatch.setattr(client, "_SECONDS", 60.0)  # as long as a busy host takes
    folder = Path(public.removeprefix("sqlite:///")).parent
    run = Run(folder, public)
    run.wait_ready()
    settings = load_settings(store=public, runtime_directory=folder / "run")
    assert read_as_nobody(settings) == ""
    for _ in range(3):
        with recording(settings, "query", "", "SELECT * FROM access") as access:
            assert access.reason == ""

    def ended():
        return len(rows(public, "SELECT * FROM access WHERE ended = 'done'"))

    until(lambda: ended() >= 4)
    found = at_rest(ended, seconds=0.6)
    status, _ = run.end()
    assert (status, found) == (0, 4)
    first, *others = accesses(public)
    assert shown(first, "uid", "known_by", "rows", "ended") == (NOBODY, "service", 0, "done")
    assert {shown(row, "uid", "known_by") for row in others} == {(0, "service")}
    assert rows(public, "SELECT count(*) AS n FROM access") == [{"n": 4}]
    assert balanced(public)


def test_a_line_of_another_log_is_no_access(url):
    """What another program wrote, or another host's service, is an event and no row here."""
    line = record(
        "DAEMON_ACCEPT", 1, 'op=access id=1 command=query data="" pid=1 uid=0 res=success'
    )
    load(url, line)
    assert accesses(url) == []
    load(url, line.replace(":1)", ":2)"), kind="spool")
    assert len(accesses(url)) == 1


def test_a_file_that_others_may_write_is_refused(public):
    """Its lines could be anybody's."""
    file = pending.file_of(public)
    pending.append(file, "entry", entry_values(Asked("query", "", "", ""), this_reader("box")))
    file.chmod(0o666)
    with open_store(public) as store:
        assert "others may write it" in pending.load(store, public)
    assert rows(public, "SELECT count(*) AS n FROM access") == [{"n": 0}]


@pytest.mark.parametrize("line", [b"{", b"[]", b"[1, 2]", b'["entry", {"id": 1}]', b"\xff"])
def test_a_damaged_file_is_kept_and_told(public, line):
    """Nothing of it is loaded, and nothing is deleted."""
    file = pending.file_of(public)
    pending.append(file, "entry", entry_values(Asked("query", "", "", ""), this_reader("box")))
    file.write_bytes(file.read_bytes() + line + b"\n")
    with open_store(public) as store:
        assert "is not loaded" in pending.load(store, public)
    assert file.exists()
    assert rows(public, "SELECT count(*) AS n FROM access") == [{"n": 0}]


def test_words_that_are_no_text_are_recorded(url, environment):
    """Bytes that are not UTF-8 hinder neither the answer nor this record, nor any other one."""
    word = os.fsdecode(b"/x\xff\xed\xb3\xbf")
    for words in (["search", "--file", word], ["query", "SELECT 7"]):
        done = commands.run(*words, environment=environment, text=True)
        assert "not recorded" not in done.stderr
        assert "Traceback" not in done.stderr
    assert [shown(row, "command", "options", "sql") for row in accesses(url)] == [
        ("search", r"--file '/x\xff\xed\xb3\xbf'", None),
        ("query", "", "SELECT 7"),
    ]


def test_a_line_for_which_there_is_no_room_leaves_no_piece(public, monkeypatch):
    """The file holds whole lines, whatever the disk takes: a piece would keep all others out."""
    file = pending.file_of(public)
    values = entry_values(Asked("query", "", "", ""), this_reader("box"))
    pending.append(file, "entry", values)
    before, real = file.read_bytes(), os.write
    monkeypatch.setattr(pending.os, "write", lambda to, data: real(to, data[:9]))
    with pytest.raises(OSError, match="No space left"):
        pending.append(file, "end", {"id": values["id"]} | END)
    monkeypatch.undo()
    assert file.read_bytes() == before
    assert len(accesses(public)) == 1


def test_a_file_that_was_loaded_before_a_crash_adds_nothing(public):
    """It is loaded again if it was not deleted."""
    file = pending.file_of(public)
    pending.append(file, "entry", entry_values(Asked("query", "", "", ""), this_reader("box")))
    kept = file.read_bytes()
    assert len(accesses(public)) == 1
    file.write_bytes(kept)
    file.chmod(0o600)
    assert len(accesses(public)) == 1
    assert not file.exists()


def test_audits_own_health_is_not_full_of_accesses(url):
    """`report daily` has starts, ends and errors there; who read is in the view."""
    lines = "".join(
        record(kind, n, f'op={op} id=1 data="" pid=1 uid=0 auid=0 res=success')
        for n, (kind, op) in enumerate(
            [("DAEMON_ACCEPT", "access"), ("DAEMON_CLOSE", "access"), ("DAEMON_ACCEPT", "connect")]
        )
    )
    load(url, lines, kind="spool")
    with make_daily(url, Choice()) as daily:
        (health,) = [each for each in daily.sections if each.name == "audit"]
    assert [row[1:3] for row in health.rows] == [("DAEMON_ACCEPT", "connect")]


@pytest.mark.one_database
def test_a_review_is_on_record(url, environment):
    """`report daily --reviewed`: who and when, shown under the report of that time alone."""
    times = ("--since", "2025-06-15", "--until", "2025-06-16")
    done = commands.run(
        *("report", "daily", *times, "--reviewed", "--note", "two logins; asked ann"),
        environment=environment,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (row,) = accesses(url)
    assert shown(row, "command", "options", "name", "ended") == (
        "review",
        "daily 2025-06-15 00:00:00 to 2025-06-15 23:59:59: two logins; asked ann",
        *("root", "done"),
    )
    for day, count in (("2025-06-15", 1), ("2025-06-16", 0)):
        low = int(datetime.fromisoformat(f"{day}T00:00+00:00").timestamp())
        with make_daily(url, Choice(span=Span(low, low + 86_399))) as daily:
            (reviews,) = [each for each in daily.sections if each.name == "reviews"]
        assert len(reviews.rows) == count
        assert reviews.columns == ("time", "name", "auid", "uid", "known_by", "note")
        told = [cells[1:4] for cells in reviews.rows]
        assert told == [("root", "unset" if row["auid"] is None else row["auid"], 0)] * count
        assert all(cells[-1] == "two logins; asked ann" for cells in reviews.rows)


@pytest.mark.postgres
def test_a_review_without_a_record_is_none(postgres_url, tmp_path):
    """It fails, where other commands would only say so."""
    with role_of(postgres_url, []) as (_, url):
        environment = os.environ | {"AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path)}
        done = commands.run(
            *("report", "daily", "--reviewed", "--store", url), environment=environment, text=True
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be recorded" in done.stderr
