"""What users get: the installed wheel, its commands, and a README that is correct."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest
from fixtures import commands
from fixtures.commands import AUDITSVC

import auditsvc

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_wheel_is_what_is_tested():
    """The package comes from the environment, not from the work tree."""
    assert ROOT / ".venv" in Path(auditsvc.__file__).parents


def test_the_wheel_carries_rules_and_migrations():
    """Both stand at the top of the repository and travel in the wheel, whole."""
    for package, pattern in (("rules", "*.rules"), ("migrations/versions", "0*.py")):
        here = {path.name for path in (ROOT / package).glob(pattern)}
        there = files("auditsvc") / package
        assert here
        assert here <= {entry.name for entry in there.iterdir()}


@cache
def help_of(*words):
    """What `--help` of a command shows."""
    return commands.run(*words, "--help", text=True).stdout


def verbs():
    """Commands that `--help` lists."""
    listed = help_of().partition("Commands:")[2]
    return re.findall(r"^  ([a-z]+)\b", listed, re.MULTILINE)


def test_every_command_is_in_the_readme():
    """The README names every command."""
    assert {"run", "ingest", "query", "status", "migrate"} <= set(verbs())
    for verb in verbs():
        assert f"`auditsvc {verb}" in README, verb


def test_every_option_in_the_readme_exists():
    """An option that the README names is taken by that command."""
    rows = re.findall(r"^\| `auditsvc ([a-z]+(?: [a-z]+)*)([^`]*)`", README, re.MULTILINE)
    for verb, rest in rows:
        shown = help_of(*verb.split())
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in shown, (verb, option)


def test_version_names_the_decoder():
    """The version line says which decoder is in use."""
    line = subprocess.run(
        [AUDITSVC, "--version"], capture_output=True, text=True, check=False
    ).stdout
    assert re.fullmatch(rf"auditsvc {re.escape(auditsvc.__version__)} \(decoder: \w+\)\n", line)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["no-such-verb"], 2),
        (["query"], 2),
        (["query", "SELECT 1", "--format", "xml"], 2),
        (["query", "SELECT 1", "--store", "sqlite:////nowhere/at/all.db"], 1),
        (["query", "SELECT 1", "--store", "mysql://localhost/x"], 2),
        (["ingest"], 2),
        (["ingest", "/nowhere/audit.log", "--store", "sqlite:///{folder}/x.db"], 1),
        (["ingest", "/etc", "--store", "sqlite:///{folder}/x.db"], 1),
        (["--config", "/nowhere.toml", "status"], 2),
        (["tree", "--session", str(1 << 64)], 2),
        (["verify", "--spool", "{folder}", "--since", "yesterday"], 1),  # nothing was signed
        (["verify", "--spool", "{folder}", "--since", "noon"], 2),
        (["top", "--once", "--every", "1e300"], 2),
        *(
            ([verb, *("SELECT 1",) * (verb == "query"), "--timeout", seconds], status)
            for verb, status in {"query": 2, "shell": 2, "search": 1, "report": 2, "web": 2}.items()
            for seconds in ("1e300", "-1")
        ),
    ],
)
def test_wrong_use_is_one_line(tmp_path, arguments, status):
    """One line on stderr, nothing on stdout, the right status, no traceback, nothing left."""
    done = commands.run(*(word.format(folder=tmp_path) for word in arguments), text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1), done.stderr
    assert done.stderr.startswith("auditsvc: ")
    assert list(tmp_path.iterdir()) == []


def test_the_service_loads_no_driver_that_it_does_not_use(tmp_path):
    """With an SQLite store, PostgreSQL's would only take memory and time; Alembic with a new one.

    Nor is that needed where the store has the newest schema.
    """
    code = f"""
import sys, auditsvc.cli.run
from auditsvc.store import open_store
found = {{}}
for turn in ("new", "again"):
    open_store("sqlite:///{tmp_path}/store.db").close()
    found[turn] = {{"psycopg", "alembic", "sqlglot"}} & {{*sys.modules}}
print(found)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout == "{'new': set(), 'again': set()}\n", done.stderr


def test_a_command_that_asks_no_store_loads_nothing_of_it():
    """Nor does a verb load what its neighbours in a group need: half of the time to begin."""
    code = """
import atexit, sys
from auditsvc.__main__ import main
atexit.register(lambda: print({"sqlalchemy", "auditsvc.compliance"} & {*sys.modules}))
sys.argv = ["auditsvc", "rules", "check", "--help"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "set()", done


def test_what_is_loaded_is_not_searched_for_garbage():
    """Neither while it is loaded nor later: that would be a third of a short command's time."""
    code = """
import atexit, gc, sys
from auditsvc.__main__ import main
def say():
    searched = sum(each["collections"] for each in gc.get_stats()) - before
    print(gc.isenabled(), gc.get_freeze_count() > 10_000, searched < 20)
atexit.register(say)
sys.argv = ["auditsvc", "query", "--help"]
before = sum(each["collections"] for each in gc.get_stats())
main()
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "True True True", done


def test_every_room_has_a_row():
    """docs/architecture.md names every module and package."""
    page = (ROOT / "docs/architecture.md").read_text()
    rows = "\n".join(re.findall(r"^\| .*", page, re.MULTILINE))
    rooms = {path.name for path in (ROOT / "auditsvc").glob("[a-z]*.py")}
    rooms |= {f"{path.parent.name}/" for path in (ROOT / "auditsvc").glob("*/__init__.py")}
    assert not {room for room in rooms if f"`{room}" not in rows}


def test_peers_are_unpacked_and_not_installed():
    """What sets a machine up installs no auditd, and unpacks the peers into a folder."""
    lines = [
        line
        for name in ("system-packages", "unpack-peers")
        for line in (ROOT / "tools" / name).read_text().splitlines()
        if not line.startswith("#")
    ]
    assert any("dpkg-deb -x" in line for line in lines)
    assert not [line for line in lines if "auditd" in line or "systemctl" in line]
