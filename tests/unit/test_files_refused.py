"""Files that others may change or replace are refused, wherever we read or write one."""

from __future__ import annotations

import errno
import os
import threading

import pytest
from fixtures.stores import new_store
from fixtures.unsafe_files import pipe, ways

from auditsvc.archive import check
from auditsvc.collect.journald.source import JournalSource
from auditsvc.config import load_settings, use_file
from auditsvc.coverage import history
from auditsvc.errors import AuditsvcError, ConfigError, RuleError, SpoolError, StoreError
from auditsvc.host import file_locks, files
from auditsvc.host.files import UnsafeError
from auditsvc.rule import read
from auditsvc.runtime import boot_file, forward_state, lock, service_state
from auditsvc.service import privileges
from auditsvc.spool import segments
from auditsvc.spool.reader import SpoolReader
from auditsvc.spool.segments import Place
from auditsvc.spool.writer import SpoolWriter
from auditsvc.store import open_store
from auditsvc.store.read.sql import run_query


@pytest.fixture
def place(tmp_path):
    """Give a folder two levels down."""
    folder = tmp_path / "above" / "folder"
    folder.mkdir(parents=True, mode=0o700)
    folder.chmod(0o700)
    folder.parent.chmod(0o755)
    return folder


# --- what we read or write, each with what it raises -----------------------------------------


def _settings(folder):
    path = folder / "auditsvc.toml"
    path.write_text('host = "h"\n')

    def use():
        use_file(path)
        try:
            load_settings()
        finally:
            use_file(None)

    return path, use, ConfigError


def _rules(folder):
    path = folder / "x.rules"
    path.write_text("-w /etc/passwd -p wa -k x\n")
    return path, lambda: read(path), RuleError


def _rules_folder(folder):
    path = folder / "x.rules"
    path.write_text("-w /etc/passwd -p wa -k x\n")
    return path, lambda: read(folder), RuleError


def _store_to_write(folder):
    path = folder / "store.db"
    new_store(path)
    return path, lambda: open_store(f"sqlite:///{path}").close(), StoreError


def _store_to_read(folder):
    path, _, error = _store_to_write(folder)

    def use():
        with run_query(f"sqlite:///{path}", "SELECT 1") as result:
            list(result)

    return path, use, error


def _beside_the_store(end):
    def made(folder):
        path, use, error = _store_to_write(folder)
        beside = path.with_name(path.name + end)
        beside.touch(0o600)
        return beside, use, error

    made.__name__ = f"_store{end}"
    return made


def _segment_to_write(folder):
    _write(folder)
    return segments.segment_path(folder, 1), lambda: _write(folder), SpoolError


def _segment_to_read(folder):
    _write(folder)

    def use():
        with SpoolReader(folder, Place()) as reader:
            reader.read(100)

    return segments.segment_path(folder, 1), use, SpoolError


def _lock_of_the_spool(folder):
    _write(folder)
    return folder / "lock", lambda: _write(folder), SpoolError


def _write(folder):
    with SpoolWriter(folder, segment_bytes=4096, fsync="none") as out:
        out.append(b"line\n")


def _turn(folder):
    def use():
        with lock.exclusive_lock(folder):
            pass

    use()
    return folder / "lock", use, AuditsvcError


def _turn_seen(folder):
    _turn(folder)
    return folder / "lock", lambda: lock.is_locked(folder), OSError


def _state(folder):
    path = folder / "state.json"
    path.write_text("{}")
    path.chmod(0o600)
    return path, lambda: service_state.read_state(folder), AuditsvcError


def _memory(folder):
    path = folder / boot_file.SESSION
    boot_file.remember(path, {})
    return path, lambda: boot_file.recall(path), AuditsvcError


def _memory_to_write(folder):
    path = folder / boot_file.SESSION
    boot_file.remember(path, {})
    return path, lambda: boot_file.remember(path, {}), AuditsvcError


def _periods(folder):
    history.save(folder, history.no_history())
    return folder / "coverage.json", lambda: history.load(folder), AuditsvcError


def _forward_state(folder):
    path = folder / forward_state._NAME
    files.replace_file(path, "{}")
    return path, lambda: forward_state.read_state(folder), OSError


USES = [
    *(_settings, _rules, _rules_folder, _store_to_write, _store_to_read),
    *map(_beside_the_store, ("-wal", "-shm", "-journal")),
    *(_segment_to_write, _segment_to_read, _lock_of_the_spool, _turn, _turn_seen),
    *(_state, _memory, _memory_to_write, _periods, _forward_state),
]


@ways
@pytest.mark.parametrize("make", USES, ids=lambda each: each.__name__)
def test_a_file_that_others_may_change_is_refused(place, make, spoil):
    """Each kind of file that others may change in any way: one line, without waiting."""
    path, use, error = make(place)
    use()  # as it was made it is good
    path.touch(0o600)  # SQLite takes away what stands beside a store that nobody uses
    before = path.read_bytes()
    spoil(path)
    if make is _rules and spoil is pipe:
        return  # a pipe that a user names is what the user wants
    with pytest.raises(error) as caught:
        use()
    assert "\n" not in str(caught.value)
    if path.is_file():
        assert path.read_bytes() == before  # nor is it written


@ways
def test_a_file_that_is_opened_is_the_one_that_was_checked(place, spoil):
    """The functions themselves: `UnsafeError` says what is wrong and what to do."""
    path = place / "file"
    path.write_text("x")
    path.chmod(0o600)
    assert files.read_file(path) == b"x"
    spoil(path)
    for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT | os.O_APPEND):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - a socket is refused by the kernel
            files.open_file(path, flags)
        assert isinstance(caught.value, UnsafeError) or caught.value.errno == errno.ENXIO
        assert caught.value.strerror


@pytest.mark.parametrize("make", USES, ids=lambda each: each.__name__)
def test_roots_files_are_good_for_everybody(place, make):
    """What only the owner and root may change is used, also where others may read it."""
    path, use, _ = make(place)
    if path.exists():
        path.chmod(0o644)
    place.chmod(0o755)
    use()


def test_a_sticky_folder_is_good(place):
    """In a folder like /tmp only the owner of a file may replace it."""
    path = place / "file"
    path.write_text("x")
    place.chmod(0o1777)
    assert files.read_file(path) == b"x"


LOOKS = {
    "whether a service has the spool": lambda path: privileges._is_in_use(
        load_settings(state_directory=path.parent.parent)
    ),
    "whether a file is locked": file_locks.is_flocked,
    "whether the archive is written": check._is_busy,
}


@pytest.mark.parametrize("look", LOOKS)
def test_no_look_waits_for_a_pipe(tmp_path, look):
    """To open a pipe takes until another opens its other end: whoever makes one would stop us."""
    path = tmp_path / "spool" / "lock"
    path.parent.mkdir()
    os.mkfifo(path)
    looking = threading.Thread(target=LOOKS[look], args=(path,), daemon=True)
    looking.start()
    looking.join(120)
    assert not looking.is_alive()


def test_a_pipe_in_a_folder_of_journals_is_told(tmp_path):
    """By its name, at once."""
    os.mkfifo(tmp_path / "system.journal")
    with pytest.raises(SpoolError, match=r"system\.journal"):
        JournalSource(tmp_path, "here", print).open("", 0).read(1 << 16)
