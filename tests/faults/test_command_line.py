"""Wrong use, closed streams, full disks: a command fails with one line, never a traceback."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from fixtures import commands
from fixtures.commands import AUDITSVC


def say(*arguments, folder, environment=None, before=None, **options):
    """Run a command with its store and state in `folder`; by exec where words stand `before` it."""
    settings = {
        "AUDITSVC_STORE": f"sqlite:///{folder}/store.db",
        "AUDITSVC_RUNTIME_DIRECTORY": str(folder / "run"),
        "AUDITSVC_STATE_DIRECTORY": str(folder / "state"),
    }
    environment = os.environ | settings | (environment or {})
    if before is None:
        return commands.run(*arguments, environment=environment, timeout=60, **options)
    return subprocess.run(
        [*map(str, before), AUDITSVC, *map(str, arguments)],
        env=environment,
        check=False,
        timeout=60,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
    )


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """Make an empty store once, to be copied."""
    folder = tmp_path_factory.mktemp("empty")
    assert say("migrate", folder=folder).returncode == 0
    return folder / "store.db"


@pytest.fixture
def store(empty_store, tmp_path):
    """Give a folder with an empty store."""
    shutil.copy(empty_store, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [["--version"], ["query", "SELECT 1"], ["query"], ["nothing"], ["ingest", "/nowhere"]],
    ids=" ".join,
)
def test_by_exec_as_by_fork(store, words):
    """What these tests begin by fork does the same begun by exec, as users do."""
    by_fork, by_exec = (say(*words, folder=store, before=before) for before in (None, []))
    for what in ("returncode", "stdout", "stderr"):
        assert getattr(by_fork, what) == getattr(by_exec, what)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nothing"], "No such command 'nothing'; see `auditsvc --help`"),
        (["query"], "Missing argument 'SQL'; see `auditsvc query --help`"),
        (["config", "show", "--no"], "No such option: --no; see `auditsvc config show --help`"),
        (["report", "--format", "x"], "Invalid value for '--format': 'x' is not one of 'table', "),
        (["tree", "1", "--depth", "x"], "Invalid value for '--depth': it must be a valid integer;"),
        (["search", "-m", "USER_LOGN"], "no record type of that name; did you mean USER_LOGIN"),
        (["search", "-m", "NOTHING"], "no record type of that name; try -m USER_LOGIN,AVC"),
        (["query", "SELECT 1; SELECT 2"], "one statement at a time; `query` only reads: "),
        (["query", "DELETE FROM syscalls"], "it is a view; `query` only reads: "),
    ],
    ids=str,
)
def test_wrong_words_are_told_in_plain_ones(store, words, says):
    """What is wrong and where to look, without the terms of the libraries."""
    done = say(*words, folder=store)
    assert says in done.stderr.decode()
    assert_one_line(done, 1 if words[0] in ("search", "query") and len(words) > 1 else 2)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("RETENTION__KEEP", "soon", 'setting retention.keep: give a number of days, as "90d" (got'),
        ("LOADER__LATENCY", "soon", "setting loader.latency: it must be a valid number (got 'soon"),
        ("RETENTION__KEP", "9d", "RETENTION__KEP; did you mean AUDITSVC_RETENTION__KEEP"),
        ("FOO", "1", "unknown variable AUDITSVC_FOO; `auditsvc config show` lists all variables"),
    ],
)
def test_wrong_settings_are_told_in_plain_words(store, name, value, says):
    """A variable as a line of the file."""
    done = say("config", "check", folder=store, environment={f"AUDITSVC_{name}": value})
    assert says in done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 2


# Verbs that change nothing, or nothing but the test's own store.
READERS = [
    ["migrate"],
    ["query", "SELECT 1"],
    ["status"],
    ["doctor"],
    ["coverage"],
    ["forward", "--dry-run"],
    ["rules", "check"],
    ["rules", "diff"],
    ["rules", "list"],
    ["rules", "load", "10-all-syscalls", "--dry-run"],
    ["rules", "report"],
]
VERBS = pytest.mark.parametrize("verb", READERS, ids=" ".join)


def assert_one_line(done, status=1):
    """See that a command failed as the contract says."""
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith(b"auditsvc: ")
    assert done.stderr.count(b"\n") == 1, done.stderr


@pytest.mark.parametrize(
    ("verb", "before"),
    [
        *((verb, None) for verb in READERS),
        *(([verb, "--format", "table"], None) for verb in ("status", "doctor", "coverage")),
        (["query", "SELECT 1"], []),
    ],
    ids=lambda words: "exec" if words == [] else " ".join(words or ["fork"]),
)
def test_output_that_cannot_be_written(store, verb, before):
    """A full disk behind stdout is said in one line."""
    with Path("/dev/full").open("wb") as full:
        done = say(*verb, folder=store, before=before, stdout=full)
    assert_one_line(done)
    # Where the kernel refuses audit, what asks it has nothing to write.
    assert b"No space left on device" in done.stderr or verb[:1] == ["rules"]


@VERBS
def test_streams_that_are_closed(store, verb):
    """A command works without stdin, stdout and stderr, and no file gets their numbers."""
    judges = verb[0] in ("coverage", "doctor", "rules")  # 1: something is not as it should be
    stopped = verb == ["status"]
    done = say(*verb, folder=store, before=["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"])
    assert done.returncode in ((0, 1) if judges else (3,) if stopped else (0,))
    if verb in (["migrate"], ["status"]):
        assert say("query", "SELECT count(*) FROM syscalls", folder=store).returncode == 0


ASKERS = [
    ["query", "SELECT 1"],
    ["forward", "--dry-run"],
    ["forward", "--until-idle"],
    ["forward", "--forget"],
]
LOG = Path(__file__).parents[1] / "data/mixed.log"
MAKERS = [["migrate"], ["ingest", LOG]]
NOTERS = [["status"], ["doctor"], ["coverage"], ["rules", "report"]]


@pytest.fixture(params=["absent", "of another program", "a folder", "wrong"])
def no_store(request, tmp_path):
    """Give what is wrong with a store, its URL, and the status that this asks for."""
    path = tmp_path / "other.db"
    if request.param == "of another program":
        sqlite3.connect(path).executescript("CREATE TABLE mine (x)")
    elif request.param == "a folder":
        path.mkdir()
    url = "oracle://host/db" if request.param == "wrong" else f"sqlite:///{path}"
    return request.param, url, 2 if request.param == "wrong" else 1


@pytest.mark.parametrize("verb", [*ASKERS, *MAKERS], ids=lambda verb: " ".join(map(str, verb[:2])))
def test_no_store_to_work_with(no_store, verb, tmp_path):
    """What cannot be done without a store says what is wrong with it in one line."""
    wrong, url, status = no_store
    done = say(*verb, "--store", url, folder=tmp_path)
    if wrong == "absent" and verb in MAKERS:
        assert done.returncode == 0, done.stderr
        return
    lines = [line for line in done.stderr.splitlines(keepends=True) if line[:1] != b"{"]
    done.stderr = b"".join(lines)  # what a forwarder logs is no error
    assert_one_line(done, status)


@pytest.mark.parametrize("verb", NOTERS, ids=" ".join)
def test_what_is_told_without_a_store(no_store, verb, tmp_path):
    """What can be done without a store is done, and nothing is made in its place."""
    options = [] if verb == ["status"] else ["--store", no_store[1]]
    done = say(*verb, *options, folder=tmp_path, environment={"AUDITSVC_STORE": no_store[1]})
    assert done.returncode in ((3,) if verb == ["status"] else (0, 1))
    assert done.stderr == b""
    assert json.loads(done.stdout)
    assert no_store[0] != "absent" or not (tmp_path / "other.db").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["nothing"],
        ["query"],
        ["query", "SELECT 1", "--format", "xml"],
        ["run", "--duration", "nan"],
        ["ingest"],
        ["ingest", "--directory", "/tmp", "file"],
        ["forward", "--minutes", "nan"],
        ["status", "--format", "csv"],
        ["coverage", "--pid", "-7"],
        ["doctor", "--nothing"],
        ["on", "more"],
        ["rules", "nothing"],
        ["rules", "check", "/nowhere"],
        ["rules", "diff", "/nowhere"],
        ["rules", "load"],
        ["rules", "load", "--dry-run"],
        ["rules", "report", "/nowhere"],
        ["rules", "report", "--days", "0"],
        ["--config", "/nowhere", "status"],
    ],
    ids=" ".join,
)
def test_wrong_usage(tmp_path, words):
    """Wrong usage is one line and exit status 2."""
    done = say(*words, folder=tmp_path)
    if words[1:] == ["check", "/nowhere"]:  # its errors begin with where they are
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    else:
        assert_one_line(done, 2)


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (["forward", "--dry-run", "--minutes", "inf"], {}),
        (["rules", "report", "--days", "9" * 30], {}),
        (["forward", "--dry-run"], {"AUDITSVC_FORWARD__AUIDS": f"[{1 << 80}]"}),
    ],
    ids=str,
)
def test_numbers_without_measure(store, words, environment):
    """Numbers of any size give a result or one line."""
    done = say(*words, folder=store, environment=environment)
    if environment:
        assert_one_line(done, 2)
    else:
        assert done.stderr == b""
        assert json.loads(done.stdout)


def test_a_store_on_a_read_only_mount(store):
    """What reads a store reads it there, and what would write says what hinders it."""
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    there = ["unshare", "--mount", "sh", "-c", mount, store]
    assert say("ingest", LOG, folder=store).returncode == 0
    question = ["query", "SELECT count(*) > 0 AS any FROM syscalls", "--format", "json"]
    done = say(*question, folder=store, before=there)
    assert done.returncode == 0
    assert done.stderr.startswith(b"auditsvc: not recorded: ")
    assert b"Read-only file system" in done.stderr
    assert done.stderr.count(b"\n") == 1
    assert json.loads(done.stdout)[0]["any"] == 1
    for verb in (["migrate"], ["forward", "--until-idle"]):
        assert_one_line(said := say(*verb, folder=store, before=there))
        assert b"written" in said.stderr


def test_a_locale_that_lacks_a_letter(store):
    """Characters that stdout's encoding lacks are escaped."""
    before = ["env", "PYTHONIOENCODING=ascii"]
    done = say("query", "SELECT 'é' AS x", folder=store, before=before)
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
    assert done.returncode == 1, done.stderr
    assert b"Permission denied; run as root" in done.stdout


