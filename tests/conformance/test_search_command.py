"""The command `auditsvc search`: its exit statuses, errors, logs as input, and its pager."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
from fixtures.commands import run
from fixtures.logs import load

LOG = Path(__file__).parent.parent / "data/mixed.log"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Give a store with a recorded log."""
    url = f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db"
    load(url, LOG.read_bytes())
    return url


@pytest.mark.parametrize(
    ("words", "status", "out", "error"),
    [
        (["-k", "files", "--just-one", "-r"], 0, "type=SYSCALL", ""),
        (["-k", "nosuch"], 1, "", "<no matches>"),
        (["-k", "nosuch", "-r"], 1, "", ""),
        (["-k", "nosuch", "--format", "json"], 1, "", "<no matches>"),
        (["-sv", "maybe"], 1, "", "auditsvc: -sv maybe: neither yes nor no"),
        (["--no-such-option"], 1, "", "auditsvc: No such option: --no-such-option"),
        (["-k"], 1, "", "auditsvc: Option '-k' requires an argument"),
        ([], 1, "", "Usage: auditsvc search"),
        (["-k", "files", "--extra-keys"], 1, "", "auditsvc: --extra-... adds columns to CSV"),
        (["-k", "x", "--checkpoint", "x\udcff"], 1, "", "auditsvc: --checkpoint x\\xff: not UTF-8"),
        (
            ["-k", "x", "--checkpoint", "x", "--limit", "1"],
            1,
            "",
            "auditsvc: --checkpoint goes with",
        ),
        (["-k", "x", "--limit", "0"], 1, "", "auditsvc: Invalid value for '--limit'"),
        (["-k", "x", "--after", "x"], 1, "", "auditsvc: Invalid value for '--after'"),
        (["-k", "x", "-store", "x"], 1, "", "auditsvc: No such option"),
    ],
    ids=lambda value: ascii(" ".join(value)) if isinstance(value, list) else None,
)
def test_exit_statuses(url, words, status, out, error):
    """0: found; 1: nothing found, or an error, which is one line; without options the usage."""
    environment = os.environ | {"AUDITSVC_STORE": url}
    done = run("search", *words, environment=environment, text=True)
    assert done.returncode == status
    assert out in done.stdout
    assert bool(done.stdout) == bool(out)
    assert done.stderr.startswith(error)
    assert words == [] or done.stderr.count("\n") <= 1


@pytest.mark.parametrize("newest", [[], ["--newest"]], ids=["oldest", "newest"])
def test_page_by_page(url, newest):
    """Each page ends with the id that the next begins after; all of them are the whole search."""
    environment = os.environ | {"AUDITSVC_STORE": url}

    def page(*words):
        done = run("search", "-k", "files", "--format", "jsonl", *newest, *words,
                   environment=environment, text=True)  # fmt: skip
        return [json.loads(line)["event_id"] for line in done.stdout.splitlines()], done

    whole, _ = page()
    assert len(whole) == 162
    assert whole == sorted(whole, reverse=bool(newest))
    found, after = [], []
    for _ in range(4):
        ids, done = page("--limit", "50", *after)
        found += ids
        if len(ids) < 50:
            break
        assert done.stderr == f"auditsvc: the next page: --after {ids[-1]}\n"
        after = ["--after", str(ids[-1])]
    assert found == whole
    assert done.stderr == ""
    nothing, done = page("--after", str(whole[-1]))
    assert (nothing, done.returncode, done.stderr) == ([], 1, "<no matches>\n")
    nothing, done = page("--limit", str(1 << 63))  # more than a database takes
    assert (nothing, done.returncode) == ([], 1)
    assert "--limit': it must be less" in done.stderr
    explained = run("search", "-k", "files", "--explain", "--limit", "5", *newest, *after,
                    environment=environment, text=True).stdout  # fmt: skip
    asked = run("query", explained, "--format", "jsonl", environment=environment, text=True)
    ids = [json.loads(line)["event_id"] for line in asked.stdout.splitlines()]
    assert ids == whole[150:155]


def test_no_store(tmp_path):
    """A store that is not there is an error, and is not made."""
    done = run("search", "-k", "x", "--store", f"sqlite:///{tmp_path}/none.db", text=True)
    assert done.returncode == 1
    assert "there is no store" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_log_can_be_searched(tmp_path):
    """-if reads a log, or a folder of a log's files, compressed too, and leaves nothing."""
    lines = LOG.read_bytes().splitlines(keepends=True)
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "audit.log").write_bytes(b"".join(lines[300:]))
    (folder / "audit.log.1.gz").write_bytes(gzip.compress(b"".join(lines[:300])))
    environment = os.environ | {"TMPDIR": str(tmp_path), "AUDITSVC_STORE": "sqlite:////none"}
    for log in (LOG, folder):
        done = run(
            "search", "-if", log, "-k", "files", "--format", "jsonl", environment=environment
        )
        assert done.returncode == 0, done.stderr
        assert len([json.loads(line) for line in done.stdout.splitlines()]) == 162
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log"]
