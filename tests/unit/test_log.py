"""The service's own log: fields for the journal, never waiting, never a flood."""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress

import pytest
import structlog

from auditsvc.cli.log import Limit, configure_log
from auditsvc.forward.wire import fields
from auditsvc.host import journald as place


@pytest.fixture
def journald(monkeypatch, tmp_path):
    """Stand in for journald: give the socket that gets the entries; stderr is the journal's."""
    path = tmp_path / "socket"
    monkeypatch.setattr(place, "SOCKET", path)
    info = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{info.st_dev}:{info.st_ino}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.settimeout(60)
        configure_log()
        yield server
    structlog.reset_defaults()


def received(server):
    """Give the fields of the next entry."""
    pairs = (field.decode().partition("=") for field in fields(server.recv(1 << 16)))
    return {name: value for name, _, value in pairs}


def test_each_fact_is_a_field_of_the_journal(journald):
    """With the level as priority, and a text of others as one value, whatever is in it."""
    log = structlog.get_logger()
    log.error("unavailable", part="store", why="it is locked\nPRIORITY=0\x1b[2J")
    entry = received(journald)
    assert entry["PRIORITY"] == "3"
    assert entry["AUDITSVC_LOG_PART"] == "store"
    assert entry["AUDITSVC_LOG_WHY"] == "it is locked\nPRIORITY=0\x1b[2J"
    assert entry["AUDITSVC_LOG_EVENT"] == "unavailable"
    assert entry["MESSAGE"] == r"unavailable part=store why=it is locked\x0aPRIORITY=0\x1b[2J"
    assert entry["SYSLOG_IDENTIFIER"] == "auditsvc"
    log.info("ready", source="netlink", records=5)
    entry = received(journald)
    assert (entry["PRIORITY"], entry["AUDITSVC_LOG_RECORDS"]) == ("6", "5")


def test_nothing_waits_for_journald(journald, capfd):
    """If it reads nothing, what has no room goes to stderr; if it is away, everything does."""
    log = structlog.get_logger()
    for number in range(2000):
        log.warning(" ".join(("message", str(number))))
    lines = capfd.readouterr().err.splitlines()
    assert json.loads(lines[-1])["event"] == "message 1999"
    assert received(journald)["AUDITSVC_LOG_EVENT"] == "message 0"
    place.SOCKET.unlink()
    log.warning("away")
    assert json.loads(capfd.readouterr().err)["event"] == "away"


def test_nothing_waits_for_a_journald_that_takes_no_line_either(journald, monkeypatch):
    """Nor does its stream: entries are lost then, and that is said."""
    ours, theirs = socket.socketpair()
    with ours, theirs, open(ours.fileno(), "w", closefd=False) as stream:
        ours.setblocking(False)  # who waited for it would wait for ever
        monkeypatch.setattr(sys, "stderr", stream)
        log = structlog.get_logger()
        for number in range(5000):  # some MB, more than both hold
            log.warning(" ".join(("message", str(number))), why="x" * 3000)
        taken = 0
        journald.setblocking(False)
        with suppress(BlockingIOError):
            while received(journald):
                taken += 1
        log.warning("goes on")
        said = received(journald)
    assert said["AUDITSVC_LOG_EVENT"] == "goes on"
    assert 0 < int(said["AUDITSVC_LOG_ENTRIES_LOST"]) < 5000 - taken


def test_a_repeated_message_is_limited():
    """At most 30 a minute; the next one says how many were left out; others are not affected."""
    clock = [0.0]
    limit = Limit(lambda: clock[0])

    def written(event):
        try:
            return limit(None, "info", {"event": event})
        except structlog.DropEvent:
            return None

    assert sum(written("again") is not None for _ in range(100)) == 30
    assert written("other") == {"event": "other"}
    clock[0] = 59.0
    assert written("again") is None
    clock[0] = 60.0
    assert written("again") == {"event": "again", "not_written": 71}
    assert written("again") == {"event": "again"}


def test_elsewhere_it_is_a_json_line(monkeypatch, capsys):
    """JOURNAL_STREAM of another stream, which a child inherits, does not count."""
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    configure_log()
    structlog.get_logger().info("ready", source="x")
    structlog.reset_defaults()
    said = json.loads(capsys.readouterr().err)
    assert (said["event"], said["level"], said["source"]) == ("ready", "info", "x")
