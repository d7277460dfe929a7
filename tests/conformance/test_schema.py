"""The migrations make exactly the schema, and the planners use its indexes."""

from __future__ import annotations

import re
from importlib.resources import as_file, files

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from fixtures.catalogue import catalogue
from fixtures.first_program import write_as_the_first_program
from fixtures.logs import SECOND, load, opening, rows
from sqlalchemy import create_engine, inspect, text

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store import make, migrate, open_store, views
from auditsvc.store.migrate import revisions
from auditsvc.store.read.texts import Texts
from auditsvc.store.schema import HEAD, TIME_INDEX, metadata
from auditsvc.store.upgrade import upgrade

pytestmark = pytest.mark.each_database

# The column that SQLite computes for its index is none that is written; indexes of one
# database alone are compared by `test_catalogs_are_equal`.
OF_ONE_DATABASE = (
    *(
        "head",
        "text_head",
        "text_value",
        "settled",
        "path_file",
        "path_recent",
        "sockaddr_address",
        "sockaddr_recent",
        "activity_hour",
        "event_user_login",
    ),
    *TIME_INDEX,
)
COMPARED = {
    "compare_type": True,
    "include_object": lambda _, name, *__: name not in OF_ONE_DATABASE,
}


@pytest.fixture
def store(new_url):
    """Open a new store."""
    with open_store(new_url) as made:
        yield made


@pytest.fixture(params=["empty", "first"])
def migrated(request, new_url, monkeypatch):
    """Open a store that went through all revisions: from an empty database, or the first store."""
    with monkeypatch.context() as earlier:
        if request.param == "empty":
            earlier.setattr(make, "tables", upgrade)
        else:
            write_as_the_first_program(earlier)
        open_store(new_url).close()
    with open_store(new_url) as brought_up:
        yield brought_up


@pytest.mark.parametrize("migrated", ["empty"], indirect=True)
def test_migrations_give_the_schema(migrated):
    """Alembic finds no difference between the migrated database and the metadata."""
    with migrated.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=COMPARED)
        assert compare_metadata(context, metadata) == []


def test_a_new_store_is_one_that_went_through_all_revisions(migrated, new_url, tmp_path):
    """Object for object, by the database's own catalog, and row for row."""
    expected = catalogue(migrated.engine)
    if new_url.startswith("sqlite"):
        new_url = f"sqlite:///{tmp_path}/new.db"
    else:
        with migrated.engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    with open_store(new_url) as new:
        found = catalogue(new.engine)
    assert len(found) > 100
    # Of SQLite's revision 0017: it counts from there, as without it.
    expected["rows", "store_info"] = [
        row for row in expected["rows", "store_info"] if row != "('files_counted', '0')"
    ]
    assert found == expected


def test_migrating_again_changes_nothing(new_url):
    """A second migration finds nothing to do and says so."""
    assert "before: no store" in migrate(new_url)
    assert "nothing to do" in migrate(new_url)


