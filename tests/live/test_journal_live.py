"""journald receives the kernel's records while auditsvc reads them, from it or beside it."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from fixtures.journald import AbsentError, running
from fixtures.logs import recorded
from fixtures.repeats import times
from fixtures.waiting import until
from live.auditd import AUDITCTL
from live.programs import finished, fresh_auid, rules
from live.recorded import send, workload
from live.service import Service, cli
from live.test_takeover import load

pytestmark = pytest.mark.live

PAUSE = 1_000_000
"""Nanoseconds between two calls of a load."""

VIEWS = ("syscalls", "paths", "sockaddrs", "records")


def contents(service, auid):
    """All rows of one auid's calls, by view; named by serial, for ids are a store's own."""
    result = {}
    for view in VIEWS:
        rows = service.query(
            f"SELECT v.*, s.serial AS event FROM {view} v JOIN syscalls s USING (event_id)"
            f" WHERE s.auid = {auid}"
        )
        # A record's place in its event is the order of arrival.
        result[view] = sorted(
            repr(recorded(view, row) | {"event_id": row["event"], "seq": 0}) for row in rows
        )
    return result


def messages(service):
    """Rows of what programs sent themselves."""
    rows = service.query(
        "SELECT host, time, serial, type, pid, uid, auid, ses, fields FROM events"
        " WHERE type LIKE 'USER%' OR type = 'TEST' OR type LIKE 'UNKNOWN%' OR type LIKE 'ANOM%'"
        " ORDER BY serial, time"
    )
    return [repr(row) for row in rows]


def reader(folder, store):
    """Give something that asks another store of the same folder."""
    return Service(folder, "", store=f"sqlite:///{folder}/{store}.db")


class Listening:
    """The kernel's records of one login uid are made while this lasts."""

    def __init__(self, control, auid):
        self._control = control
        self._rule = ["exit,always", "-S", "all", "-F", f"auid={auid}", "-k", "live"]

    def __enter__(self):
        subprocess.run([AUDITCTL, "-a", *self._rule], check=True)
        self._control.set(enabled=1)

    def __exit__(self, *_):
        subprocess.run([AUDITCTL, "-d", *self._rule], check=True)
        self._control.set(enabled=0)


@pytest.mark.usefixtures("audit_lock")
def test_beside_the_daemon_s_own_log_each_event_is_stored_once(
    auditing_journald, programs, tmp_path
):
    """The journal and the log of the same events, in both orders: the rows of the log alone."""
    auid = fresh_auid()
    with Service(tmp_path, rules(auid)) as service:
        workload(programs, auid, tmp_path)
        programs.finish(auid)
        until(lambda: finished(service.spooled(), auid))
    auditing_journald.sync()
    journal = tmp_path / "journal"
    shutil.copytree(auditing_journald.directory, journal)
    spool = sorted(map(str, (tmp_path / "state/spool").glob("*.log")))
    assert spool
    words = {"log": spool, "journal": ["--journal", "--directory", str(journal)]}
    alone, said = contents(service, auid), messages(service)
    assert min(len(rows) for rows in alone.values()) > 5
    assert len(said) > 10
    for order in (("log", "journal"), ("journal", "log")):
        both = reader(tmp_path, "-".join(order))
        for each in order:
            cli("ingest", *words[each], "--store", both.store, environment=both.environment)
        assert contents(both, auid) == alone
        assert messages(both) == said
        counts = both.ledger()
        assert counts["duplicate"] > 500
        known = counts["stored"] + counts["end"] + counts["duplicate"]
        assert counts["received"] == known + counts.get("open", 0)  # what the log ends in
        assert counts["raw"] == 0


@pytest.mark.usefixtures("audit_lock")
def test_the_journal_alone_lacks_what_journald_drops_and_nothing_else(
    auditing_journald, programs, tmp_path
):
    """Rows of the journal are those of the log, but for the records of type LOGIN."""
    auid = fresh_auid()
    with Service(tmp_path, rules(auid)) as service:
        workload(programs, auid, tmp_path)
        programs.finish(auid)
        until(lambda: finished(service.spooled(), auid))
    auditing_journald.sync()
    other = reader(tmp_path, "journal")
    words = ("--journal", "--directory", str(auditing_journald.directory))
    cli("ingest", *words, "--store", other.store, environment=other.environment)
    ours, theirs = contents(other, auid), contents(service, auid)
    theirs["records"] = [row for row in theirs["records"] if "'LOGIN'" not in row]
    assert ours == theirs
    assert messages(other) == messages(service)
    states = other.query("SELECT state, count(*) AS n FROM syscalls GROUP BY state")
    assert {row["state"] for row in states} <= {"complete", "no_exit"}


def netlink_sockets():
    """The kernel's table of them, with what each dropped."""
    return Path("/proc/net/netlink").read_text()


def follow(journald, folder):
    """Make a service that follows the journal, started inside."""
    service = Service(folder, "", source="journal")
    service.command = [*journald.prefix, *service.command]
    return service


