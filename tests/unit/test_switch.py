"""The requests for on and off in their file: who asked, the wanted state, old files."""

from __future__ import annotations

import json
import os

import pytest

from auditsvc.errors import AuditsvcError
from auditsvc.runtime import switch_requests


def test_without_a_file_audit_is_wanted_on(tmp_path):
    """Nobody asked for anything, or there is not even a folder."""
    assert switch_requests.wanted_on(tmp_path)
    assert switch_requests.wanted_on(tmp_path / "absent")


def test_the_last_request_holds(tmp_path):
    """Off, then on; each says who asked, and the file is the owner's alone."""
    assert switch_requests.add_request(tmp_path, on=False) == []
    assert not switch_requests.wanted_on(tmp_path)
    [off] = switch_requests.add_request(tmp_path, on=True)
    assert switch_requests.wanted_on(tmp_path)
    assert (off.on, off.who.pid, off.who.uid) == (False, os.getpid(), os.getuid())
    assert (tmp_path / "switch.json").stat().st_mode & 0o777 == 0o600


def test_a_request_that_failed_leaves_no_trace(tmp_path):
    """What stood there before is put back."""
    before = switch_requests.add_request(tmp_path, on=False)
    switch_requests.write_requests(tmp_path, before)
    assert switch_requests.wanted_on(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"boot": "x", "requests": [1]}'])
def test_a_file_that_is_not_ours_says_nothing(tmp_path, text):
    """Damage must not read as a wish for off."""
    (tmp_path / "switch.json").write_text(text)
    assert switch_requests.wanted_on(tmp_path)


def test_an_earlier_boot_says_nothing(tmp_path):
    """A runtime directory that survives a boot does not keep audit off."""
    switch_requests.add_request(tmp_path, on=False)
    file = tmp_path / "switch.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"boot": "another"}))
    assert switch_requests.wanted_on(tmp_path)


def test_a_new_run_forgets(tmp_path):
    """A service that begins means on, whether there was a file or not."""
    switch_requests.add_request(tmp_path, on=False)
    switch_requests.forget(tmp_path)
    switch_requests.forget(tmp_path)
    assert switch_requests.wanted_on(tmp_path)


def test_the_watch_gives_each_request_once(tmp_path):
    """Also those that came and went between two looks, and none from before."""
    switch_requests.add_request(tmp_path, on=False)
    watch = switch_requests.Watch(tmp_path)
    assert watch.new() == []
    switch_requests.add_request(tmp_path, on=True)
    switch_requests.add_request(tmp_path, on=False)
    assert [each.on for each in watch.new()] == [True, False]
    assert watch.new() == []


def test_only_the_newest_requests_are_kept(tmp_path):
    """The file does not grow without end."""
    for turn in range(40):
        switch_requests.add_request(tmp_path, on=bool(turn % 2))
    assert len(switch_requests.requests(tmp_path)) == 32


def test_a_runtime_directory_that_cannot_be_written_is_named(tmp_path):
    """One line with the path, not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditsvcError, match=r"switch\.json"):
        switch_requests.add_request(tmp_path / "file", on=False)
