"""Check: every kind of damage is found, and told in one line."""

from __future__ import annotations

import os

import pytest
from fixtures import commands
from fixtures.filled import filled_store, from_outside, log, problems, url_of
from fixtures.logs import load

from auditsvc.store.check import check


@pytest.fixture
def path(tmp_path):
    """Give the path of a store with 300 events."""
    return filled_store(tmp_path)


def test_a_whole_store_passes_every_check(url):
    """On both databases."""
    load(url, log())
    found = list(check(url))
    assert {outcome.problem for outcome in found} == {""}
    assert {"ledger", "activity"} < {outcome.what for outcome in found}


@pytest.mark.parametrize(
    ("statement", "what", "says"),
    [
        ("DELETE FROM context WHERE id = (SELECT min(context) FROM syscall)", "syscall", "context"),
        ("DELETE FROM file WHERE id = (SELECT min(file) FROM path)", "path", "1 row"),
        ("DELETE FROM text WHERE id = (SELECT min(fields) FROM event)", "event", "fields"),
        ("DELETE FROM text WHERE id = (SELECT min(exe) FROM context)", "context", "exe"),
        ("DELETE FROM text WHERE id = (SELECT min(name) FROM file)", "file", "1 row"),
        ("DELETE FROM host", "event", "host"),
        ("UPDATE ledger_entry SET count = count + 1 WHERE cause = 'stored'", "ledger", "received"),
        ("DELETE FROM syscall WHERE id = (SELECT min(id) FROM syscall)", "activity", "stored"),
    ],
)
def test_rows_that_are_missing_are_found(url, statement, what, says):
    """A dimension without its row, a ledger that does not add up, sums that are not right."""
    load(url, log())
    from_outside(url, statement)
    found = problems(url)
    assert any(name.startswith((what, f"references of {what}")) for name in found), found
    assert says in "; ".join(found.values())


@pytest.mark.parametrize("verb", [("check",), ("query", "SELECT 1"), ("migrate",), ("status",)])
@pytest.mark.parametrize("where", [b" VIEW story", b"SELECT event_id", b" AS object2"])
def test_a_damaged_schema_is_one_line(path, where, verb):
    """SQLite's own message has the damaged bytes then, and Python cannot decode it."""
    content = path.read_bytes()
    at = content.index(where, content.index(b"CREATE VIEW story")) + 2
    path.write_bytes(content[:at] + b"\xdb\xdc \xff" + content[at + 4 :])
    done = commands.run(*verb, "--store", url_of(path), text=True)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    if verb != ("status",):  # which tells it among other things
        assert "docs/backup.md" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("change", [b"lo\xffged-in", b"forged-in"], ids=["damaged", "forged"])
def test_a_word_in_a_view_that_is_another_is_found(path, change):
    """It is SQL still, and would say something else of each event; neither names the whole view."""
    content = path.read_bytes()
    at = content.index(b"'logged-in'", content.index(b"CREATE VIEW story")) + 1
    path.write_bytes(content[:at] + change + content[at + len(change) :])
    for verb in (("check", "--format", "table"), ("migrate",)):
        done = commands.run(*verb, "--store", url_of(path), text=True)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert len(done.stdout + done.stderr) < 3000
        assert "story" in done.stdout + done.stderr or "damaged" in done.stdout + done.stderr


@pytest.mark.parametrize("where", [0.2, 0.4, 0.6, 0.8])
def test_damaged_pages_are_found(path, where):
    """Wherever bytes of the file were changed; the command ends with status 1 and a hint."""
    content = bytearray(path.read_bytes())
    at = int(len(content) * where) & ~2047
    content[at : at + 2048] = os.urandom(2048)
    path.write_bytes(content)
    done = commands.run("check", "--store", url_of(path), "--format", "json", text=True)
    assert done.returncode == 1
    assert "docs/backup.md" in done.stderr
    assert done.stderr.count("\n") == 1