def is_stored(folder, number):
    """Whether the message of this number is a row."""
    asked = "SELECT count(*) FROM events WHERE type = 'USER_LOGIN' AND fields LIKE ?"
    with contextlib.closing(sqlite3.connect(folder / "auditsvc.db", timeout=60)) as connection:
        (found,) = connection.execute(asked, [f'%"number":"{number}"%']).fetchone()
        return found == 1


def test_followed_live(auditing_journald, audit_changes, tmp_path):
    """A record is a row within a second, through a restart and a rotation of journald too."""
    auid = fresh_auid()
    service = follow(auditing_journald, tmp_path)
    waits = []
    with Listening(audit_changes, auid), service:

        def follows(number):
            began = time.monotonic()
            send(1112, b"op=live number=%d" % number)
            until(lambda: is_stored(tmp_path, number), told=service.log.read_text)
            waits.append(time.monotonic() - began)

        for number in range(12):
            follows(number)
            if number == 3:
                auditing_journald.rotate()
            if number == 6:
                auditing_journald.restart()
            if number == 9:
                auditing_journald.vacuum()
        until(lambda: min(waits) < 1 or follows(len(waits)))  # others may be busy: not each of them
    print(f"seconds from record to row: {[round(wait, 2) for wait in waits]}")
    rows = service.query("SELECT fields FROM events WHERE type = 'USER_LOGIN' ORDER BY serial")
    assert len(rows) == len(waits) >= 12
    counts = service.ledger()
    assert (counts["duplicate"], counts.get("segments_missing", 0)) == (0, 0)


@pytest.mark.parametrize("kills", times(2, 4))
def test_killed_while_it_follows(auditing_journald, audit_changes, programs, tmp_path, kills):
    """SIGKILL of a run that follows, again and again during a load: every event once in the end."""
    auid, choose, calls = fresh_auid(), random.Random(11), 0
    service = follow(auditing_journald, tmp_path)
    with Listening(audit_changes, auid):
        for _ in range(kills):
            service.begin()
            with load(programs, auid, PAUSE) as made:
                time.sleep(0.2 + choose.random() * 0.3)
                service.stop(signal.SIGKILL)
            calls += made.calls
            auditing_journald.rotate()
    auditing_journald.sync()
    whole = reader(tmp_path, "whole")
    words = ("--journal", "--directory", str(auditing_journald.directory))
    cli("ingest", *words, "--store", whole.store, environment=whole.environment)
    with service:
        until(lambda: service.ledger()["received"] == whole.ledger()["received"])
    stored = contents(service, auid)
    assert stored == contents(whole, auid)
    assert sum("'getppid'" in row for row in stored["syscalls"]) == calls > 0
    ours, theirs = service.ledger(), whole.ledger()
    assert ours["duplicate"] == 0
    assert ours["received"] == theirs["received"]


def test_what_journald_had_no_room_for_is_a_gap(audit_changes, programs, tmp_path):
    """Journald's socket overflows: the serials of the calls that it missed are counted."""
    auid, calls = fresh_auid(), 20_000
    try:
        with running(audit="keep", buffer=1 << 20) as journald:
            with Listening(audit_changes, auid):
                programs.run(auid, programs["burst"], "100")
                journald.sync()
                journald.stop()
                programs.run(auid, programs["burst"], str(calls))
                until(lambda: audit_changes.status().backlog == 0)  # all were sent
                journald.cont()
                with follow(journald, tmp_path) as follower:
                    missed = "because journald's audit socket"
                    until(
                        lambda: missed in follower.log.read_text(),
                        told=lambda: follower.log.read_text() + netlink_sockets(),
                    )
                # One overflow, and no journald takes a record from that socket any more.
                journald.remove()
                journald.start()
                programs.run(auid, programs["burst"], "100")
                until(lambda: audit_changes.status().backlog == 0)
            journald.sync()
            service = reader(tmp_path, "store")
            words = ("--journal", "--directory", str(journald.directory))
            cli("ingest", *words, "--store", service.store, environment=service.environment)
    except AbsentError as reason:
        pytest.skip(str(reason))
    query = f"SELECT count(*) AS n FROM syscalls WHERE syscall = 'getppid' AND auid = {auid}"
    stored = service.query(query)[0]["n"]
    gap = service.ledger()["gap"]
    print(f"{calls + 200} calls, {stored} rows, {gap} serials not seen")
    assert 200 <= stored < calls
    assert gap >= calls + 200 - stored


def test_without_a_journal_it_says_so(tmp_path):
    """`run --source journal` where journald keeps none: one line, status 1."""
    service = Service(tmp_path, "", source="journal")
    empty = 'for d in /run/log /var/log; do [ ! -d $d ] || mount -t tmpfs none $d; done; exec "$@"'
    service.command = ["unshare", "--mount", "sh", "-c", empty, "sh", *service.command]
    done = subprocess.run(
        service.command, env=service.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "there is no journal in" in done.stderr
    assert done.stderr.count("\n") == 1
