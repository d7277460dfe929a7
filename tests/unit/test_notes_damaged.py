"""Files and variables of JSON and TOML that nobody would write: one line, or nothing."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

import pytest

from auditsvc.adopt import progress
from auditsvc.config import load_settings
from auditsvc.coverage import history
from auditsvc.errors import AuditsvcError, ConfigError
from auditsvc.evidence.seal import parse_seal
from auditsvc.guard.sanctioned import Sanctioned
from auditsvc.runtime import (
    boot_file,
    forward_state,
    service_state,
    switch_requests,
    verify_results,
)
from auditsvc.runtime.active_alerts import NAME, UNSENT, active_alerts, unsent_alerts
from auditsvc.runtime.boot_file import LOADED, PROBES, SWITCH
from auditsvc.value_text import parse_json

DEEP = "[" * 100_000
TEXTS = {
    "nothing": b"",
    "deep": DEEP.encode(),
    "deep object": b'{"a":' * 100_000,
    "not UTF-8": b'{"pid": "\xff"}',
    "infinite": b'{"pid": 1e999, "boot": Infinity}',
    "digits": b'{"pid": ' + b"9" * 5000 + b"}",
    "a list": b"[1, 2]",
    "a number": b"5",
    "null": b"null",
    "twice": b'{"pid": 1, "pid": 2}',
}


def _seal(folder):
    try:
        parse_seal((folder / "seal").read_text(errors="surrogateescape"))
    except (ValueError, KeyError, TypeError):  # as it says
        return


READERS = {
    "state.json": service_state.read_state,
    "forward.json": forward_state.read_state,
    NAME: active_alerts,
    UNSENT: unsent_alerts,
    "verified.json": verify_results.ResultWatch,
    "boot.json": lambda folder: boot_file.recall(folder / "boot.json"),
    "coverage.json": history.load,
    "adopt/state.json": progress.load,
    "seal": _seal,
}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", READERS)
def test_a_note_that_nobody_wrote(tmp_path, name, text):
    """It is no note, or an error of one line."""
    file = tmp_path / name
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.write_bytes(TEXTS[text])
    file.chmod(0o600)
    with suppress(AuditsvcError):
        READERS[name](tmp_path)


@pytest.mark.parametrize("pid", ["null", '"1"', "[]", "1e30", "1" + "0" * 40, "-1", "{}"])
def test_a_state_whose_process_cannot_be(tmp_path, pid):
    """Nothing runs then."""
    names = {
        "state.json": (service_state.ServiceState, service_state.read_state),
        "forward.json": (forward_state.ForwardState, forward_state.read_state),
    }
    for name, (kind, read) in names.items():
        values = ", ".join(f'"{each}": {pid}' for each in kind.__dataclass_fields__)
        (tmp_path / name).write_text("{" + values + "}")
        (tmp_path / name).chmod(0o600)
        assert read(tmp_path) is None


def _link(path):
    path.symlink_to("/etc/passwd")


def _socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _second_name(path):
    other = path.with_name(f"second-{path.name}")
    other.write_text("{}")
    path.hardlink_to(other)


def _writable(path):
    path.write_text("{}")
    path.chmod(0o666)


KINDS = {
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a link": _link,
    "a socket": _socket,
    "a file with two names": _second_name,
    "a file that others may write": _writable,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_of_ours_ends_no_service(tmp_path, kind):
    """It looks at these twice a second; the loader's process, the same user, can put it there."""
    for name in ("verified.json", LOADED, SWITCH, PROBES):
        KINDS[kind](tmp_path / name)
    assert verify_results.ResultWatch(tmp_path).new() is None
    assert switch_requests.Watch(tmp_path).new() == []
    assert switch_requests.wanted_on(tmp_path)
    sanctioned = Sanctioned(tmp_path)
    assert sanctioned.probed() == ()
    assert not sanctioned.loads().rules


@pytest.mark.parametrize("value", ["5", "[1]", '"word"', "null"])
def test_settings_of_a_load_that_are_none(tmp_path, value):
    """The guard goes on without them."""
    sanctioned, file = Sanctioned(tmp_path), tmp_path / LOADED
    file.write_text(f'{{"boot": "{boot_file.boot_id()}", "load": 7, "settings": {value}}}')
    file.chmod(0o600)
    assert sanctioned.loads().settings == {}


def test_settings_that_are_nested_too_deep(tmp_path, monkeypatch):
    """In the file and in a variable."""
    file = tmp_path / "auditsvc.toml"
    file.write_text(f"x = {DEEP}")
    file.chmod(0o600)
    monkeypatch.setenv("AUDITSVC_CONFIG", str(file))
    with pytest.raises(ConfigError, match="nested too deep"):
        load_settings()
    monkeypatch.delenv("AUDITSVC_CONFIG")
    for name in ("AUDITSVC_ALERT__ON", "AUDITSVC_ALERT"):
        with monkeypatch.context() as patched:
            patched.setenv(name, DEEP)
            with pytest.raises(ConfigError, match=name):
                load_settings()


def test_what_is_sound_is_read():
    """The same as by everybody else's reader."""
    assert parse_json(b'{"a": [1, 2.5, null, true, "\xc3\xa9"]}') == {
        "a": [1, 2.5, None, True, "é"]
    }
