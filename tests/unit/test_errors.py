"""What the system refused, in words: with the file that it was about."""

from __future__ import annotations

import errno
import os

import pytest

from auditsvc.errors import of_system
from auditsvc.host.files import replace_file

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("error", "where", "words"),
    [
        (FULL, "", "No space left on device"),
        (FULL, "sqlite:///x", "sqlite:///x: No space left on device"),
        (OSError(errno.EACCES, "Permission denied", "/a"), "", "/a: Permission denied"),
        (OSError(errno.EACCES, "Permission denied", "/a"), "/b", "/a: Permission denied"),
        (OSError("the device went away"), "", "the device went away"),
    ],
)
def test_of_system(error, where, words):
    """A write that fails names no file: nobody reads `None`."""
    assert of_system(error, where) == words


def test_a_write_that_fails_names_its_file(tmp_path, monkeypatch):
    """A full disk shows when what is written is written out, where no file is named."""

    def full(_descriptor):
        raise OSError(*FULL.args)

    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(OSError, match="No space") as raised:
        replace_file(tmp_path / "state.json", "{}", sync=True)
    assert of_system(raised.value) == f"{tmp_path}/state.json: No space left on device"
