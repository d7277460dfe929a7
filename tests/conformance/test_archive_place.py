"""The archive: where it may be, a folder or a bucket, and what it needs there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from fixtures import days
from fixtures.archived import archive, asked, names, plain, settings_of, stored
from fixtures.commands import run
from fixtures.days import TODAY, log, text_of
from fixtures.logs import load, opening
from fixtures.seaweed import ACCESS, BUCKET, SECRET, seaweed

from auditsvc import arrow
from auditsvc.archive.check import check_archive
from auditsvc.archive.place import open_place
from auditsvc.config import load_settings
from auditsvc.doctor import storage
from auditsvc.doctor.finding import Level
from auditsvc.errors import ArchiveError, ConfigError
from auditsvc.store.partitions import DAY

pytestmark = pytest.mark.usefixtures("unsynced")


def test_without_duckdb_one_line_says_what_to_install(monkeypatch):
    """The extra's name."""
    monkeypatch.setitem(sys.modules, "duckdb", None)
    for module in ("auditsvc.archive.ask", "auditsvc.arrow.engine"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'auditsvc\[archive\]'"):
        arrow.use("auditsvc.archive.ask")


@pytest.mark.parametrize(
    "to", ["relative", "s3://", "s3://UPPER", "/with[glob]", "/a/*", "https://x/y", "/x'y"]
)
def test_odd_places_are_refused(to):
    """A folder's name has no sign that a pattern has; a bucket's is one."""
    with pytest.raises(ConfigError, match=r"archive\.to"):
        load_settings(archive={"to": to})


def test_keys_of_a_bucket_are_private(tmp_path):
    """A file that others can read is refused, and so is one with other names in it."""
    keys = tmp_path / "keys"
    keys.write_text('access_key = "a"\nsecret_key = "b"\n')
    keys.chmod(0o644)
    given = load_settings(archive={"to": "s3://bucket/x", "credentials": keys}).archive
    with pytest.raises(ConfigError, match="can be read by others"):
        open_place(given)
    keys.chmod(0o600)
    assert open_place(given).folder is None
    keys.write_text('access_key = "a"\n')
    with pytest.raises(ConfigError, match="has not just the keys"):
        open_place(given)


def test_the_service_imports_nothing_of_it():
    """Neither Arrow nor DuckDB, while [archive] is not set."""
    code = (
        "import sys, auditsvc.service.run, auditsvc.status.report, auditsvc.cli.archive;"
        "print([n for n in ('pyarrow', 'duckdb') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


def test_doctor_names_what_hinders_the_archive(tmp_path):
    """A folder below a file, and a bucket that nobody serves."""
    (tmp_path / "file").write_text("")
    settings = settings_of(f"sqlite:///{tmp_path}/store.db", tmp_path)
    assert storage.archive(settings).level is Level.OK
    wrong = load_settings(archive={"to": str(tmp_path / "file/archive")})
    assert storage.archive(wrong).level is Level.ERROR
    nobody = {"to": "s3://bucket/x", "endpoint": "http://127.0.0.1:9"}
    found = storage.archive(load_settings(archive=nobody))
    assert (found.level, "s3://bucket/x" in found.found) == (Level.ERROR, True)


@pytest.mark.long
def test_a_bucket_is_as_good_as_a_folder(tmp_path):
    """SeaweedFS: passes, late events, a deleted day, the answers, and a server that is away."""
    url = f"sqlite:///{tmp_path}/store.db"
    lines = log(days.chance(7), range(TODAY - 3, TODAY + 1), each=6)
    keys = tmp_path / "keys"
    keys.write_text(f'access_key = "{ACCESS}"\nsecret_key = "{SECRET}"\n')
    keys.chmod(0o600)
    with seaweed(tmp_path) as (address, program):
        given = {"to": f"s3://{BUCKET}/box", "endpoint": address, "credentials": keys}
        settings = settings_of(url, tmp_path, **given)
        load(url, text_of(lines[::2]))
        archive(settings, now=(TODAY - 1) * DAY + 1)
        load(url, text_of(lines), name="late")
        assert plain(lambda sql: asked(settings, sql)) == plain(lambda sql: stored(url, sql))
        archive(settings)
        assert plain(lambda sql: asked(settings, sql)) == plain(lambda sql: stored(url, sql))
        assert check_archive(settings).findings == []
        kept = settings_of(url, tmp_path, keep="1d", **given)
        archive(kept)
        assert [*names(kept).parts()] == [TODAY - 1]
        assert storage.archive(settings).level is Level.OK
        wrong = tmp_path / "wrong"
        wrong.write_text(f'access_key = "{ACCESS}"\nsecret_key = "other"\n')
        wrong.chmod(0o600)
        refused = settings_of(url, tmp_path, **given | {"credentials": wrong})
        with pytest.raises(ArchiveError, match="s3://archive/box"):
            archive(refused)
        program.kill()
        program.wait()
        with pytest.raises(ArchiveError, match="s3://archive/box"):
            archive(settings)


def test_the_archive_of_another_store_is_refused(tmp_path):
    """By a pass and by a query: two stores' events in one folder could not be told apart."""
    settings = settings_of(f"sqlite:///{tmp_path}/store.db", tmp_path)
    load(settings.store, opening(1, second=(TODAY - 1) * DAY))
    archive(settings)
    other = settings_of(f"sqlite:///{tmp_path}/other.db", tmp_path)
    load(other.store, opening(1, second=(TODAY - 1) * DAY))
    with pytest.raises(ArchiveError, match="another store's"):
        archive(other)
    with pytest.raises(ArchiveError, match="another store's"):
        asked(other, "SELECT * FROM syscalls")


def test_a_search_by_place_says_its_sql(tmp_path):
    """`query --archive` takes it: it asks views alone (`test_search_places` has its answers)."""
    url = f"sqlite:///{tmp_path}/store.db"
    load(url, opening(1, second=(TODAY - 1) * DAY))
    environment = os.environ | {
        "AUDITSVC_STORE": url,
        "AUDITSVC_STATE_DIRECTORY": str(tmp_path / "state"),
        "AUDITSVC_ARCHIVE__TO": str(tmp_path / "archive"),
    }
    words = ("search", "--unit", "x", "--container", "y", "--archive")
    said = run(*words, "--explain", environment=environment)
    assert said.returncode == 0
    done = run("query", "--archive", said.stdout.decode(), environment=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    done = run(*words, environment=environment)
    assert (done.returncode, done.stderr) == (1, b"<no matches>\n")
