"""The doctor's checks of the clock, of the spool, the store and the files of the service."""

from __future__ import annotations

import os

import pytest
from fixtures.findings import shows

from auditsvc.doctor import (
    Level,
    clock,
    storage,
)


@pytest.mark.parametrize(
    ("files", "offset", "level"),
    [
        ({"run/systemd/timesync/synchronized": ""}, 0, Level.OK),
        ({"proc/9/comm": "chronyd\n"}, 37, Level.OK),
        ({"proc/9/comm": "chronyd\n"}, 0, Level.NOTE),
        ({"proc/9/comm": "bash\n"}, 37, Level.WARNING),
    ],
)
def test_clock(machine, files, offset, level):
    """A time service, and a sign that it reached its servers."""
    shows(clock.clock(machine(files), offset), level)


@pytest.mark.parametrize(
    ("free", "level"), [(1 << 31, Level.OK), (1 << 28, Level.WARNING), (1 << 20, Level.ERROR)]
)
def test_spool_room(settings, free, level):
    """Room for what the spool may keep; not even two segments is an error."""
    shows(storage.spool_room(settings, lambda _path: free), level)


def test_store_room(settings):
    """Of a file; a server's disk is not ours to see."""
    shows(storage.store_room(settings, lambda _path: 1 << 31), Level.OK)
    shows(storage.store_room(settings, lambda _path: 1 << 20), Level.WARNING)
    elsewhere = settings.model_copy(update={"store": "postgresql://db/x"})
    shows(storage.store_room(elsewhere, lambda _path: 0), Level.OK)


def test_room_of_a_folder_that_is_not_there(settings):
    """The disk on which it would be made."""
    assert storage.spool_room(settings).found.endswith("state/spool")


def test_store(settings):
    """Not made yet, and one that is no store."""
    shows(storage.store(settings), Level.NOTE, "auditsvc run")
    file = storage.sqlite_file(settings.store)
    file.parent.mkdir()
    file.write_text("no database, but long enough to be one\n" * 100)
    shows(storage.store(settings), Level.ERROR, "x.db")


def test_names_in_the_spool(settings):
    """A file that only looks like a segment is told, for nobody reads or deletes it."""
    shows(storage.spool_names(settings), Level.OK, "segment")
    settings.spool_directory.mkdir(parents=True)
    (settings.spool_directory / "audit-9999999999999999999.log").touch()
    shows(storage.spool_names(settings), Level.WARNING, "audit-9999999999999999999.log")


@pytest.mark.skipif(os.getuid() != 0, reason="the owner of evidence is root")
def test_modes(settings):
    """Who can change the evidence is worse than who can read it."""
    shows(storage.modes(settings)[0], Level.OK, "nothing")
    settings.state_directory.mkdir(mode=0o700)
    shows(storage.modes(settings)[0], Level.OK, "no other user")
    settings.state_directory.chmod(0o755)
    shows(storage.modes(settings)[0], Level.NOTE, "0755")
    settings.runtime_directory.mkdir()
    settings.runtime_directory.chmod(0o777)
    assert [each.level for each in storage.modes(settings)] == [Level.NOTE, Level.ERROR]


@pytest.mark.skipif(os.getuid() != 0, reason="the owner of settings is root")
def test_settings_file(tmp_path):
    """Others must not write it, nor read the password in it."""
    file = tmp_path / "auditsvc.toml"
    shows(storage.settings_file(file, secret=True), Level.OK, "defaults")
    file.write_text("")
    for mode, secret, level in (
        (0o644, False, Level.OK),
        (0o644, True, Level.WARNING),
        (0o600, True, Level.OK),
        (0o664, False, Level.ERROR),
    ):
        file.chmod(mode)
        shows(storage.settings_file(file, secret=secret), level)
    assert storage.has_password("postgresql://u:p@h/x")
    assert not storage.has_password("sqlite:///x.db")


def test_decoder(settings):
    """The one in use."""
    chosen = settings.model_copy(update={"decoder": "reference"})
    shows(storage.decoder(chosen), Level.NOTE, "reference")
