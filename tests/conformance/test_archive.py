"""The archive: with the store it says what the store alone would say, whatever happens to both."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from functools import partial
from pathlib import Path

import pytest
from fixtures import archived as made
from fixtures import days
from fixtures.archived import (
    IDS,
    PLAIN,
    archive,
    asked,
    kept_ids,
    names,
    plain,
    settings_of,
    stored,
)
from fixtures.commands import run
from fixtures.cookbook_log import cookbook_log
from fixtures.days import NOW, TODAY, log, prune, text_of
from fixtures.logs import Pipe, load, opening
from fixtures.repeats import seeds, some
from pyarrow import parquet

from auditsvc.archive import place
from auditsvc.archive.job import Job
from auditsvc.arrow import room
from auditsvc.config import load_settings
from auditsvc.errors import ArchiveError, QueryError
from auditsvc.retention import report as retention
from auditsvc.retention.archive_due import make_report
from auditsvc.search import sources
from auditsvc.search.criteria import Criteria
from auditsvc.search.statement import Page
from auditsvc.store import open_store
from auditsvc.store.partitions import DAY, date_of
from auditsvc.store.read.limits import Limits
from auditsvc.store.read.period import period_of
from auditsvc.store.read.time_span import Span
from auditsvc.store.views import NAMES

DATA = Path(__file__).parents[1] / "data"
PAGE = (Path(__file__).parents[2] / "docs/cookbook.md").read_text()
QUESTIONS = re.findall(r"```sql\n(.*?)\n```", PAGE, re.DOTALL)
_TEN = (1, 3, 5, 8, 10, 12, 17, 18, 21, 37)
"""By number: joins, counts, times, JSON, and the first of a kind."""
COOKBOOK_NOW = 20_778 * DAY


@pytest.fixture(autouse=True)
def synced(monkeypatch):
    """Give what was synced, in order; nothing is, as only a power failure would tell."""
    found = []
    monkeypatch.setattr(place, "_sync", lambda path, _: found.append(path.name))
    return found


@pytest.fixture(scope="module")
def cookbook(tmp_path_factory):
    """Give settings of a store with recorded and made logs, of which the archive has a part."""
    folder = tmp_path_factory.mktemp("cookbook")
    url = f"sqlite:///{folder}/store.db"
    load(url, cookbook_log()[0], kind="spool", host="box")
    load(url, (DATA / "mixed.log").read_bytes())
    for each in sorted((DATA / "records").glob("*.log")):
        load(url, each.read_bytes(), name=each.name)
    settings = settings_of(url, folder)
    assert len(archive(settings, now=COOKBOOK_NOW - DAY).events) > 1
    return settings


ASKED = [
    *(pytest.param(f"SELECT * FROM {view}", id=view) for view in NAMES),
    *(
        pytest.param(sql, id=f"question-{n}", marks=() if n in _TEN else pytest.mark.long)
        for n, sql in enumerate(QUESTIONS, 1)
    ),
]


@pytest.mark.parametrize("sql", ASKED)
def test_archive_and_store_answer_as_the_store(cookbook, sql):
    """Names, types, order and values of all views, and the forty questions of the cookbook."""
    ours, theirs = asked(cookbook, sql), stored(cookbook.store, sql)
    ordered = re.findall(r"ORDER BY (\w+)", sql)[-1:]
    for by in ordered if ours else ():
        assert [row.get(by) for row in ours] == [row.get(by) for row in theirs]
    # Rows that are equal in what they are ordered by come in any order.
    ours, theirs = sorted(ours, key=repr), sorted(theirs, key=repr)
    assert ours == theirs
    assert [list(map(type, row.values())) for row in ours] == [
        list(map(type, row.values())) for row in theirs
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT substr(time, 1, 13) AS hour, count(*) FROM syscalls GROUP BY 1 ORDER BY 1",
        "SELECT count(*) FROM paths WHERE name LIKE '/SRV/%'",
        "SELECT event_id % 7 / 2 AS x, count(*) FROM all_events GROUP BY 1 ORDER BY 1",
        "WITH n AS (SELECT * FROM syscalls WHERE time >= '2026-11-20') SELECT count(*) FROM n",
        "SELECT max((SELECT count(*) FROM paths p WHERE p.event_id = s.event_id)) FROM syscalls s",
        "SELECT json_extract(argv, '$[0]') AS a FROM syscalls WHERE argv IS NOT NULL ORDER BY a",
        "SELECT s.* FROM story s NATURAL JOIN syscalls ORDER BY s.event_id",
        "SELECT tty, max(serial) FROM syscalls GROUP BY tty ORDER BY tty",
    ],
)
def test_sql_means_what_it_means_on_sqlite(cookbook, sql):
    """LIKE, division, NULLs first, ranges in CTEs, JSON: not what DuckDB would make of it."""
    assert [list(row.values()) for row in asked(cookbook, sql)] == [
        list(row.values()) for row in stored(cookbook.store, sql)
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT exe, count(*), max( pid ) FROM syscalls GROUP BY exe LIMIT 1",
        "SELECT * FROM (SELECT COUNT(*), 1+1 FROM paths)",
        "WITH n AS (SELECT count(DISTINCT exe) FROM syscalls) SELECT * FROM n UNION SELECT 1",
        "SELECT *, count(*) OVER () FROM partials LIMIT 1",
    ],
)
def test_columns_without_a_name_are_called_as_on_sqlite(cookbook, sql):
    """And not `count_star()`."""
    assert [*asked(cookbook, sql)[0]] == [*stored(cookbook.store, sql)[0]]


@pytest.mark.one_database
@pytest.mark.parametrize("seed", seeds(1, 40))
def test_passes_late_events_and_retention_change_no_answer(url, tmp_path, seed):
    """Days come in, late ones too; passes at any time; the store forgets, the archive does not."""
    chance = days.chance(seed)
    last = range(TODAY - 3, TODAY + 1)
    lines = log(chance, set(last), each=chance.randrange(5, 14))
    late = [each for each in lines if each[0] < TODAY and chance.random() < 0.2]
    settings = settings_of(url, tmp_path)
    done = []
    for day in last:
        done += [each for each in lines if each[0] == day and each not in late]
        load(url, text_of(done), name="log")
        archive(settings, now=day * DAY + DAY // 2, size=chance.choice((2, 5, 8192)))
    pipe = Pipe(url, "late")
    pipe.load(text_of(late))
    # Of PostgreSQL in SQLite's types, through an archive that has nothing.
    none = settings_of(url, tmp_path / "none")
    is_quick = url.startswith("sqlite")
    ask = partial(stored, url) if is_quick else partial(asked, none)
    wanted = some(PLAIN, f"{seed} {is_quick}", 3)
    whole = plain(ask, wanted)
    assert plain(lambda sql: asked(settings, sql), wanted) == whole
    job = archive(settings)
    assert sum(job.events.values()) == len(late)
    assert archive(settings).events == {}
    pruned = prune(pipe.store.database, keep="1d")
    pipe.close()
    assert len(pruned.events) == 2
    assert pruned.held == {}
    assert plain(lambda sql: asked(settings, sql), wanted) == whole


@pytest.mark.one_database
def test_retention_waits_for_the_archive(url, tmp_path):
    """A day stays until the archive has it, and `status` says why."""
    lines = log(days.chance(1), range(TODAY - 4, TODAY + 1), each=4)
    settings = settings_of(url, tmp_path)
    pipe = Pipe(url)
    pipe.load(text_of(lines, {TODAY - 4}))
    archive(settings, now=(TODAY - 3) * DAY + 1)
    pipe.load(text_of(lines))
    job = prune(pipe.store.database, keep="1d")
    assert [*job.events] == [TODAY - 4]
    assert set(job.held.values()) == {"archive"}
    wanted = load_settings(retention={"keep": "1d"}).retention
    said = retention.make_report(url, wanted)["held"]
    assert f"events from {date_of(TODAY - 3)} on stay, as the archive has not had them" in said
    facts = make_report(url, settings.archive, NOW)
    assert (facts["through"], facts["waiting_days"]) == (date_of(TODAY - 4), 3)
    archive(settings)
    assert [*prune(pipe.store.database, keep="1d").events] == [TODAY - 3, TODAY - 2]
    pipe.close()


def test_a_day_is_archived_after_its_grace_and_once_its_log_is_loaded(tmp_path):
    """Six hours after midnight by default; not while the spool has lines of it."""
    url = f"sqlite:///{tmp_path}/store.db"
    load(url, opening(1, second=(TODAY - 1) * DAY))
    settings = settings_of(url, tmp_path, grace=6)
    assert archive(settings, now=TODAY * DAY + 6 * 3600 - 1).events == {}
    spool = settings.spool_directory
    spool.mkdir(parents=True, mode=0o700)
    segment = spool / "audit-000000000001.log"
    segment.write_text(opening(2, second=(TODAY - 1) * DAY + 9))
    segment.chmod(0o600)
    assert archive(settings, now=TODAY * DAY + 6 * 3600).events == {}
    segment.write_text(opening(2, second=TODAY * DAY + 9))
    assert archive(settings, now=TODAY * DAY + 6 * 3600).events == {TODAY - 1: 1}


def test_the_archive_keeps_so_many_days(tmp_path):
    """Older ones are deleted with a manifest that says so."""
    url = f"sqlite:///{tmp_path}/store.db"
    load(url, text_of(log(days.chance(2), range(TODAY - 6, TODAY + 1), each=3)))
    settings = settings_of(url, tmp_path, keep="3d")
    archive(settings)
    assert [*names(settings).parts()] == [TODAY - 3, TODAY - 2, TODAY - 1]
    assert names(settings).last.part == 0
    assert archive(settings).dropped == []


def test_a_restored_store_goes_on_with_its_archive(tmp_path):
    """Its rows come again, and stay once: the archive's manifests say how far it is."""
    url = f"sqlite:///{tmp_path}/store.db"
    lines = log(days.chance(3), range(TODAY - 3, TODAY + 1), each=6)
    settings = settings_of(url, tmp_path)
    load(url, text_of(lines, {TODAY - 3}))
    archive(settings, now=(TODAY - 2) * DAY + 1)
    old = (tmp_path / "store.db").read_bytes()
    load(url, text_of(lines), name="more")
    archive(settings)
    (tmp_path / "store.db").write_bytes(old)
    load(url, text_of(lines), name="more")
    assert [row["event_id"] for row in asked(settings, IDS)] == [
        row["event_id"] for row in stored(url, IDS)
    ]
    archive(settings)
    assert kept_ids(settings) == sorted({*kept_ids(settings)})
    wanted = some(PLAIN, "restored", 6)
    ours = plain(lambda sql: asked(settings, sql), wanted)
    assert ours == plain(lambda sql: stored(url, sql), wanted)


