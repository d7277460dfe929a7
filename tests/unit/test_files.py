"""Files that others may change or replace are refused, wherever we read or write one."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from fixtures.other_user import reachable_folder
from fixtures.stores import new_store

from auditsvc.config import load_settings, use_file
from auditsvc.coverage import history
from auditsvc.errors import AuditsvcError, ConfigError, RuleError, SpoolError, StoreError
from auditsvc.host import files
from auditsvc.host.files import UnsafeError
from auditsvc.rule import read
from auditsvc.ruleset.controls import default
from auditsvc.runtime import boot_file, forward_state, lock, service_state
from auditsvc.spool import retention, segments
from auditsvc.spool.reader import SpoolReader
from auditsvc.spool.segments import Place
from auditsvc.spool.writer import SpoolWriter
from auditsvc.store import open_store
from auditsvc.store.read.sql import run_query

OTHER = 1234
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to others")


@contextmanager
def umask(mask):
    """Have another umask for a while."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


# --- ways in which a file is not ours alone, each made of a good file ------------------------


def _others_write(path):
    path.chmod(0o602)


def _group_writes(path):
    path.chmod(0o620)


def _belongs_to_another(path):
    os.chown(path, OTHER, 0)


def _symbolic_link(path):
    real = path.with_name("elsewhere")
    path.rename(real)
    path.symlink_to(real)


def _hard_link(path):
    os.link(path, path.with_name("a second name"))


def _pipe(path):
    path.unlink()
    os.mkfifo(path, 0o600)


def _socket(path):
    path.unlink()
    os.mknod(path, stat.S_IFSOCK | 0o600)


def _folder_is_open(path):
    path.parent.chmod(0o777)


def _folder_is_open_to_a_group(path):
    path.parent.chmod(0o770)


def _folder_belongs_to_another(path):
    os.chown(path.parent, OTHER, 0)


def _folder_above_is_open(path):
    path.parent.parent.chmod(0o757)


def _folder_by_anothers_link(path):
    real = path.parent.with_name("moved")
    path.parent.rename(real)
    path.parent.symlink_to(real)
    os.chown(path.parent, OTHER, 0, follow_symlinks=False)


def _anothers_in_a_sticky_folder(path):
    path.parent.chmod(0o1777)
    os.chown(path, OTHER, 0)


WAYS = [
    _others_write,
    _group_writes,
    pytest.param(_belongs_to_another, marks=AS_ROOT),
    _symbolic_link,
    _hard_link,
    _pipe,
    _socket,
    _folder_is_open,
    _folder_is_open_to_a_group,
    pytest.param(_folder_belongs_to_another, marks=AS_ROOT),
    _folder_above_is_open,
    pytest.param(_folder_by_anothers_link, marks=AS_ROOT),
    pytest.param(_anothers_in_a_sticky_folder, marks=AS_ROOT),
]
ways = pytest.mark.parametrize("spoil", WAYS, ids=lambda each: getattr(each, "__name__", "?"))


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
    if make is _rules and spoil is _pipe:
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


def test_links_among_the_folders_are_followed_as_the_kernel_does(tmp_path, monkeypatch):
    """Absolute and relative links, `..` behind a link, and a relative path lead to the file."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_text("x")
    (tmp_path / "there").symlink_to(tmp_path / "a" / "b")
    (tmp_path / "again").symlink_to("there/../b")
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "there/../file", Path("again/../file"), Path("a/./file")):
        assert files.read_file(path) == b"x"
        assert files.folder_of(path) == (tmp_path / "a").resolve()


def test_links_in_a_circle_are_refused(tmp_path):
    """It ends as the kernel's own walk does."""
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno says it
        files.read_file(tmp_path / "circle" / "file")
    assert caught.value.errno == errno.ELOOP


def test_shipped_rules_are_as_good_as_the_program():
    """A package that a user's installer linked into place holds rules all the same."""
    rules = default()
    with tempfile.TemporaryDirectory(dir=sys.prefix) as folder:  # a link stays on its disk
        os.link(rules, Path(folder, "a second name"))
        assert rules.stat().st_nlink > 1
        assert read(rules)


@pytest.mark.parametrize("how", ["/dev/stdin", "/dev/fd/0", "named"])
def test_rules_by_a_pipe_are_read(tmp_path, how):
    """What a shell hands over is read: `<(...)`, standard input, and a pipe of one's own."""
    path = how
    if how == "named":
        path = tmp_path / "pipe"
        os.mkfifo(path, 0o600)
        subprocess.Popen(["sh", "-c", f"echo '-w /etc/passwd -p wa' > {path}"])
    program = f"from auditsvc.rule import read; print(len(read({str(path)!r})))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        input=b"-w /etc/passwd -p wa\n",
        capture_output=True,
        check=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.stdout == b"1\n"


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777, 0o277])
def test_missing_folders_are_for_their_owner_only(tmp_path, mask):
    """Under any umask: the spool's, the state's, the runtime's and the store's."""
    with umask(mask):
        SpoolWriter(tmp_path / "a/b/spool", segment_bytes=4096, fsync="none").close()
        files.replace_file(tmp_path / "c/d/state.json", "{}")
        with lock.exclusive_lock(tmp_path / "e/f"):
            pass
        open_store(f"sqlite:///{tmp_path}/g/store.db").close()
    made = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert len(made) == 8
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    assert stat.S_IMODE((tmp_path / "c/d/state.json").stat().st_mode) == 0o600
    assert json.loads((tmp_path / "c/d/state.json").read_text()) == {}


