"""The files of a log, opened for a loader's process that may not: its own, and no others."""

from __future__ import annotations

import os

import pytest

from auditsvc.collect.log_files import OwnFiles
from auditsvc.collect.logfile import FollowedFile
from auditsvc.errors import SpoolError
from auditsvc.service.loader_reports import Ask
from auditsvc.service.source_files import AskedFiles, SourceFiles


@pytest.fixture
def log(tmp_path):
    """Give the path of a log, with one that was rotated and files of others."""
    path = tmp_path / "audit.log"
    path.write_text("new\n")
    (tmp_path / "audit.log.1").write_text("old\n")
    (tmp_path / "shadow").write_text("secret\n")
    (tmp_path / "folder").mkdir()
    return path


def connected(path):
    """Give the loader's side, whose questions are answered at once."""

    def send(ask):
        asked.take(*files.answer(Ask.model_validate_json(ask.model_dump_json())))

    files = SourceFiles(path)
    asked = AskedFiles(send)
    return asked


def test_a_log_is_followed_by_what_is_passed(log):
    """As if it was opened here; also one that was rotated meanwhile."""
    with FollowedFile(log, files=connected(log)) as followed:
        assert followed.read(100) == b"new\n"
        place = followed.checkpoint()
    log.rename(log.with_name("audit.log.2"))
    log.write_text("newer\n")
    with FollowedFile(log, *place, connected(log)) as followed:
        data = b"".join(iter(lambda: followed.read(100), b""))
    assert followed.missing == 0
    assert b"newer" in data
    assert b"old" in data  # as audit.log.1 stands between


@pytest.mark.parametrize(
    "name", ["shadow", "folder", "../shadow", "/etc/passwd", "..", ".", "", "audit.log/../shadow"]
)
@pytest.mark.parametrize("what", ["open", "status"])
def test_nothing_else_is_opened(log, what, name):
    """Names of others, and paths, are refused."""
    answer, descriptor = SourceFiles(log).answer(Ask(what=what, name=name))
    assert answer["errno"]
    assert descriptor == -1


def test_names_are_the_logs(log):
    """What else is in the folder is not told."""
    answer, _ = SourceFiles(log).answer(Ask(what="names"))
    assert answer["names"] == ["audit.log", "audit.log.1"]


def test_a_pipe_is_no_log(log):
    """It is not waited for."""
    log.unlink()
    os.mkfifo(log)
    with pytest.raises(SpoolError, match="not a regular file"):
        FollowedFile(log, files=connected(log))
    with pytest.raises(OSError, match="not a regular file"):
        OwnFiles().open(log)