@pytest.mark.parametrize("closed", ["the file", "its folder"])
def test_a_store_that_may_not_be_read(store, closed):
    """It is said that access is denied, and not that the store cannot be made."""
    folder = store / "closed"
    folder.mkdir(mode=0o755)
    (store / "store.db").rename(folder / "store.db")
    (folder if closed == "its folder" else folder / "store.db").chmod(0o600)
    for above in (store, *store.parents):
        if above.stat().st_uid == os.getuid() and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    url = f"sqlite:///{folder}/store.db"
    done = say("query", "SELECT 1", "--store", url, folder=store, before=nobody)
    assert_one_line(done)
    assert b"made" not in done.stderr
    assert b"denied; run as root" in done.stderr


@pytest.mark.parametrize("words", [[], ["rules"]], ids=["auditsvc", "auditsvc rules"])
def test_a_command_without_a_verb_shows_its_help(tmp_path, words):
    """As `--help` lays it out, on stderr, with the status of wrong usage."""
    bare = say(*words, folder=tmp_path)
    asked = say(*words, "--help", folder=tmp_path)
    assert (bare.returncode, bare.stdout, bare.stderr) == (2, b"", asked.stdout)
    assert bare.stderr.count(b"\n  ") > 5


def test_load_without_rules_says_what_to_give(tmp_path):
    """Nothing is loaded by accident: not even the rules of the settings."""
    done = say("rules", "load", folder=tmp_path)
    assert_one_line(done, 2)
    assert b"give a rule file, a folder or a set" in done.stderr