def test_a_file_that_a_full_disk_does_not_take_is_named(tmp_path, monkeypatch):
    """Of a descriptor the system's error has no name; who reads it wants to know which file."""

    def full(descriptor):
        del descriptor
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(OSError, match="No space left") as found:
        files.replace_file(tmp_path / "state", "text", sync=True)
    assert found.value.filename == str(tmp_path / "state")


@AS_ROOT
def test_an_ordinary_user_works_with_files_of_his_own():
    """Also where a group of his own may write (umask 002), and with root's files."""
    program = """
import os, sys
from pathlib import Path
from auditsvc.host import files
from auditsvc.store.read.sql import run_query
from auditsvc.rule import read
from auditsvc.spool.writer import SpoolWriter
from auditsvc.store import open_store
os.umask(0o002)
folder = Path(sys.argv[1])
(folder / "sub").mkdir()
(folder / "sub" / "x.rules").write_text("-w /etc/passwd -p wa\\n")
assert len(read(folder / "sub" / "x.rules")) == 1
files.replace_file(folder / "run" / "state.json", "{}")
url = f"sqlite:///{folder}/sub/store.db"
open_store(url).close()
with run_query(url, "SELECT 1") as result: assert list(result) == [(1,)]
SpoolWriter(folder / "sub/spool", segment_bytes=4096, fsync="none").close()
assert files.read_file(Path("/etc/passwd"))
print("good")
"""
    with reachable_folder() as above:
        folder = above / "his"
        folder.mkdir(0o700)
        os.chown(folder, OTHER, OTHER)
        done = subprocess.run(
            [sys.executable, "-P", "-c", program, folder],
            user=OTHER,
            group=OTHER,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=os.environ | {"HOME": "/"},
        )
    assert (done.stdout, done.returncode) == ("good\n", 0), done.stderr


ODD = [
    "audit-9999999999999999999.log",
    "audit-999999999999.log",
    "audit-000008388608.log",
    "audit-000000000000.log",
    "audit--00000000001.log",
    "audit-00000000001.log",
    "audit-000000000002.log.gz",
    "audit-000000000002.log\n",
    "audit-\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669\u0660\u0661.log",
    "audit-00000000000b.log",
    "audit-.log",
    "audit-\udcff.log",
    "AUDIT-000000000002.log",
    ".audit-000000000002.log.swp",
    "store.json.bak",
]


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
@pytest.mark.parametrize("name", ODD)
def test_a_name_that_is_no_segments_stops_nothing(tmp_path, name, kind):
    """It is neither read, nor written, nor deleted, and the segments' numbers go on."""
    odd = tmp_path / name
    if kind == "folder":
        odd.mkdir()
    elif kind == "link":
        odd.symlink_to("nowhere")
    else:
        odd.write_bytes(b"not ours\n")
    with SpoolWriter(tmp_path, segment_bytes=4096, fsync="none") as out:
        out.append(b"one\n")
        out.rotate()
        out.append(b"two\n")
        assert out.place == Place(2, 4)
    with SpoolReader.at(tmp_path, "", 0) as reader:
        assert reader.read(100) + reader.read(100) == b"one\ntwo\n"
        assert reader.missing == 0
    assert segments.backlog(tmp_path, Place()) == 8
    assert retention.discard(tmp_path, Place(2, 4), 0) == 1
    assert os.path.lexists(odd)
    assert (name in segments.foreign_files(tmp_path)) == name.startswith("audit-")


def test_the_last_number_grows_on(tmp_path):
    """Where there is no further number no record is lost, and places keep within 63 bits."""
    segments.segment_path(tmp_path, segments.LAST).write_bytes(b"old\n")
    with SpoolWriter(tmp_path, segment_bytes=8, fsync="none") as out:
        for _ in range(4):
            out.append(b"line 1\n")
        out.rotate()
        out.append(b"line 2\n")
    with SpoolReader.at(tmp_path, "", 0) as reader:
        assert reader.read(1000) == b"old\n" + b"line 1\n" * 4 + b"line 2\n"
        assert reader.origin() < 1 << 63


@pytest.mark.parametrize("segment", ["abc", "-1", "1e3", "\u0661", " 1", "9" * 30])
def test_a_checkpoint_that_somebody_changed_ends_nothing(tmp_path, segment):
    """What is no number of a segment of ours means the beginning."""
    _write(tmp_path)
    with SpoolReader.at(tmp_path, segment, 0) as reader:
        assert reader.read(100) == b"line\n"
