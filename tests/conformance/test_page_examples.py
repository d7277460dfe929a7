"""Each example on the pages runs, and each command that they mention is one."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

import pytest
from fixtures import commands
from fixtures.cookbook_log import cookbook_log
from fixtures.logs import load
from fixtures.page_examples import (
    OWN,
    PAGES,
    ROOT,
    commands_of,
    mentioned,
    settings_of,
    statements_of,
)

from auditsvc.cli import all_commands

pytestmark = pytest.mark.skipif(not PAGES, reason="only in a checkout")

ELSEWHERE = {
    "auditsvc run": ("live/service.py", '"run"'),
    "auditsvc tail": ("live/test_tail.py", '"tail"'),
    "auditsvc web": ("conformance/test_web_archive.py", 'run("web", '),
    "auditsvc query --archive": ("conformance/test_archive.py", '"query", "--archive"'),
    "auditsvc report --archive": ("conformance/test_report_archive.py", '(("--archive",), ())'),
    "auditsvc report daily --archive": (
        "conformance/test_report_archive.py",
        'command(settings, "daily", "--archive"',
    ),
    "auditsvc fleet query": ("conformance/test_fleet_lake.py", 'fleet.run("query"'),
    "auditsvc fleet spark-sql": ("conformance/test_fleet_spark.py", "run_spark_sql(fleet"),
    "auditsvc migrate": ("roots/test_packaging.py", 'block("Upgrade")'),
}
"""What needs a kernel, a lake or an archive, or does not end: where it is run, by which words."""
STATUSES = {"search": {0, 1}, "rules": {0, 1}}
"""Exit statuses: nothing was found; what a report says depends on the host. Of others 0."""
CREDENTIALS = re.compile(r"(?m)\A(access_key|secret_key) = ")
"""Of the file that archive.credentials and fleet.credentials name, which is no settings."""

EXAMPLES = [(page.name, words) for page in PAGES for words in commands_of(page)]
SETTINGS = [(page.name, text) for page in PAGES for text in settings_of(page)]


def elsewhere(words):
    """Give the beginning of a command that another test runs; "" of one that is run here."""
    line = " ".join(words)
    return next((each for each in ELSEWHERE if f"{line} ".startswith(f"{each} ")), "")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A host with a store that has a day's log, and a backup of it."""
    folder = tmp_path_factory.mktemp("page")
    log, _ = cookbook_log()
    url = f"sqlite:///{folder}/store.db"
    load(url, log, kind="spool", host="box")
    (folder / "audit.log").write_text(log if isinstance(log, str) else log.decode())
    made = {name: value for name, value in os.environ.items() if "AUDITSVC" not in name} | {
        "AUDITSVC_STORE": url,
        "AUDITSVC_STATE_DIRECTORY": str(folder / "state"),
        "AUDITSVC_RUNTIME_DIRECTORY": str(folder / "run"),
        "FOLDER": str(folder),
    }
    done = commands.run("backup", f"{folder}/kept.db", environment=made, text=True)
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.parametrize(("page", "words"), [each for each in EXAMPLES if not elsewhere(each[1])])
def test_each_example_runs(page, words, environment):
    """As it stands, but for paths of this test: with the status of success, and no warning."""
    folder = environment["FOLDER"]
    made = [
        re.sub(r"^/var/log/audit/audit\.log(\.1)?$", f"{folder}/audit.log", each)
        for each in words[1:]
    ]
    made = [each.replace("/backup/", f"{folder}/") for each in made]
    if made[0] == "restore":
        made[-1] = f"{folder}/kept.db"
    if ">" in made:
        del made[made.index(">") :]
    done = commands.run(*made, environment=environment, text=True)
    refused = "does not permit" in done.stderr or "refuses audit" in done.stderr
    assert refused or done.returncode in STATUSES.get(made[0], {0}), (page, words, done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("page", ["README.md", "docs/coverage.md"])
def test_each_statement_runs(page, environment):
    """Those of docs/sql.md and docs/fleet.md have tests of their own."""
    statements = statements_of(ROOT / page)
    assert statements
    for each in statements:
        done = commands.run("query", each, environment=environment, text=True)
        assert done.returncode == 0, (each, done.stderr)


def test_what_other_tests_run_is_there():
    """Each beginning is that of an example, and its test has the words."""
    assert {elsewhere(words) for _, words in EXAMPLES} - {""} == set(ELSEWHERE)
    for file, text in ELSEWHERE.values():
        assert text in (ROOT / "tests" / file).read_text(), file
    for file in OWN.values():
        assert (ROOT / "tests" / file).exists()


@pytest.mark.parametrize(("page", "text"), SETTINGS)
def test_each_file_of_settings_is_read(page, text, tmp_path):
    """No name is unknown and no value wrong."""
    if CREDENTIALS.search(text):
        return  # conformance/test_archive_place.py
    file = tmp_path / "auditsvc.toml"
    file.write_text(text)
    made = {name: value for name, value in os.environ.items() if "AUDITSVC" not in name}
    done = commands.run("--config", file, "config", "show", environment=made, text=True)
    assert done.returncode == 0, (page, done.stderr)


@cache
def options_of():
    """Give the options of each command, by its words."""
    return {
        each.words: {name for option in each.options for name in option.names}
        for each in all_commands()
    }


@pytest.mark.parametrize(
    "page", [*PAGES, *(ROOT / "docs" / name for name in OWN)], ids=lambda page: page.name
)
def test_each_command_that_is_mentioned_exists(page):
    """With its long options."""
    for words in [*mentioned(page), *(list(each[1:]) for each in commands_of(page))]:
        place = tuple(words[:2]) if tuple(words[:2]) in options_of() else tuple(words[:1])
        assert place in options_of(), (page.name, words)
        options = {each.partition("=")[0] for each in words if re.match(r"--[a-z]", each)}
        assert options <= options_of()[place] | {"--help"}, (page.name, words)


def test_every_page_is_looked_at():
    """A page is either of these or has a test of its own."""
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {page.name for page in PAGES} | OWN.keys()
    assert Path(ROOT / "README.md") in PAGES