@pytest.mark.parametrize("name", ["stig-rhel9", "pci-dss-4.0", "cis-debian"])
def test_a_user_may_check_every_set(tmp_path, name):
    """A folder that the user may not read (/root/.ssh) is a note, not an error."""
    for above in (tmp_path, *tmp_path.parents):
        if above.stat().st_uid == os.getuid() and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = say("rules", "check", name, folder=tmp_path, before=nobody)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b": no errors, " in done.stdout.splitlines()[-1]


def test_text_that_looks_like_markup_or_moves_the_cursor(tmp_path):
    """Names that others chose are shown as they are, their control bytes made visible."""
    name = "[b]\x1b[2J"
    environment = {"AUDITSVC_STORE": f"sqlite:///{tmp_path}/{name}.db", "COLUMNS": "500"}
    done = say("status", "--format", "table", folder=tmp_path, environment=environment)
    assert done.returncode == 3, done.stderr
    assert b"[b]" in done.stdout
    missing = say("ingest", tmp_path / name, folder=tmp_path)
    assert missing.returncode == 1
    assert b"\x1b" not in done.stdout + missing.stderr


def test_what_is_no_file_is_no_rule_file_and_no_settings(tmp_path):
    """A FIFO in a folder of rules and a device without an end hang no verb; a pipe is read."""
    os.mkfifo(tmp_path / "20-fifo.rules")
    (tmp_path / "10-some.rules").write_text("-a always,exit -F arch=b64 -S openat -k some\n")
    for words, says in (
        (["rules", "check", tmp_path], b"20-fifo.rules: is not a regular file"),
        (["rules", "check", "/dev/zero"], b"/dev/zero: is not a regular file"),
        (["rules", "report", tmp_path], b"20-fifo.rules: is not a regular file"),
        (["rules", "report", "/dev/zero"], b"/dev/zero: is not a regular file"),
        (["--config", tmp_path / "20-fifo.rules", "status"], b"not a regular file"),
    ):
        done = say(*words, folder=tmp_path)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done.stderr
        assert says in done.stderr
    rule = b"-w /etc -p w -k etc\n"
    done = say("rules", "check", "/dev/stdin", folder=tmp_path, before=[], input=rule)
    assert done.stdout.splitlines()[-1].startswith(b"1 rule: no errors")


@pytest.mark.parametrize("source", ["fifo", "/dev/zero"])
def test_what_is_no_file_is_no_log(tmp_path, source):
    """A FIFO or a device hangs neither `ingest` nor `run`."""
    os.mkfifo(tmp_path / "fifo")
    for verb in (["ingest"], ["run", "--source"]):
        done = say(*verb, tmp_path / source, folder=tmp_path)
        assert done.returncode == 1
        assert b"not a regular file" in done.stderr
