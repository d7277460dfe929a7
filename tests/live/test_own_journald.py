"""The journald that other tests rely on: what it takes, keeps and gives, and where."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fixtures.waiting import until
from live.auditd import AUDITCTL
from systemd.journal import Reader

SEND = "import sys; from systemd import journal; journal.send(sys.argv[1], X=b'a\\nb\\xff')"

SEND_MUCH = """
import os
from systemd import journal
for _ in range(300):
    journal.send("big", X=os.urandom(60000))
"""


def send(journal, text):
    """Send an entry from inside."""
    return journal.run([sys.executable, "-P", "-c", SEND, text], timeout=120)


def messages(journal):
    """What the messages sent by `send` are, oldest first."""
    journal.sync()
    return [entry["MESSAGE"] for entry in journal.journalctl("SYSLOG_IDENTIFIER=python")]


def test_what_is_sent_inside_is_read_back_inside_and_outside(journald):
    """An entry with bytes that are no text comes back whole, and is nowhere else."""
    send(journald, "hello")
    journald.sync()
    [entry] = journald.journalctl("MESSAGE=hello")
    assert entry["X"] == [97, 10, 98, 255]
    assert entry["_TRANSPORT"] == "journal"
    assert entry["_MACHINE_ID"] == journald.machine_id
    reader = Reader(path=str(journald.directory))
    reader.add_match(MESSAGE="hello")
    assert reader.get_next()["X"] == b"a\nb\xff"
    assert not Path("/var/log/journal", journald.machine_id).exists()
    assert Path("/etc/machine-id").read_text().strip() != journald.machine_id


def test_while_it_stands_still_what_is_sent_waits(journald):
    """SIGSTOP: the sockets take what is sent, and it is there after SIGCONT."""
    send(journald, "before")
    journald.stop()
    send(journald, "while")
    journald.cont()
    assert messages(journald) == ["before", "while"]


def test_killed_and_started_again_it_keeps_what_it_had(journald):
    """SIGKILL between two entries, one sent while it is down: all three are there."""
    send(journald, "before")
    journald.sync()
    journald.kill()
    send(journald, "while")
    journald.start()
    send(journald, "after")
    assert messages(journald) == ["before", "while", "after"]
    journald.restart()
    assert messages(journald) == ["before", "while", "after"]


def test_without_it_nothing_takes_an_entry(journald):
    """Removed, its socket is gone; started again it takes entries."""
    journald.remove()
    assert not (journald.root / "run/systemd/journal/socket").exists()
    journald.start()
    send(journald, "again")
    assert messages(journald) == ["again"]


def test_full_it_keeps_nothing_and_recovers(journald):
    """With its file system full a big entry is not kept; with room again the next one is."""
    ballast = journald.fill()
    journald.run([sys.executable, "-P", "-c", SEND_MUCH])
    journald.sync()
    kept = len(journald.journalctl("MESSAGE=big"))
    assert kept < 300
    ballast.unlink()
    journald.rotate()
    send(journald, "room")
    journald.sync()
    assert len(journald.journalctl("MESSAGE=room")) == 1


def test_records_of_the_kernel(auditing_journald, audit_changes):
    """With audit="keep" a record of the kernel is an entry; the kernel's switch stays."""
    before = audit_changes.status().enabled
    audit_changes.set(enabled=1)
    subprocess.run([AUDITCTL, "-m", "own journald"], check=True)

    def entries():
        auditing_journald.sync()
        return auditing_journald.journalctl("_TRANSPORT=audit", "_AUDIT_TYPE_NAME=USER")

    (entry,) = until(entries)  # what has left the kernel's queue may still be on its way
    assert "own journald" in entry["MESSAGE"]
    auditing_journald.restart()
    assert audit_changes.status().enabled == 1
    audit_changes.set(enabled=before)