HOSTILE = (
    "COPY (SELECT 1) TO '{folder}/out.csv'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/hostname')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_parquet('{folder}/secret.parquet')",
    "SELECT * FROM read_parquet('http://127.0.0.1:9/x.parquet')",
    "ATTACH '{folder}/x.db'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "PRAGMA database_list",
    "CREATE TABLE x AS SELECT 1",
    "DELETE FROM stored_syscalls",
    "SELECT 1; SELECT 2",
    "SELECT * FROM settings",
    "SELECT * FROM source",
    "",
    "SELEC",
)


@pytest.mark.parametrize("sql", HOSTILE)
def test_sql_reaches_no_other_file_and_changes_nothing(cookbook, tmp_path, sql):
    """No file of the host, no network, no setting, no object of the program."""
    parquet.write_table(parquet.read_table(_a_file(cookbook)), tmp_path / "secret.parquet")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(QueryError):
        asked(cookbook, sql.format(folder=tmp_path))
    assert sorted(tmp_path.iterdir()) == before


def _a_file(settings):
    return next(Path(settings.archive.to).glob("*/*-syscalls.parquet"))


def test_a_query_ends_at_its_limit_of_time(cookbook):
    """However much it would count."""
    endless = (
        "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range < b.range"
    )
    with pytest.raises(QueryError, match=r"took longer than 0\.5 s"):
        asked(cookbook, endless, limits=Limits(0.5))


