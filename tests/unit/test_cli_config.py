"""`auditsvc config`: every error at once, every setting with its source and its meaning."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from contextvars import ContextVar
from pathlib import Path

import pytest

from auditsvc import cli, config
from auditsvc.config import setting_names
from auditsvc.manual.settings import list_options, section_meanings
from auditsvc.manual.settings_page import settings_page
from auditsvc.service.reload import LIVE

ROOT = Path(__file__).parents[2]


@pytest.fixture
def say(monkeypatch, capsys, tmp_path):
    """Run `auditsvc config ...` with a file of settings; gives status and both outputs."""
    monkeypatch.setattr("auditsvc.config.DEFAULT_FILE", tmp_path / "auditsvc.toml")
    monkeypatch.delenv("AUDITSVC_CONFIG", raising=False)
    monkeypatch.setattr(config, "_chosen", ContextVar("_chosen", default=None))

    def run(*words, file=None):
        if file is not None:
            (tmp_path / "auditsvc.toml").write_text(file)
        monkeypatch.setattr(sys, "argv", ["auditsvc", "config", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err.splitlines()

    return run


def test_check_names_what_no_event_has(say):
    """A call or a type that does not exist is never forwarded: a slip would go unnoticed."""
    wrong = (
        '[forward]\nsyscalls = ["opennat", "openat"]\ntypes = ["USER_LOGINN", "*", "UNKNOWN[9]"]\n'
    )
    status, _, errors = say("check", file=wrong)
    assert status == 2
    assert errors == [
        "auditsvc: forward.syscalls: there is no system call opennat; did you mean openat?",
        "auditsvc: forward.types: there is no record type USER_LOGINN; did you mean USER_LOGIN?",
    ]


def test_check_sees_the_file_behind_variables(say, monkeypatch):
    """The service has not the variables of who asks: what these hide of the file is wrong there."""
    monkeypatch.setenv("AUDITSVC_STORE", "sqlite:////x.db")
    monkeypatch.setenv("AUDITSVC_SPOOL__FSYNC", "none")
    status, out, errors = say("check", file='store = 3\n[spool]\nfsync = "daily"\n')
    assert (status, out) == (2, "")
    assert [line.split(":")[1] for line in errors] == [" setting store", " setting spool.fsync"]
    status, _, errors = say("check", file='store = "sqlite:////a?b"\n')
    assert (status, len(errors)) == (2, 1)
    assert "takes no options" in errors[0]
    status, out, errors = say("check", file='store = "sqlite:////a.db"\n')
    assert (status, errors) == (0, [])
    assert out.endswith("auditsvc.toml: no errors\n")
    monkeypatch.setenv("AUDITSVC_SPOOL__FSYNC", "daily")
    status, _, errors = say("check", file='[spool]\nfsync = "none"\n')
    assert (status, len(errors)) == (2, 1)


def test_check_shows_every_error(say, monkeypatch):
    """Unknown names and wrong values of the file and of variables: a line each, status 2."""
    monkeypatch.setenv("AUDITSVC_STROE", "x")
    monkeypatch.setenv("AUDITSVC_ZZZ", "x")
    status, out, errors = say("check", file='colour = 1\nshape = "round"\n')
    assert (status, out) == (2, "")
    assert [line.split("; ")[0].partition("unknown ")[2] for line in errors] == [
        "setting 'colour'",
        "setting 'shape'",
        "variable AUDITSVC_STROE",
        "variable AUDITSVC_ZZZ",
    ]
    assert errors[2].endswith("did you mean AUDITSVC_STORE")
    monkeypatch.delenv("AUDITSVC_STROE")
    monkeypatch.delenv("AUDITSVC_ZZZ")
    wrong = '[spool]\nfsync = "daily"\n[loader]\nidle = -1\n[forward]\nauids = ["root"]\n'
    status, _, errors = say("check", file=wrong)
    assert status == 2
    assert [line.split(":")[1] for line in errors] == [
        " setting spool.fsync",
        " setting loader.idle",
        " setting forward.auids.0",
    ]
    assert len(errors) == 3


def test_unknown_names_hide_no_wrong_values(say, monkeypatch):
    """Of the file, of its sections, of variables: who corrects one must not meet the next."""
    monkeypatch.setenv("AUDITSVC_STROE", "x")
    wrong = 'stor = "x"\n[spool]\nkeep_byte = 3\nfsync = "daily"\n[retentio]\nkeep = 1\n'
    status, _, errors = say("check", file=wrong)
    assert status == 2
    told = [re.sub(".*(variable|setting) ", "", line.split("; ")[0]) for line in errors]
    assert sorted(each.split(":")[0].strip("'") for each in told) == [
        *("AUDITSVC_STROE", "retentio", "spool.fsync", "spool.keep_byte", "stor")
    ]
    hints = [line.split("; ")[1] for line in errors if "unknown " in line]
    assert [each.removeprefix("did you mean ") for each in hints] == [
        *("store", "retention", "AUDITSVC_STORE", "spool.keep_bytes")
    ]


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ('store = "oracle://x"', "no store can be kept in oracle"),
        ('rules = ["/none/at/all"]', "/none/at/all"),
        ('rules = ["pci-dss-5"]', "pci-dss-5"),
        ('source = "/none.log"', "there is no file /none.log"),
    ],
)
def test_check_looks_at_what_the_settings_name(say, file, says):
    """A store, rules or a source that cannot be used is an error before the service starts."""
    status, _, (error,) = say("check", file=file)
    assert status == 2
    assert says in error


def test_check_of_a_file_that_is_right(say, tmp_path):
    """One line that names the file; another file can be checked before it is installed."""
    assert say("check")[1].startswith("no file ")
    assert say("check", file='host = "web"')[1] == f"{tmp_path}/auditsvc.toml: no errors\n"
    other = tmp_path / "new.toml"
    other.write_text("[spool]\nkeep_bytes = -1\n")
    status, _, (error,) = say("check", other)
    assert status == 2
    assert "spool.keep_bytes" in error
    assert str(other) in error


def test_path_names_the_file_that_is_read(say, monkeypatch, tmp_path):
    """The default, or the one that the variable names."""
    assert say("path")[1] == f"{tmp_path}/auditsvc.toml\n"
    monkeypatch.setenv("AUDITSVC_CONFIG", "/other.toml")
    assert say("path")[1] == "/other.toml\n"


def test_show_says_where_each_value_is_from(say, monkeypatch, tmp_path):
    """Default, file, or variable, also for a section that is one variable in JSON."""
    monkeypatch.setenv("AUDITSVC_HOST", "variable")
    monkeypatch.setenv("auditsvc_kernel", '{"backlog_limit": 99}')
    file = 'host = "file"\nstore = "postgresql://me:secret@db/audit"\n[spool]\nkeep_bytes = 7\n'
    shown = {row["name"]: row for row in json.loads(say("show", "--format", "json", file=file)[1])}
    assert set(shown) == set(setting_names())
    assert (shown["host"]["value"], shown["host"]["from"]) == ("variable", "AUDITSVC_HOST")
    assert (shown["spool.keep_bytes"]["value"], shown["spool.keep_bytes"]["from"]) == (
        7,
        f"{tmp_path}/auditsvc.toml",
    )
    assert shown["kernel.backlog_limit"]["from"] == "AUDITSVC_KERNEL"
    assert shown["spool.fsync"]["from"] == "default"
    assert shown["spool.fsync"]["changes_at"] == "restart"
    assert shown["spool.keep_bytes"]["changes_at"] == "reload"
    assert "secret" not in shown["store"]["value"]
    changed = json.loads(say("show", "--changed", "--format", "json")[1])
    assert {row["name"] for row in changed} == {
        *("host", "store", "spool.keep_bytes", "kernel.backlog_limit")
    }


def test_show_is_a_file_of_settings(say):
    """What it shows, read as settings, gives the same settings."""
    file = '[forward]\nauids = [0, 1000]\n[retention]\nkeep = "30d"\n'
    shown = say("show", "--format", "table", file=file)[1]
    values = tomllib.loads(shown)
    assert values["forward"]["auids"] == [0, 1000]
    assert values["retention"] == {"keep": "30d"}
    again = tomllib.loads(say("show", "--format", "table", file=shown)[1])
    assert again == values


def test_show_refuses_what_is_no_setting(say):
    """A wrong name is wrong usage; a section is all its settings."""
    assert say("show", "spool.colour")[0] == 2
    rows = json.loads(say("show", "ingest", "--format", "json")[1])
    assert [row["name"] for row in rows] == ["ingest.trust_kernel_log"]


def test_every_setting_is_documented():
    """A meaning for each, a unit for each number, and words about each section."""
    for option in list_options():
        assert option.meaning.endswith("."), option.name
        if option.kind.startswith(("integer", "number")):
            assert option.unit, option.name
    assert all(section_meanings().values())
    assert {option.name for option in list_options()} == set(setting_names())


def test_the_page_of_settings_is_that_of_the_model():
    """docs/configuration.md is what `make pages` writes."""
    assert (ROOT / "docs/configuration.md").read_text() == settings_page(LIVE)


def test_an_unknown_variable_stops_every_command():
    """Also one that needs no setting but its store: it would be used without what was meant."""
    words = [sys.executable, "-P", "-m", "auditsvc", "query", "SELECT 1"]
    done = subprocess.run(
        words, capture_output=True, text=True, env={"AUDITSVC_SPOOL__COLOUR": "red"}, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("auditsvc: unknown variable AUDITSVC_SPOOL__COLOUR; ")
