"""Alerts: when they begin and end (without I/O), and what becomes of those that are not sent."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, replace

import pytest
import structlog
from fixtures.alerts import MESSAGE
from fixtures.waiting import until

from auditsvc.alert import watch as watching
from auditsvc.alert.sender import MOST, Sender
from auditsvc.alert.transitions import Facts, Transitions
from auditsvc.alert.watch import AlertWatch
from auditsvc.config import load_settings
from auditsvc.errors import AlertError
from auditsvc.runtime.active_alerts import NAME, UNSENT, unsent_alerts

WELL = Facts()

# (at, facts) of each step, and what is told: "+cause" begins, "-cause" is over. quiet is 10,
# store_away 5.
TABLE = {
    "nothing": [(0, WELL, ""), (100, WELL, "")],
    "a counter": [
        (0, Facts(lost=3), "+lost"),
        (1, Facts(lost=3), ""),
        (9, Facts(lost=3), ""),
        (10, Facts(lost=3), "-lost"),
        (20, Facts(lost=3), ""),
    ],
    "a counter that grows on": [
        (0, Facts(lost=1), "+lost"),
        (9, Facts(lost=2), ""),
        (18, Facts(lost=3), ""),
        (28, Facts(lost=3), "-lost"),
        (29, Facts(lost=4), "+lost"),
    ],
    "a counter that falls": [
        (0, Facts(gaps=5), "+gap"),
        (1, Facts(gaps=2), ""),
        (10, Facts(gaps=2), "-gap"),
    ],
    "a state": [
        (0, Facts(space="76 %"), "+space"),
        (100, Facts(space="80 %"), ""),
        (101, WELL, ""),
        (110, WELL, "-space"),
    ],
    "a state that flaps": [
        (0, Facts(coverage="x"), "+coverage"),
        (5, WELL, ""),
        (9, Facts(coverage="x"), ""),
        (15, WELL, ""),
        (18, Facts(coverage="x"), ""),
        (28, WELL, "-coverage"),
    ],
    "a store away for a moment": [
        (0, Facts(store="no answer"), ""),
        (4, Facts(store="no answer"), ""),
        (5, WELL, ""),
        (6, Facts(store="no answer"), ""),
        (10, Facts(store="no answer"), ""),
    ],
    "a store away for long": [
        (0, Facts(store="no answer"), ""),
        (5, Facts(store="no answer"), "+store"),
        (50, Facts(store="another word"), ""),
        (51, WELL, ""),
        (60, WELL, "-store"),
    ],
    "several": [
        (0, Facts(tamper=1, verify="failed"), "+tamper +verify"),
        (10, Facts(tamper=1, verify="failed"), "-tamper"),
        (20, Facts(tamper=1, verify=""), "-verify"),
    ],
    "a crash, then a stall": [
        (0, Facts(crashes=1), "+watchdog"),
        (10, Facts(crashes=1), "-watchdog"),
        (11, Facts(crashes=1, stalls=1), "+watchdog"),
        (12, Facts(crashes=1, stalls=1, watchdog="stands"), ""),
        (22, Facts(crashes=1, stalls=1), "-watchdog"),
    ],
}


@pytest.mark.parametrize("name", TABLE)
def test_one_message_when_it_begins_and_one_when_it_is_over(name):
    """Whatever the facts do in between."""
    transitions = Transitions(quiet=10, store_away=5)
    for at, facts, told in TABLE[name]:
        changes = transitions.step(at, facts)
        assert " ".join(f"{'+' if c.begins else '-'}{c.cause}" for c in changes) == told, at
        assert all(change.text for change in changes)


def test_a_restart_tells_nothing_twice_and_forgets_no_end(tmp_path):
    """What an earlier run has told goes on, and is over when its cause is gone."""
    settings = load_settings(runtime_directory=tmp_path, alert={"quiet": 10})
    first = AlertWatch(settings, crashes=0)
    first.note(Facts(space="96 %"))
    first.look(100)
    again = AlertWatch(settings, crashes=0)
    told = []
    again._tell = told.append
    again.note(Facts(space="97 %"))
    again.look(5)
    assert told == []
    again.note(WELL)
    again.look(15)
    assert [(change.cause, change.begins) for change in told] == [("space", False)]


def test_a_main_thread_that_stands_still_is_told(tmp_path, monkeypatch):
    """By another thread while it does, and after the whole process stood still."""
    settings = load_settings(runtime_directory=tmp_path)
    watch, told = AlertWatch(settings, crashes=0), []
    watch._tell = told.append
    watch.note(WELL)
    now = time.monotonic()
    watch.look(now + 1)
    assert told == []
    watch.look(now + watching.STALLED_SECONDS + 1)
    assert [change.cause for change in told] == ["watchdog"]
    stopped, told = AlertWatch(settings, crashes=0), []
    stopped._tell, stopped._transitions.active = told.append, {}
    stopped.note(WELL)
    monkeypatch.setattr(watching.time, "monotonic", lambda: now + 1000)
    stopped.note(WELL)
    stopped.look(now + 1000)
    assert [change.text for change in told] == ["the service stood still"]


def test_only_the_wanted_causes_are_sent(tmp_path):
    """`alert.on` chooses."""
    watch = AlertWatch(load_settings(runtime_directory=tmp_path, alert={"on": ["gap"]}), crashes=0)
    sent = []
    watch._sender.offer = sent.append
    watch.note(Facts(lost=1, gaps=1))
    watch.look(1.0)
    assert [message.cause for message in sent] == ["gap"]


def test_nobody_waits_for_a_channel_that_hangs():
    """Messages above a number are given up, the oldest first, and counted."""
    go, sent = threading.Event(), []

    def hang(message):
        go.wait(60)
        sent.append(message.at)

    sender = Sender([hang])
    sender.start()
    sender.offer(replace(MESSAGE, at=0.0))
    until(lambda: not sender._waiting)  # it hangs with the first one
    for n in range(1, MOST + 4):
        sender.offer(replace(MESSAGE, at=float(n)))
    assert (len(sender._waiting), sender.given_up) == (MOST, 3)
    go.set()
    sender.finish(60)
    assert sent == [0.0, *map(float, range(4, MOST + 4))]


def test_no_alert_is_lost_without_a_word():
    """What no channel took, what was given up, and what waits at the end is in the log."""
    go, begun = threading.Event(), threading.Event()

    def hang(_):
        begun.set()
        go.wait(60)
        raise AlertError("alert: no answer")

    sender = Sender([hang], pause=0)
    with structlog.testing.capture_logs() as logged:
        sender.start()
        for n in range(MOST + 2):
            sender.offer(replace(MESSAGE, text=str(n)))
            begun.wait(60)  # it hangs with the first one
        sender.finish(0)
        told = [(each["alert"].rsplit(" ", 1)[1], each["why"]) for each in logged]
        rest = [(str(n), "the service has ended") for n in (0, *range(2, MOST + 2))]
        assert told == [("1", "too many wait for a channel"), *rest]
        logged.clear()
        go.set()
        sender.join(60)
    assert (logged[0]["alert"], logged[0]["why"]) == (
        "auditsvc on höst: lost begin: 0",
        "alert: no answer",
    )


def test_the_next_run_sends_what_this_one_did_not(tmp_path, monkeypatch):
    """Also if this one was killed: what waits is in the runtime directory."""
    go, sent = threading.Event(), []

    def send(message):
        go.wait(60)
        sent.append((message.cause, message.state, message.text))

    monkeypatch.setattr(watching, "channels", lambda _: [send])
    settings = load_settings(runtime_directory=tmp_path)
    killed = AlertWatch(settings, crashes=0)
    killed.note(Facts(space="96 %", lost=3))
    killed.start()
    until(lambda: len(unsent_alerts(tmp_path)) == 2)
    go.set()
    again = AlertWatch(settings, crashes=0)
    killed.finish()
    del sent[:]
    (tmp_path / UNSENT).write_text(json.dumps([asdict(MESSAGE), {"cause": 1}, 5]))
    again.start()
    until(lambda: sent)
    assert sent == [(MESSAGE.cause, MESSAGE.state, MESSAGE.text)]
    until(lambda: not unsent_alerts(tmp_path))
    again.finish()
    assert len(sent) == 1


@pytest.mark.parametrize("text", ["", "[" * 200_000, "5", '{"a": 1}', '[{"at": 1}]', "\0"])
def test_what_we_did_not_write_is_no_alert(tmp_path, text):
    """Whatever stands in the files of the runtime directory, the service begins."""
    for name in (NAME, UNSENT):
        (tmp_path / name).write_text(text)
    watch = AlertWatch(load_settings(runtime_directory=tmp_path), crashes=0)
    watch.start()
    watch.finish()
    assert not watch.is_alive()


def test_a_channel_that_fails_is_tried_again_and_does_not_hinder_others():
    """The error is there until a message was sent."""
    tries, sent = [], []

    def fail(_):
        tries.append(1)
        if len(tries) < 5:
            raise AlertError("alert: no")

    sender = Sender([fail, sent.append], pause=0)
    sender.start()
    sender.offer(MESSAGE)
    until(lambda: sender.problem)
    assert (len(tries), sent) == (3, [MESSAGE])
    sender.offer(MESSAGE)
    until(lambda: len(sent) == 2 and not sender.problem)
    assert len(tries) == 5
    sender.finish(60)


def test_who_ends_it_does_not_wait_for_ever(tmp_path):
    """A watch that never started, and one that did."""
    settings = load_settings(runtime_directory=tmp_path)
    AlertWatch(settings, crashes=0).finish()
    watch = AlertWatch(settings, crashes=1)
    watch.note(WELL)
    watch.start()
    watch.finish()
    assert not watch.is_alive()
    assert json.loads((tmp_path / "alerts.json").read_text()).keys() == {"watchdog"}
    assert (tmp_path / "alerts.json").stat().st_mode & 0o777 == 0o600
