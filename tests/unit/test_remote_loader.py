"""The loader's process, as `run` sees it: what it says is done, and its end is no end of a run."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest
from fixtures.waiting import until
from unit.test_loader_reports import STATE

from auditsvc.config import load_settings, settings_of
from auditsvc.config.sections import RetentionSettings
from auditsvc.errors import ForeignError
from auditsvc.service.exclusions import LOADER_KEY, Exclusions
from auditsvc.service.frames import Channel
from auditsvc.service.loader_child import Child
from auditsvc.service.loading import Before
from auditsvc.service.remote_loader import RemoteLoader
from auditsvc.service.remote_parts import Callbacks, RemoteSealing, RemoteUpkeep
from auditsvc.spool.segments import Place


class Played:
    """Loaders whose processes sleep, and say what the test says."""

    def __init__(self):
        self.ends = []
        self.heard = []
        self.opened, self.noted, self.ids, self.processes = [], [], [], []
        self.head = ""
        self.is_busy = False

    def start(self):
        """Make a process."""
        ours, theirs = socket.socketpair()
        process = subprocess.Popen(["sleep", "99"])
        self.ends.append(theirs)
        self.heard.append([])
        threading.Thread(target=self._hear, args=(Channel(theirs), self.heard[-1])).start()
        return Child(process.pid, Channel(ours), process)

    @staticmethod
    def _hear(channel, heard):
        for message in channel:
            heard.append(json.loads(message.content))

    def callbacks(self):
        """Give what takes notes of what they say."""
        return Callbacks(
            opened=lambda connection, backend: self.opened.append((connection, backend)),
            note=self.noted.append,
            ids=lambda kind, numbers: self.ids.append((kind, numbers)),
            processes=self.processes.extend,
            newest=lambda: self.head,
            busy=lambda: self.is_busy,
            arrived=threading.Event(),
            sees=True,
        )

    def say(self, **message):
        """Have the newest process say something."""
        content = json.dumps(message).encode()
        self.ends[-1].sendall(struct.pack(">I", len(content)) + content)

    def state(self, **values):
        """Have it tell its state."""
        self.say(**(STATE.model_dump() | values))

    def kinds(self):
        """Give the kinds of what the newest process was told."""
        return [each["kind"] for each in self.heard[-1]]


@pytest.fixture
def played():
    """Processes of a test."""
    made = Played()
    yield made
    for each in made.ends:
        each.close()


@pytest.fixture
def loader(played, monkeypatch):
    """A loader that has begun."""
    monkeypatch.setattr("auditsvc.service.remote_loader._AGAIN_FIRST", 0.05)
    before = Before(found={1: 10}, size=10, skip_to=Place(1, 5), from_now=True)
    made = RemoteLoader(
        load_settings(),
        played.start(),
        before,
        played.callbacks(),
        played.start,
    )
    made.start()
    yield made
    made.close(0.0)


def test_it_is_told_what_it_needs_and_news(played, loader):
    """Settings and the spool first; then heads, rates, and that there are lines."""
    until(lambda: "begin" in played.kinds())
    begin = played.heard[-1][0]
    assert settings_of(begin["settings"]) == load_settings()
    assert begin["before"] == {"found": {"1": 10}, "size": 10, "skip_to": [1, 5], "from_now": True}
    played.head, played.is_busy = "a head", True
    loader._callbacks.arrived.set()
    until(lambda: {"kind": "head", "head": "a head"} in played.heard[-1])
    until(lambda: {"kind": "busy", "on": True} in played.heard[-1])
    until(lambda: "arrived" in played.kinds())


def test_what_it_says_is_seen(played, loader):
    """Its state, ids, notes and opened stores."""
    played.say(kind="opened")
    until(lambda: "opened" in played.kinds())
    assert played.opened == [(None, 0)]
    played.say(kind="note", what="from-now")
    played.say(kind="seen", users=[7], groups=[8], processes=[[5, 4, None, 1]])
    played.say(
        kind="bound",
        facts={"identity": "ab", "schema": "1", "segment": 1, "position": 2, "ledger": {}},
    )
    played.state(store_error="away", retention="old")
    loader.await_store(60)
    assert loader.open
    assert (loader.committed, loader.gaps, loader.store_error) == (("3", 77), 1, "away")
    assert played.noted == ["from-now"]
    assert played.ids == [("user", {7}), ("group", {8})]
    assert [each.pid for each in played.processes] == [5]
    assert loader.bound["position"] == 2
    assert loader.problems == ("old", "", "")


@pytest.mark.parametrize("end", ["crash", "nonsense", "hang up", "descriptor"])
def test_another_one_is_started_after_its_end(played, loader, end):
    """However it ends: `status` says so, the next one is told anew, and counts go on."""
    played.state()
    until(lambda: loader.open)
    first = loader.pid
    if end == "crash":
        os.kill(first, signal.SIGSEGV)
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
        played.ends[-1].shutdown(socket.SHUT_RDWR)
    elif end == "nonsense":
        played.ends[-1].sendall(b"\0\0\0\3{}}")
    elif end == "descriptor":
        socket.send_fds(played.ends[-1], [b"\0\0\0\2{}"], [0])
    else:
        played.ends[-1].shutdown(socket.SHUT_RDWR)
    until(lambda: loader.watch() or len(played.ends) > 1)
    assert "the loader's process ended" in loader.store_error
    assert loader.committed == ("3", 77)
    assert loader.pid != first
    assert not played.heard[-1]  # it opens no store before it is excluded from auditing
    loader.release()
    until(lambda: "late" in played.kinds())
    assert played.heard[-1][0]["before"]["found"] is None  # the store has them
    played.state(gaps=2)
    until(lambda: not loader.store_error)
    assert loader.gaps == 3
    assert loader.losses == 1


def test_pauses_between_starts_grow(played, loader, monkeypatch):
    """Each is twice the one before, as long as none lives for a minute."""
    pauses = []
    monkeypatch.setattr(
        "auditsvc.service.remote_loader.log.error", lambda _, **facts: pauses.append(facts)
    )
    for count in range(1, 5):
        os.kill(loader.pid, signal.SIGKILL)
        played.ends[-1].shutdown(socket.SHUT_RDWR)
        until(lambda count=count: loader.watch() or loader.losses == count)
        until(lambda count=count: loader.watch() or len(played.ends) > count)
        loader.release()
    assert [each["again_in"] for each in pauses] == [0.05, 0.1, 0.2, 0.4]


def test_a_silent_process_is_killed(played, loader, monkeypatch):
    """It is asked for a sign of life by how often `watch` came round, not by the clock."""
    monkeypatch.setattr("auditsvc.service.remote_loader._STILL_TICKS", 3)
    monkeypatch.setattr("auditsvc.service.remote_loader._SOON", 0.1)  # our end stays open
    played.state()
    until(lambda: loader.open)
    pid = loader.pid
    for _ in range(5):
        loader.watch()
    until(lambda: loader.pid != pid)
    until(lambda: loader.watch() or "silent" in loader.store_error)


def test_one_that_stands_still_is_killed_and_the_next_one_is_not(played, loader):
    """A loader that does not come round, nor wait for its store: what the next one is told of."""
    played.state(quiet=61.0)
    until(lambda: loader.open)
    loader.watch()
    played.ends[-1].shutdown(socket.SHUT_RDWR)
    until(lambda: loader.watch() or len(played.ends) > 1)
    assert "stood still" in loader.store_error
    loader.release()
    for _ in range(10):
        loader.watch()
    assert loader.losses == 1
    assert loader.pid


def test_a_loader_that_writes_much_into_the_log_is_ended(played, loader):
    """Each note is a line of the evidence: there are not many."""
    for _ in range(101):
        played.say(kind="note", what="lost-rows")
    until(lambda: loader.watch() or loader.losses)
    assert "more notes" in loader.store_error
    assert len(played.noted) == 100


def test_a_foreign_store_is_the_end(played, loader):
    """What the loader means as its end ends the run, with its words."""
    played.say(kind="failed", name="ForeignError", what="another store", hint="restore it")
    with pytest.raises(ForeignError, match="another store; restore it"):
        loader.await_store(60)
    assert not loader.is_alive()


def test_the_rest_is_loaded_at_the_end(played, loader):
    """`finish` waits while rows come, and for the last word."""
    played.state()
    until(lambda: loader.open)
    waiting = threading.Thread(target=loader.finish, args=(60,))
    waiting.start()
    until(lambda: "finish" in played.kinds())
    played.state(ended=True, position=99)
    waiting.join(60)
    assert (loader.is_alive(), loader.committed) == (False, ("3", 99))


@pytest.mark.parametrize("longest", [0.1, 60])
def test_a_store_that_does_not_answer_at_the_end_is_said(played, loader, longest):
    """No rows for `patience` seconds: the run ends, and says why."""
    played.state()
    until(lambda: loader.open)
    loader.finish(0.1, longest)
    assert "has not answered for 0.1 s" in loader.store_error


def test_a_stopping_service_does_not_wait_for_all_that_is_in_the_spool(played, loader):
    """Rows come on and on: after `longest` seconds the process is told to leave the rest."""
    played.state()
    until(lambda: loader.open)
    waiting = threading.Thread(target=loader.finish, args=(60, 0.2))
    waiting.start()
    commits = 1
    while "leave" not in played.kinds():
        commits += 1
        played.state(commits=commits)
        time.sleep(0.01)
    played.state(commits=commits, ended=True, position=7)
    waiting.join(60)
    assert (loader.is_alive(), loader.committed) == (False, ("3", 7))
    assert not loader.store_error


def test_one_that_was_never_started_is_not_waited_for(played):
    """A run that is refused before it loads ends at once."""
    spare = played.start()
    made = RemoteLoader(load_settings(), spare, Before(), played.callbacks(), played.start)
    assert not made.is_alive()
    made.close()
    assert spare.started.poll() is not None


def test_an_end_that_nobody_asked_for_is_none(played, loader):
    """A process that says it is done is not believed before it was told to end."""
    played.state(ended=True)
    until(lambda: loader.open)
    assert loader.is_alive()


def test_seals_are_made_by_it(played, loader):
    """The answer of another one, or none, is not taken for it."""
    played.state()
    sealing = RemoteSealing(loader, 4)
    sealing.start()
    until(lambda: {"kind": "seal", "last": 4} in played.heard[-1])
    assert sealing.is_alive()
    played.say(kind="sealed", last=4, digest="ab", altered=["row"], problem="")
    until(lambda: not sealing.is_alive())
    assert (sealing.digest, sealing.altered, sealing.problem) == ("ab", ["row"], "")
    again = RemoteSealing(loader, 5)
    again.start()
    os.kill(loader.pid, signal.SIGKILL)
    played.ends[-1].shutdown(socket.SHUT_RDWR)
    until(lambda: loader.watch() or not again.is_alive())
    assert (again.digest, "ended" in again.problem) == ("", True)
    until(lambda: loader.watch() or not loader.pid)
    late = RemoteSealing(loader, 5)  # there is no process that could answer
    late.start()
    until(lambda: loader.watch() or not late.is_alive())
    assert "ended" in late.problem


def test_retention_can_change_while_it_runs(played, loader):
    """This process and the next one use what was set last."""
    upkeep = RemoteUpkeep(loader)
    upkeep.retention = RetentionSettings(keep="3d")
    until(lambda: "retention" in played.kinds())
    (told,) = [each for each in played.heard[-1] if each["kind"] == "retention"]
    assert settings_of(told["settings"]).retention.keep == "3d"
    os.kill(loader.pid, signal.SIGKILL)
    played.ends[-1].shutdown(socket.SHUT_RDWR)
    until(lambda: loader.watch() or len(played.ends) > 1)
    loader.release()
    until(lambda: "begin" in played.kinds())
    assert settings_of(played.heard[-1][0]["settings"]).retention.keep == "3d"


def test_rules_that_exclude_it_come_before_it_begins(played, loader):
    """And those of one that has ended go before its pid can be another's."""
    steps = []

    class Session:
        """A kernel that takes notes."""

        @staticmethod
        def set_rules(rules):
            assert all(each.rule.keys == (LOADER_KEY,) for each in rules)
            steps.append((len(rules), "begin" in played.kinds()))

    exclusions = Exclusions([], None)
    exclusions.set_loader(loader)
    exclusions.begin()
    played.state()
    os.kill(loader.pid, signal.SIGKILL)
    played.ends[-1].shutdown(socket.SHUT_RDWR)
    until(lambda: exclusions.watch(Session) and len(steps) > 1)
    until(lambda: "begin" in played.kinds())
    assert [count for count, _ in steps] == [0, 2]
    assert not steps[1][1]
