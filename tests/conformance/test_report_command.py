"""`auditsvc rules report` as users call it: without a store, without a kernel, in every form."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from fixtures import commands
from fixtures.commands import AUDITSVC
from fixtures.logs import call, load

from auditsvc.ruleset import controls

RULES = """\
#: FRAME 1 | Parents asked for
-a always,exit -S getppid -k parent

#: FRAME 2 | Locked
#= -e 2
"""


@pytest.fixture
def run(tmp_path):
    """Run the command with a configuration of its own, outside of the kernel's audit if asked."""

    def run(*arguments, alone=False):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AUDITSVC_")}
        environment |= {
            "AUDITSVC_STATE_DIRECTORY": str(tmp_path / "state"),
            "AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path / "run"),
            "AUDITSVC_STORE": f"sqlite:///{tmp_path}/store.db",
            "AUDITSVC_HOST": "box",
        }
        if not alone:
            return commands.run("rules", "report", *arguments, environment=environment, text=True)
        return subprocess.run(
            ["unshare", "--user", "--map-root-user", AUDITSVC, "rules", "report", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def rule_file(tmp_path):
    """Give a set of two controls."""
    path = tmp_path / "own.rules"
    path.write_text(RULES)
    return path


def alone_works():
    """Whether a user namespace can be made here."""
    enter = ["unshare", "--user", "--map-root-user", "true"]
    return shutil.which("unshare") and subprocess.run(enter, check=False).returncode == 0


@pytest.mark.skipif(not alone_works(), reason="no user namespace can be made here")
@pytest.mark.parametrize("form", ["table", "json", "html"])
def test_without_kernel_and_store(run, rule_file, form):
    """Both formats say what is unknown; exit status 1, and no traceback."""
    done = run(str(rule_file), "--format", form, alone=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert "FRAME" in done.stdout
    assert done.stdout.count("not known") >= 2
    if form == "json":
        told = json.loads(done.stdout)
        assert set(told["unknown"]) == {"kernel", "store", "coverage"}
        assert told["covered"] is None
        assert [each["state"] for each in told["controls"]] == ["not known", "setting"]
        assert [each["events"] for each in told["controls"]] == [None, None]


@pytest.mark.skipif(not alone_works(), reason="no user namespace can be made here")
def test_a_store_without_a_kernel(run, rule_file, tmp_path):
    """A log that was loaded on another machine is counted by keys and by calls."""
    log = call(1, nr=110, key='"parent"') + call(2, nr=110, key='"all"') + call(3, nr=1)
    load(f"sqlite:///{tmp_path}/store.db", log)
    done = run(str(rule_file), "--days", "36500", "--format", "json", alone=True)
    told = json.loads(done.stdout)
    assert told["controls"][0]["events"] == 2
    assert told["controls"][0]["counted_by"] == "calls"
    assert told["controls"][0]["last_seen"] == "2025-06-15T15:06:40Z"


def test_the_file_is_told(run, rule_file):
    """The report names the files that it is of, by path and hash."""
    told = json.loads(run(str(rule_file), "--format", "json").stdout)
    (source,) = told["sets"]
    assert source["path"] == str(rule_file)
    assert source["sha256"] == hashlib.sha256(RULES.encode()).hexdigest()


def test_sets_by_name_and_folder(run, rule_file):
    """Sets, files and folders together; the same control of two files is one."""
    own = (
        "#: PCI-DSS-4.0 10.2.1.1 | Access of individuals to cardholder data\n-w /srv -p rwa -k c\n"
    )
    (rule_file.parent / "site.rules").write_text(own)
    told = json.loads(run("pci-dss-4.0", str(rule_file.parent), "--format", "json").stdout)
    assert [each["name"] for each in told["sets"]] == ["pci-dss-4.0", "own", "site"]
    first = next(each for each in told["controls"] if each["id"] == "10.2.1.1")
    assert len(first["rules"]) == 1
    assert [each["id"] for each in told["controls"]][:3] == ["10.2.1.1", "10.2.1.2", "10.2.1.3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pci-dss"], "did you mean `pci-dss-4.0`?"),
        (["/nowhere.rules"], "no such file or folder"),
        (["pci-dss-4.0", "--days", "0"], "--days"),
    ],
)
def test_wrong_usage(run, arguments, message):
    """A set that is not there is one line and status 2."""
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_wrong_rules(run, rule_file):
    """A wrong line of a file is told as other verbs tell it."""
    rule_file.write_text("-a always,exit -S getpidd\n")
    done = run(str(rule_file))
    assert done.returncode == 2
    assert f"{rule_file}:1:19: unknown syscall" in done.stderr


def test_every_set_is_in_the_readme():
    """The README names all sets and no others."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert [name for name in controls.names() if f"`{name}`" not in readme] == []