@pytest.mark.parametrize(
    ("sql", "period"),
    [
        ("SELECT * FROM syscalls WHERE time >= '{0}' AND time < '{1}'", Span()),
        ("SELECT * FROM syscalls", None),
    ],
)
def test_a_question_about_a_day_reads_a_day(tmp_path, sql, period):
    """By a condition or by --since: the other days' files are not even there to be read."""
    url = f"sqlite:///{tmp_path}/store.db"
    load(url, "".join(opening(n, second=(TODAY - 6 + n) * DAY + 5) for n in range(6)))
    settings = settings_of(url, tmp_path)
    archive(settings)
    day, after = date_of(TODAY - 3), date_of(TODAY - 2)
    for path in Path(settings.archive.to).glob("*/*-syscalls.parquet"):
        if path.parent.name != day:
            path.write_bytes(b"damaged")
    span = period_of(day, after) if period is None else period
    assert len(asked(settings, sql.format(day, after), period=span)) == 1


def test_what_a_file_takes(tmp_path):
    """Its rows are in the order of time, in groups that have their bounds, coded by zstd."""
    url = f"sqlite:///{tmp_path}/store.db"
    load(url, text_of(log(days.chance(4), {TODAY - 1}, each=200)))
    settings = settings_of(url, tmp_path)
    archive(settings)
    file = parquet.ParquetFile(_a_file(settings))
    assert file.read()["event_id"].to_pylist() == sorted(file.read()["event_id"].to_pylist())
    column = file.metadata.row_group(0).column(0)
    assert (column.compression, column.is_stats_set) == ("ZSTD", True)
    assert "DELTA_BINARY_PACKED" in column.encodings


