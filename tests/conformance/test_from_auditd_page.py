"""docs/from-auditd.md: its commands run, its settings exist, and it has every line of the scans."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from fixtures import commands
from fixtures.cookbook_log import cookbook_log
from fixtures.logs import load

from auditsvc.adopt.auditd_conf import KEYWORDS
from auditsvc.compliance.frameworks import CIS, STIG
from auditsvc.config import setting_names

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/from-auditd.md").read_text()
SHIPPED = ROOT / "build/peers/etc/audit"
COMMANDS = sorted(
    {
        each.partition("#")[0].strip()
        for each in [
            *re.findall(r"`(auditsvc [a-z][^`]*)`", PAGE),
            *re.findall(r"(?m)^(auditsvc .*)$", PAGE),
        ]
    }
)
LIVE = {
    "auditsvc adopt --apply": "live/test_adopt.py",
    "auditsvc adopt --back": "live/test_adopt.py",
    "auditsvc adopt --back --apply": "live/test_adopt.py",
    "auditsvc rules load": "live/test_rule_load.py",
    "auditsvc rules load /etc/audit/rules.d": "live/test_rule_load.py",
    "auditsvc on": "live/test_switch.py",
    "auditsvc off": "live/test_switch.py",
    "auditsvc tail": "live/test_tail.py",
}
"""What changes the kernel or does not end, with the tests that run it."""
STATUSES = {
    "status": {0, 3},
    "coverage": {0, 1, 3},
    "compliance": {1},
    "report": {0, 1},
    "verify": {1},
}
"""Exit statuses here, where no service runs and signs; of the others 0."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A host with a store that has a day's log, and auditd's settings."""
    folder = tmp_path_factory.mktemp("page")
    log, _ = cookbook_log()
    url = f"sqlite:///{folder}/store.db"
    load(url, log)
    (folder / "FILE").write_text(log if isinstance(log, str) else log.decode())
    return {name: value for name, value in os.environ.items() if "AUDITSVC" not in name} | {
        "AUDITSVC_STORE": url,
        "AUDITSVC_STATE_DIRECTORY": str(folder / "state"),
        "AUDITSVC_RUNTIME_DIRECTORY": str(folder / "run"),
        "FOLDER": str(folder),
    }


@pytest.mark.parametrize("command", [each for each in COMMANDS if each not in LIVE])
def test_each_command_runs(command, environment):
    """As it stands, but for the paths of this test."""
    words = shlex.split(command)[1:]
    assert SHIPPED.exists(), "make peers"
    words = [each.replace("/etc/audit", str(SHIPPED)) for each in words]
    words = [f"{environment['FOLDER']}/FILE" if each == "FILE" else each for each in words]
    if words[0] == "adopt":
        words += ["--from", str(SHIPPED)]
    done = commands.run(*words, environment=environment, text=True)
    expected = STATUSES.get(words[0], {0})
    # What they say of the host depends on the host.
    if words[:1] == ["doctor"] or words[:2] in (["rules", "diff"], ["rules", "report"]):
        expected = {0, 1}
    refused = "does not permit" in done.stderr or "refuses audit" in done.stderr
    assert done.returncode in expected or refused, (command, done.returncode, done.stderr)
    assert done.stdout or done.stderr


def test_what_is_left_to_live_tests_is_there():
    """Each of them names its command's verb."""
    for command, file in LIVE.items():
        assert (ROOT / "tests" / file).exists(), command
    text = (ROOT / "tests/live/test_adopt.py").read_text()
    assert '"--apply"' in text
    assert '"--back", "--apply"' in text


def test_each_setting_exists():
    """In code marks: names with a dot are settings, and so is `host`."""
    named = set(re.findall(r"`([a-z]+\.[a-z_]+)(?: = [^`]*)?`", PAGE))
    assert named - {"rules.d"} <= set(setting_names())


def test_each_keyword_of_the_table_is_auditd_s():
    """And those of space, rotation, flush and names are all there."""
    (table,) = re.findall(r"(?s)\| auditd.conf \| ours .*?\n\n", PAGE)
    named = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b|\bflush\b|\bfreq\b", table))
    for keyword in ("space_left", "flush", "num_logs", "name_format", "disk_full_action"):
        assert keyword in named
        assert keyword in KEYWORDS


def numbers(text):
    """STIG's numbers in a text; of a range, both ends."""
    return {int(each) for each in re.findall(r"\b(?:RHEL-09-)?(2\d{5}|65\d{4})\b", text)}


def ranges(text):
    """Ranges of them."""
    found = re.findall(r"(\d{6}) to (\d{6})", text)
    return [range(int(low), int(high) + 1) for low, high in found]


@pytest.mark.parametrize("line", STIG.lines, ids=lambda line: line.id)
def test_each_line_of_the_stig_is_on_the_page(line):
    """By its number or within a range."""
    (number,) = numbers(line.id)
    assert number in numbers(PAGE) or any(number in each for each in ranges(PAGE))


@pytest.mark.parametrize("line", CIS.lines, ids=lambda line: line.id)
def test_each_line_of_cis_is_on_the_page(line):
    """Its section, at least."""
    section = line.id.split(" ")[0].rpartition(".")[0]
    assert f"CIS {section}" in PAGE
