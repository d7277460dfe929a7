"""An archive whose program is killed: nothing in it is half, or there twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
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
    views,
)
from fixtures.commands import Begun
from fixtures.days import NOW, TODAY, log, text_of
from fixtures.logs import load
from fixtures.repeats import seeds, some

from auditsvc.archive.manifest import part_of
from auditsvc.archive.place import Folder

pytestmark = pytest.mark.usefixtures("unsynced")


class Killed(BaseException):
    """The program was killed."""


class Mortal(Folder):
    """A folder whose program is killed before, in the middle of, or after one of its changes."""

    def __init__(self, folder, at):
        super().__init__(folder)
        self.left = at

    def _count(self):
        self.left -= 1
        if self.left == 0:
            raise Killed

    def put(self, name, file, *, is_last=False):
        """Put a file, if nobody is killed before it, or behind it."""
        self._count()
        super().put(name, file, is_last=is_last)
        self._count()

    def delete(self, name):
        """Delete a file."""
        self._count()
        super().delete(name)


@pytest.mark.parametrize("seed", seeds(1, 40))
def test_killed_at_any_moment_nothing_is_half_or_twice(tmp_path, seed):
    """Before and after each file and manifest; each pass goes on from what the last one left."""
    chance = days.chance(seed)
    url = f"sqlite:///{tmp_path}/store.db"
    lines = log(chance, range(TODAY - 2, TODAY + 1), each=8)
    load(url, text_of(lines[::2]))
    settings = settings_of(url, tmp_path, keep=None if seed % 2 == 0 else "2d")
    folder = Path(settings.archive.to)
    killed = 0
    for turn in range(9):
        if turn == 3:
            load(url, text_of(lines), name="again")
        before = names(settings).parts() if folder.exists() else {}
        try:
            archive(settings, place=Mortal(folder, chance.randrange(1, 25)), size=5)
        except Killed:
            killed += 1
        after = names(settings).parts()
        assert all(set(parts) <= set(after.get(day, parts)) for day, parts in before.items())
        if turn == 4:
            ids = [row["event_id"] for row in asked(settings, IDS)]
            assert ids == sorted({*ids})
            assert settings.archive.keep or ids == [r["event_id"] for r in stored(url, IDS)]
    archive(settings)
    assert killed
    assert kept_ids(settings) == sorted({*kept_ids(settings)})
    if settings.archive.keep is None:
        wanted = some(PLAIN, seed, 6)
        ours = plain(lambda sql: asked(settings, sql), wanted)
        assert ours == plain(lambda sql: stored(url, sql), wanted)
    found = [part_of(name) for name in names(settings).sizes if part_of(name)]
    assert {(day, part) for day, parts in names(settings).parts().items() for part in parts} == {
        *found
    }


_PASS = """
import sys, json
from auditsvc.config import load_settings
from auditsvc.archive.job import Job
from auditsvc.store import open_store
from auditsvc.store.database import reading
given = json.loads(sys.argv[1])
settings = load_settings(**given)
with open_store(settings.store, create=False) as store:
    print("begun", flush=True)
    for _ in Job(store.database, settings, now=lambda: float(sys.argv[2]), size=3).steps():
        pass
"""


@pytest.mark.long
def test_a_killed_program_leaves_nothing_half(tmp_path):
    """SIGKILL at random moments, also inside of a write or a commit."""
    chance = random.Random(5)
    url = f"sqlite:///{tmp_path}/store.db"
    lines = log(days.chance(5), range(TODAY - 12, TODAY + 1), each=40)
    load(url, text_of(lines))
    settings = settings_of(url, tmp_path)
    given = json.dumps(
        {
            "store": url,
            "host": "box",
            "state_directory": str(settings.state_directory),
            "archive": {"to": settings.archive.to, "grace": 0},
        }
    )
    killed = 0
    while killed < 30:
        with Begun(given, NOW, code=_PASS, stdout=subprocess.PIPE) as program:
            program.stdout.readline()
            time.sleep(chance.random() * 0.5)
            os.kill(program.pid, signal.SIGKILL)
            if program.wait() == 0:
                break
        killed += 1
    archive(settings)
    assert killed
    assert kept_ids(settings) == sorted({*kept_ids(settings)})
    assert views(lambda sql: asked(settings, sql)) == views(lambda sql: stored(url, sql))