def test_views_have_the_promised_columns(store):
    """The columns that SQL users rely on are there, in their order."""
    promised = {
        "syscalls": "event_id host time serial arch syscall nr a0 a1 a2 a3 a0_number"
        " a1_number a2_number a3_number a0_words a1_words a2_words a3_words success exit errno"
        " state items"
        " ppid pid auid uid gid euid suid fsuid egid sgid fsgid tty ses comm exe subj key cwd"
        " proctitle argv process_id parent_exe parent_argv auid_name uid_name gid_name euid_name"
        " egid_name unit container",
        "paths": "event_id item name path nametype inode dev mode ouid ogid rdev obj",
        "sockaddrs": "event_id family address port path",
        "events": "event_id host time serial type pid uid auid ses fields auid_name uid_name",
        "tamper": "event_id host time what detail restored auid pid exe comm ses evidence"
        " evidence_event_id known_by",
        "records": "event_id seq type fields",
        "partials": "event_id reason",
        "coverage": "event_id host time pid began comm exe state reason threads covered",
        "processes": "process_id host pid ppid parent_id known_by began began_event_id ended how"
        " exit_code signal exe argv execs auid uid euid ses auid_name uid_name"
        " cgroup unit session container container_name image cgroup_known_by",
        "names": "host kind id since name",
        "activity": "hour host exe comm auid uid key syscall success errno calls",
        "access": "event_id host time ended_at uid auid ses pid name command options sql store rows"
        " ended role client known_by",
        "ledger": "kind source cause count unit",
        "origins": "event_id kind source",
        "story": "event_id host time pid auid uid ses actor as_user action outcome object object2"
        " object_kind how key sentence",
        "all_events": "event_id host time serial kind type syscall pid auid uid ses comm exe key"
        " outcome",
        "files": "event_id host time action path other detail success errno pid auid uid euid ses"
        " comm exe key syscall name nametype inode dev mode ouid ogid",
        "connections": "event_id host time action family address port path outcome exit errno fd"
        " pid auid uid euid ses comm exe key syscall",
        "logins": "event_id host time kind auid account ses pid terminal address ended how_ended"
        " user_login_event_id end_event_id",
        "denials": "event_id host time mechanism enforced subject permission object label class"
        " pid auid uid ses comm exe syscall",
        "commands": "event_id host time how command outcome cwd pid auid uid ses terminal exe",
        "changes": "event_id host time what action object object2 outcome pid auid uid ses how key",
        "pruned": "day events lines pruned_at",
    }
    assert set(promised) == set(views.NAMES)
    found = inspect(store.engine)
    for view, columns in promised.items():
        assert [column["name"] for column in found.get_columns(view)] == columns.split()


def test_views_are_made_anew_by_another_program(store, new_url):
    """A store whose views are another version's gets ours when it is opened."""
    with store.engine.begin() as connection:
        connection.execute(text("DROP VIEW partials"))
        connection.execute(text("UPDATE store_info SET value = 'other' WHERE name = 'content'"))
        connection.execute(text("UPDATE syscall_name SET name = '59' WHERE name = 'execve'"))
    with open_store(new_url) as again, again.engine.connect() as connection:
        assert connection.execute(text("SELECT * FROM partials")).all() == []
        execve = connection.execute(text("SELECT nr FROM syscall_name WHERE name = 'execve'"))
        assert {59, 11} <= set(execve.scalars())


RANGE = f"event_id BETWEEN {SECOND << SERIAL_BITS} AND {(SECOND + 1) << SERIAL_BITS}"
QUESTIONS = {
    f"SELECT comm, exit FROM syscalls WHERE {RANGE}": "syscall_[0-9]*_pkey|SEARCH s",
    "SELECT * FROM syscalls WHERE exe = '/usr/bin/prog7'": "syscall_([0-9]*_)?context_nr",
    "SELECT * FROM syscalls WHERE pid = 107": "syscall_([0-9]*_)?context_nr",
    "SELECT * FROM syscalls WHERE key = 'key3'": "syscall_([0-9]*_)?context_nr",
    "SELECT * FROM syscalls WHERE syscall = 'ptrace'": "syscall_([0-9]*_)?context_nr",
    "SELECT exit, count(*) FROM syscalls WHERE success = {no} GROUP BY exit": (
        "syscall_failed|syscall_[0-9]*_exit"
    ),
    "SELECT * FROM paths WHERE name = '/file7'": "path_([0-9]*_)?file",
    "SELECT s.exe, p.name FROM paths p JOIN syscalls s USING (event_id) WHERE name = '/file7'": (
        "path_([0-9]*_)?file"
    ),
    "SELECT * FROM sockaddrs WHERE address = '192.0.2.1'": "sockaddr_([0-9]*_)?address",
    "SELECT * FROM partials": "syscall_partial|syscall_[0-9]*_state",
}
TEXTS = {"sqlite": "text_head", "postgresql": "text_value"}
"""Index that finds a text."""