def test_the_command(tmp_path):
    """It lists, writes and ends an archive; without one it says which setting is missing."""
    url = f"sqlite:///{tmp_path}/store.db"
    load(url, opening(1, second=(TODAY - 1) * DAY))
    environment = os.environ | {
        "AUDITSVC_STORE": url,
        "AUDITSVC_STATE_DIRECTORY": str(tmp_path / "state"),
        "AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path / "run"),
    }
    assert "archive.to" in run("archive", environment=environment).stderr.decode()
    environment["AUDITSVC_ARCHIVE__TO"] = str(tmp_path / "archive")
    assert (
        date_of(TODAY - 1) in run("archive", "--dry-run", environment=environment).stdout.decode()
    )
    assert not (tmp_path / "archive").exists()
    done = run("archive", "--format", "table", environment=environment)
    assert "archived: 1 event of 1 day" in done.stdout.decode()
    sql = "SELECT serial, name FROM syscalls JOIN paths USING (event_id)"
    done = run("query", "--archive", sql, environment=environment)
    assert done.stdout.decode().splitlines()[1:] == ["1,/etc/passwd"]
    assert json.loads(run("archive", environment=environment).stdout) == {
        "events": {},
        "bytes": 0,
        "dropped": [],
        "to": str(tmp_path / "archive"),
    }
    words = ("archive", "--forget", "--format")
    done = run(*words, "table", environment=environment)
    assert done.stdout.decode() == "the store has no archive now\n"
    assert json.loads(run(*words, "json", environment=environment).stdout) == {"forgotten": False}


