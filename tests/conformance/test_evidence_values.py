"""What no program writes into a store is told by `verify` as a finding, and ends nothing else."""

from __future__ import annotations

import shutil
from functools import cache

import pytest
from fixtures import commands
from fixtures.collected import fill, load, verify
from fixtures.evidence import Run
from fixtures.store_changes import change, copied, rename, settled

pytestmark = pytest.mark.usefixtures("unsynced")

ARCHIVE = "INSERT INTO store_info (name, value) VALUES ('archive', '{}')"
TEXTS = {
    "the key is not hexadecimal": "UPDATE store_info SET value = 'x' || value",
    "the key is short": "UPDATE store_info SET value = 'ab' WHERE name = 'secret'",
    "the key is long": f"UPDATE store_info SET value = '{'ab' * 3000}' WHERE name = 'secret'",
    "the key is gone": "DELETE FROM store_info WHERE name = 'secret'",
    "the archive's state is cut": ARCHIVE.format("{"),
    "the archive's state is of another kind": ARCHIVE.format("[1]"),
    "the archive's state is nested": ARCHIVE.format("[" * 100_000),
    "the archive's state has other fields": ARCHIVE.format('{"other" : 1}'),
    "the archive's state has a text as a number": ARCHIVE.format('{"n" : "x"}'),
    "the archive's state has thousands of digits": ARCHIVE.format('{"n" : ' + "9" * 5000 + "}"),
    "the segment has thousands of digits": f"UPDATE source SET segment = '{'9' * 5000}'",
    "an hour is none": f"UPDATE activity_part SET hour = {1 << 62}",
    "a moment is none": f"UPDATE process_sign SET at = {(1 << 63) - 1} WHERE low ="
    " (SELECT min(low) FROM process_sign)",
}
OF_SQLITE = {
    "the position is a text": "UPDATE source SET position = 'x'",
    "what is open is a number": "UPDATE source SET pending = 1 << 60",
    "a count is a text": "UPDATE ledger_entry SET count = 'x'",
    "a pruned day has a text": "INSERT INTO pruned_day VALUES (1, 'x', 0, 0)",
    "a range is of texts": "INSERT INTO origin VALUES (5, 'x', NULL)",
    "the source of a range is a text": "INSERT INTO origin VALUES (5, 6, 'x')",
    "an hour is a text": "UPDATE activity_part SET hour = 'x'",
    "calls are without an end": "UPDATE activity_part SET calls = 9e999",
    "a sign's moment is a text": "UPDATE process_sign SET at = 'x' WHERE kind = 2",
    "a text is bytes": "UPDATE text SET value = x'00ff'",
    "a reference is bytes": "UPDATE context SET exe = x'00ff'",
    "milliseconds are without an end": "UPDATE syscall SET ms = 9e999",
}
EACH = [
    *(("sqlite", what) for what in (*TEXTS, *OF_SQLITE)),
    *(pytest.param("postgres", what, marks=pytest.mark.postgres) for what in TEXTS),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Make a signed spool once."""
    folder = tmp_path_factory.mktemp("spool")
    run = Run(folder, segment_bytes=4096)
    fill(run, range(1), 2)
    run.end()
    return folder


@pytest.fixture
def spool(model, tmp_path):
    """Give a signed spool."""
    return shutil.copytree(model, tmp_path / "spool")


@pytest.fixture(scope="module")
def loaded(model, store_of_kind):
    """Give a function that loads the spool into a store of each kind once."""

    @cache
    def of_kind(kind):
        url = store_of_kind(kind)
        load(url, model)
        return settled(url)

    return of_kind


@pytest.mark.parametrize(("kind", "what"), EACH)
def test_a_value_that_no_program_writes_is_a_finding(request, spool, loaded, kind, what):
    """And no traceback."""
    statement = (TEXTS | OF_SQLITE)[what]
    with copied(request, loaded(kind), spool.parent) as url:
        rename(url, spool)
        assert verify(url, spool).findings == []
        assert change(url, statement)
        report = verify(url, spool)
        assert {each.kind for each in report.findings} == {"store"}
        assert all(len(each.what) < 500 for each in report.findings)


@pytest.mark.one_database
def test_the_command_says_it_and_fails(spool, loaded, tmp_path):
    """As it says any other finding; the key itself stands in no message."""
    shutil.copy(loaded("sqlite").removeprefix("sqlite:///"), tmp_path / "copy.db")
    url = f"sqlite:///{tmp_path}/copy.db"
    rename(url, spool)
    change(url, "UPDATE store_info SET value = 'secretly' WHERE name = 'secret'")
    done = commands.run("verify", "--store", url, "--spool", str(spool), text=True)
    assert done.returncode == 1
    assert "store_info.value of secret" in done.stdout + done.stderr
    assert not {"secretly", "Traceback"} & {*(done.stdout + done.stderr).split()}
