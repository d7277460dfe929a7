"""Files and folders: how a path is followed, what is made, and who may use what was made."""

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
from fixtures.unsafe_files import AS_ROOT, OTHER

from auditsvc.host import files
from auditsvc.rule import read
from auditsvc.ruleset.controls import default
from auditsvc.runtime import lock
from auditsvc.spool.writer import SpoolWriter
from auditsvc.store import open_store


@contextmanager
def umask(mask):
    """Have another umask for a while."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


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