@pytest.fixture
def filled(url):
    """Fill a store so that PostgreSQL's planner has something to choose for."""
    load(
        url,
        "".join(
            opening(
                n,
                name=f"/file{n // 2}",
                second=SECOND + n // 20,
                nr=n % 300,
                pid=100 + n // 10,
                exe=f'"/usr/bin/prog{n // 10}"',
                key=f'"key{n // 10}"',
                success="no" if n % 50 == 0 else "yes",
            )
            for n in range(5000)
        ),
    )
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("ANALYZE"))
    yield engine
    engine.dispose()


def test_planners_use_the_indexes(filled):
    """No usual question reads all of the calls."""
    on_sqlite = filled.dialect.name == "sqlite"
    scan = re.compile(r"SCAN s\b(?! USING)|Seq Scan on (syscall|path|sockaddr|record)(_[0-9]+)*\b")
    for question, index in QUESTIONS.items():
        sql = question.replace("{no}", "0" if on_sqlite else "false")
        explain = "EXPLAIN QUERY PLAN " if on_sqlite else "EXPLAIN "
        with filled.connect() as connection:
            if not on_sqlite:  # few rows are read as fast without an index
                connection.exec_driver_sql("SET enable_seqscan = off")
                connection.exec_driver_sql("SET enable_hashjoin = off")
                connection.exec_driver_sql("SET enable_mergejoin = off")
            lines = connection.exec_driver_sql(explain + sql).all()
        plan = "\n".join(str(line[-1]) for line in lines)
        assert re.search(index, plan), f"{sql}\n{plan}"
        assert not scan.search(plan), f"{sql}\n{plan}"


@pytest.mark.parametrize("length", [5, HEAD - 1, HEAD, HEAD + 1, 3000])
def test_a_text_is_found_by_an_index_whatever_its_length(filled, url, length):
    """A name, a key and what is below a folder are looked up, and found whole."""
    name = "/" + "\u00e4" * (length - 1)
    other = name[:-1] + "b"
    load(
        url,
        "".join(
            opening(9000 + n, name=each.encode().hex().upper(), key=f'"{each[1:5]}k"')
            .replace('name="', "name=")
            .replace('" inode', " inode")
            for n, each in enumerate((name, other, f"{name}/below"))
        ),
        "texts",
    )
    assert rows(url, f"SELECT name FROM paths WHERE name = '{name}'") == [{"name": name}]
    texts = Texts(url)
    asked = {
        f"SELECT * FROM paths WHERE name = '{name}'": 1,
        f"SELECT * FROM text t WHERE {texts.is_one('t', [name, other])}": 2,
        f"SELECT * FROM text t WHERE {texts.is_below('t', name)}": 1,
    }
    on_sqlite = filled.dialect.name == "sqlite"
    for sql, count in asked.items():
        assert len(rows(url, sql)) == count
        with filled.connect() as connection:
            if not on_sqlite:
                connection.exec_driver_sql("SET enable_seqscan = off")
            explain = "EXPLAIN QUERY PLAN " if on_sqlite else "EXPLAIN "
            plan = str(connection.exec_driver_sql(explain + sql).all())
        if on_sqlite or "starts_with" not in sql:  # no index of PostgreSQL tells that
            assert TEXTS[filled.dialect.name] in plan


def test_unused_lookups_are_dropped(filled, url):
    """Counting failures touches no text, host or arch table."""
    no = "0" if filled.dialect.name == "sqlite" else "false"
    explain = "EXPLAIN QUERY PLAN " if filled.dialect.name == "sqlite" else "EXPLAIN "
    with filled.connect() as connection:
        sql = f"{explain} SELECT count(*) FROM syscalls WHERE success = {no}"
        plan = str(connection.exec_driver_sql(sql).all())
    assert not re.search(r"\b(text|host|arch_name|exec|exe_text)\b", plan), plan
    assert rows(url, "SELECT count(*) AS n FROM syscalls WHERE syscall = 'ptrace'") == [{"n": 17}]


def test_the_files_of_migrations_are_what_alembic_knows():
    """Numbers of files are revisions, in one line from the first to the newest."""
    with as_file(files("auditsvc.migrations")) as folder:
        script = ScriptDirectory(str(folder))
        known = [revision.revision for revision in script.walk_revisions()]
    assert revisions() == known[::-1]
