"""What a user, a terminal or a disk can do to a command: one line, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

AUDITSVC = Path(sys.executable).with_name("auditsvc")


def say(*arguments, folder, environment=None, **options):
    """Run a command with its store and state in `folder`."""
    settings = {
        "AUDITSVC_STORE": f"sqlite:///{folder}/store.db",
        "AUDITSVC_RUNTIME_DIRECTORY": str(folder / "run"),
        "AUDITSVC_STATE_DIRECTORY": str(folder / "state"),
    }
    return subprocess.run(
        [*map(str, options.pop("before", ())), AUDITSVC, *map(str, arguments)],
        env=os.environ | settings | (environment or {}),
        check=False,
        timeout=60,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
    )


@pytest.fixture
def store(tmp_path):
    """Give a folder with an empty store."""
    assert say("migrate", folder=tmp_path).returncode == 0
    return tmp_path


VERBS = pytest.mark.parametrize("verb", [["migrate"], ["query", "SELECT 1"], ["status"]])


@VERBS
def test_output_that_cannot_be_written(store, verb):
    """A full disk behind stdout is said in one line."""
    with Path("/dev/full").open("wb") as full:
        done = say(*verb, folder=store, stdout=full)
    assert done.returncode == 1
    assert done.stderr == b"auditsvc: No space left on device\n"


@VERBS
def test_streams_that_are_closed(store, verb):
    """Without stdin, stdout and stderr a command works, and no file takes their place."""
    done = say(*verb, folder=store, before=["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"])
    assert done.returncode == 0
    assert say("query", "SELECT count(*) FROM syscalls", folder=store).returncode == 0


def test_a_locale_that_lacks_a_letter(store):
    """What stdout's encoding cannot say is escaped."""
    environment = {"PYTHONIOENCODING": "ascii"}
    done = say("query", "SELECT 'é' AS x", folder=store, environment=environment)
    assert (done.returncode, done.stdout) == (0, b"x\n\\xe9\n")


def test_status_of_a_service_that_is_not_ours(store):
    """Who may not read the service's state is told so."""
    (store / "run").mkdir()
    (store / "run/state.json").write_text("{}")
    (store / "run/state.json").chmod(0o600)
    for folder in (store, *store.parents):
        if folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = say("status", folder=store, before=nobody)
    assert done.returncode == 0, done.stderr
    assert b"Permission denied; ask as root" in done.stdout


def test_text_that_looks_like_markup_or_moves_the_cursor(tmp_path):
    """Names that others chose are shown as they are, their control bytes made visible."""
    name = "[b]\x1b[2J"
    environment = {"AUDITSVC_STORE": f"sqlite:///{tmp_path}/{name}.db", "COLUMNS": "500"}
    done = say("status", "--format", "table", folder=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr
    assert b"[b]" in done.stdout
    missing = say("ingest", tmp_path / name, folder=tmp_path)
    assert missing.returncode == 1
    assert b"\x1b" not in done.stdout + missing.stderr


@pytest.mark.parametrize("source", ["fifo", "/dev/zero"])
def test_what_is_no_file_is_no_log(tmp_path, source):
    """A FIFO or a device hangs neither `ingest` nor `run`."""
    os.mkfifo(tmp_path / "fifo")
    for verb in (["ingest"], ["run", "--source"]):
        done = say(*verb, tmp_path / source, folder=tmp_path)
        assert done.returncode == 1
        assert b"not a regular file" in done.stderr