def test_a_manifest_is_put_when_its_files_are_on_the_disk(tmp_path, synced):
    """File by file, then their folders, the manifest, and its folder."""
    url = f"sqlite:///{tmp_path}/store.db"
    load(url, opening(1, second=(TODAY - 1) * DAY))
    archive(settings_of(url, tmp_path))
    manifest = synced.index("manifest.json")
    files = [name for name in synced[:manifest] if name.endswith(".parquet")]
    assert {"syscalls.parquet", "paths.parquet", "story.parquet"} <= {*files}
    assert synced[manifest + 1 :] == ["archive", date_of(TODAY - 1), "manifests"]


def test_two_passes_at_once_are_refused(tmp_path):
    """The second one says that there is one."""
    url = f"sqlite:///{tmp_path}/store.db"
    load(url, opening(1, second=(TODAY - 1) * DAY))
    settings = settings_of(url, tmp_path)
    with open_store(url, create=False) as store:
        steps = made.Job(store.database, settings, now=lambda: NOW).steps()
        next(steps)
        with pytest.raises(ArchiveError, match="another program writes the archive"):
            archive(settings)
        steps.close()
    assert archive(settings).events == {TODAY - 1: 1}


SEARCHES = [
    pytest.param(words, id=words, marks=() if n % 12 == 0 else pytest.mark.long)
    for n, words in enumerate(re.findall(r"```sh\nauditsvc (search [^\n]*)\n```", PAGE))
]


@pytest.mark.parametrize("words", [*SEARCHES, pytest.param("search -ts 11/01/2026", id="all")])
def test_search_finds_in_both_what_it_finds_in_the_store(cookbook, words):
    """Event for event, with all records, for the searches of the cookbook and for no condition."""
    environment = os.environ | {
        "AUDITSVC_STORE": cookbook.store,
        "AUDITSVC_STATE_DIRECTORY": str(cookbook.state_directory),
        "AUDITSVC_RUNTIME_DIRECTORY": str(cookbook.state_directory),
        "AUDITSVC_HOST": "box",
        "TZ": "UTC",
        "LC_ALL": "C",
    }
    command = [*shlex.split(words), "--format", "jsonl"]
    theirs = run(*command, environment=environment)
    environment["AUDITSVC_ARCHIVE__TO"] = str(cookbook.archive.to)
    ours = run(*command, "--archive", environment=environment)
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout)
    assert ours.stderr == theirs.stderr
    assert theirs.stdout


@pytest.mark.parametrize("newest", some([False, True], "pages", 1))
def test_search_gives_both_page_by_page(cookbook, newest):
    """What an archive and the store have is one order, of which each page takes the next part."""

    def page(limit, after):
        source, asked_for = sources.archive(cookbook), Page(limit, newest, after)
        with source.found(Criteria(success=False), asked_for) as found:
            return [event.id for event in found.events]

    whole = page(None, None)
    assert whole == sorted(whole, reverse=newest)
    assert len(whole) > 3
    size = len(whole) // 2 + 1
    found = []
    while part := page(size, found[-1] if found else None):
        found += part
    assert found == whole


def test_a_part_that_has_no_room_at_once_is_read_in_several(tmp_path):
    """Nothing of it is there twice, and nothing is missing."""
    load(f"sqlite:///{tmp_path}/store.db", (DATA / "mixed.log").read_bytes())
    passes = []
    for number, most in enumerate((room.MOST, 3000)):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copy(tmp_path / "store.db", folder)
        settings = settings_of(f"sqlite:///{folder}/store.db", folder)
        with open_store(settings.store, create=False) as store:
            job = Job(store.database, settings, now=lambda: 4e9)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(room, "MOST", most)
                steps = sum(1 for _ in job.steps())
        passes.append((steps, job.events, made.views(partial(asked, settings))))
    (few, *whole), (many, *parts) = passes
    assert parts == whole
    assert many > few
