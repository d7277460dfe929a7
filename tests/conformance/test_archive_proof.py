"""The archive: what was changed in it is named."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures import days
from fixtures.archived import archive, settings_of
from fixtures.days import TODAY, log, text_of
from fixtures.evidence import Run
from fixtures.logs import load

from auditsvc.archive.check import check_archive
from auditsvc.archive.manifest import parse
from auditsvc.evidence.store_facts import bound, read_facts
from auditsvc.store import open_store
from auditsvc.store.database import reading

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture
def proved(tmp_path):
    """Give settings of an archive of four days whose last manifest a head has signed."""
    settings = settings_of(f"sqlite:///{tmp_path}/store.db", tmp_path)
    load(settings.store, text_of(log(days.chance(9), range(TODAY - 4, TODAY + 1), each=3)))
    archive(settings)
    with open_store(settings.store, create=False) as store, reading(store.database) as connection:
        facts = bound(read_facts(connection, "x", with_origins=False))
    signing = Run(settings.spool_directory)
    signing.notary.store = lambda: facts
    signing.put(1)
    signing.end()
    return settings


def _change(folder):
    path = next(iter(sorted(folder.glob("*/*-syscalls.parquet"))))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return path


def _shorten(folder):
    path = next(iter(sorted(folder.glob("*/*-story.parquet"))))
    path.write_bytes(path.read_bytes()[:-1])
    return path


def _remove(folder):
    path = next(iter(sorted(folder.glob("*/*-origins.parquet"))))
    path.unlink()
    return path


def _add(folder):
    path = next(iter(sorted(folder.glob("*/*-syscalls.parquet"))))
    more = path.with_name("0002-syscalls.parquet")
    more.write_bytes(path.read_bytes())
    return more


def _forge(folder):
    """Change a file, and write its digest into its manifest."""
    changed = _change(folder)
    path = next(iter(sorted((folder / "manifests").iterdir())))
    found = parse(path.read_bytes())
    digest = hashlib.sha256(changed.read_bytes()).hexdigest()
    files = tuple(
        replace(each, sha256=digest) if each.view == "syscalls" else each for each in found.files
    )
    path.write_text(replace(found, files=files).text())
    return sorted((folder / "manifests").iterdir())[1]


def _forge_last(folder):
    path = max((folder / "manifests").iterdir())
    found = parse(path.read_bytes())
    path.write_text(replace(found, events=found.events + 1).text())
    return "manifest 4 is not the one that was signed"


def _cut(folder):
    path = max((folder / "manifests").iterdir())
    for each in (folder / parse(path.read_bytes()).day).iterdir():
        each.unlink()
    path.unlink()
    return "manifests after 3 are missing: 4 were signed"


@pytest.mark.parametrize(
    "change",
    [_change, _shorten, _remove, _add, _forge, _forge_last, _cut],
    ids=lambda f: f.__name__,
)
def test_what_was_changed_is_named(proved, change):
    """A file that is changed, missing or additional, and a manifest that was made anew."""
    assert check_archive(proved).findings == []
    folder = Path(proved.archive.to)
    named = change(folder)
    text = named if isinstance(named, str) else str(named.relative_to(folder))
    (found,) = check_archive(proved).findings
    assert text in found
