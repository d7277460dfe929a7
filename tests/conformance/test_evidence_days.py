"""Pruned days under what an administrator does: backups, moves, hosts that keep for other times.

With the real commands: nothing of it is an accusation, and what is altered then is found.
"""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest
from fixtures.commands import fed, run
from fixtures.logs import call, end, path
from fixtures.store_changes import change

pytestmark = pytest.mark.long

EACH = 40
"""Events of a day."""


class Host:
    """One host that reads records from its standard input."""

    def __init__(self, folder, name, url, keep=""):
        self.state, self.name, self.url, self.serial = folder / name, name, url, 1
        self.state.mkdir(mode=0o700)
        self.keep = {"AUDITSVC_RETENTION__KEEP": keep} if keep else {}

    @property
    def environment(self):
        """Its settings."""
        return (
            os.environ
            | self.keep
            | {
                "AUDITSVC_STORE": self.url,
                "AUDITSVC_HOST": self.name,
                "AUDITSVC_STATE_DIRECTORY": str(self.state),
                "AUDITSVC_RUNTIME_DIRECTORY": str(self.state / "run"),
                "AUDITSVC_EVIDENCE__JOURNAL": "false",
            }
        )

    def feed(self, *days):
        """Receive events of so many days ago, and load them."""
        text = ""
        for day in days:
            when = {"second": int(time.time()) - day * 86400}
            for serial in range(self.serial, self.serial + EACH):
                text += call(serial, **when) + path(serial, f"/{day}", **when) + end(serial, **when)
            self.serial += EACH
        done = fed(text, "run", "--source", "stdin", environment=self.environment)
        assert done.returncode == 0, done.stderr

    def do(self, *words):
        """Run a command that must end well."""
        done = run(*words, environment=self.environment, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pruned(self):
        """Give how many events retention deleted."""
        text = self.do("query", "SELECT sum(events) AS n FROM pruned", "--format", "jsonl")
        return json.loads(text)["n"] or 0

    def found(self):
        """Give what `verify` finds."""
        done = run("verify", "--format", "json", environment=self.environment, text=True)
        report = json.loads(done.stdout)
        assert done.returncode == (not report["proved"])
        return [each["what"] for each in report["findings"]]


def spoil(url, name):
    """Change the result of a host's last call."""
    change(
        url,
        "UPDATE syscall SET success = 0, exit = -13 WHERE id = (SELECT max(s.id) FROM syscall s"
        " JOIN context c ON c.id = s.context JOIN host h ON h.id = c.host"
        f" WHERE h.name = '{name}')",
    )


def test_a_backup_from_before_days_were_pruned(tmp_path):
    """It brings them back; they are pruned again."""
    host = Host(tmp_path, "one", f"sqlite:///{tmp_path}/store.db")
    host.feed(5, 4, 3, 2, 1)
    host.do("backup", tmp_path / "backup")
    host.keep = {"AUDITSVC_RETENTION__KEEP": "3d"}
    host.do("prune")
    assert (host.pruned(), host.found()) == (2 * EACH, [])
    host.do("restore", tmp_path / "backup", "--replace")
    assert (host.pruned(), host.found()) == (0, [])
    host.feed(0)
    assert host.found() == []
    host.do("prune")
    assert (host.pruned(), host.found()) == (2 * EACH, [])
    spoil(host.url, "one")
    assert host.found()


def test_a_store_that_is_moved(tmp_path):
    """Its days and what was noted of it go with it, as it has the same identity."""
    host = Host(tmp_path, "one", f"sqlite:///{tmp_path}/store.db", keep="3d")
    host.feed(5, 4, 3, 2, 1)
    host.do("prune")
    place = tmp_path / "elsewhere"
    place.mkdir(mode=0o700)
    for each in tmp_path.glob("store.db*"):
        shutil.move(each, place / each.name)
    host.url = f"sqlite:///{place}/store.db"
    assert host.found() == []
    host.feed(1)
    host.do("prune")
    assert (host.pruned(), host.found()) == (2 * EACH, [])
    spoil(host.url, "one")
    assert host.found()


@pytest.mark.postgres
def test_two_hosts_of_one_store_that_keep_for_other_times(empty_postgres_url, tmp_path):
    """The shorter one prunes both; late events of a pruned day may come behind."""
    one = Host(tmp_path, "one", empty_postgres_url, keep="3d")
    two = Host(tmp_path, "two", empty_postgres_url, keep="30d")
    for _ in range(2):
        for host in (one, two):
            host.feed(5, 4, 3, 2, 1)
    one.do("prune")
    assert one.pruned() == 2 * 2 * 2 * EACH
    assert one.found() == two.found() == []
    two.feed(5, 1)
    assert one.found() == two.found() == []
    spoil(empty_postgres_url, "two")
    assert any("has another success" in each for each in two.found())
    assert not any("has another success" in each for each in one.found())
