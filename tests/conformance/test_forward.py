"""Events in the journal: every field as in the store, each event once, also if journald fails."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from fixtures import commands
from fixtures.forwarding import AUDITSVC, Forwarding, entries, event_of
from fixtures.journald import AbsentError, running
from fixtures.logs import call, load, opening, record, rows
from fixtures.repeats import times
from fixtures.waiting import until

from auditsvc.store import open_store
from auditsvc.store.read.feed import Feed
from auditsvc.store.read.selection import Selection

DATA = Path(__file__).parents[1] / "data"
LISTS = ("paths", "sockaddrs", "records")
ALL = Selection(keyed=False, exclude_keys=(), types=("*",))


@pytest.fixture
def sqlite(tmp_path):
    """Give the URL of an SQLite store that is not there yet."""
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def forwarding(journald, sqlite, tmp_path):
    """Give a forwarder that the store knows."""
    load(sqlite, "")
    made = Forwarding(journald, sqlite, tmp_path)
    made.register()
    return made


def many(first, count, **options):
    """Give a log of openings with serials from `first` on."""
    return "".join(
        opening(serial, f"/tmp/file{serial}", **options) for serial in range(first, first + count)
    )


def stored(url):
    """Give the ids of all events in the store."""
    return sorted(
        row["event_id"]
        for view in ("syscalls", "events")
        for row in rows(url, f"SELECT event_id FROM {view}")
    )


def whole(url, ids):
    """Give events as the store has them."""
    with open_store(url) as store:
        return Feed(store, "test").fetch(ids)


def assert_equal(url, found):
    """Every event of the store is there once, and says the same in every field."""
    assert sorted(int(each["AUDITSVC_EVENT_ID"][0]) for each in found) == stored(url)
    ids = [int(each["AUDITSVC_EVENT_ID"][0]) for each in found]
    for entry, event in zip(found, whole(url, ids), strict=True):
        want = {name: getattr(event, name) for name in ("syscall", "event", *LISTS)}
        assert event_of(entry) == want


# --- what an entry says -------------------------------------------------------------------


def test_every_field_of_every_event(url, journald, tmp_path):
    """What was forwarded of every kind of record says what the store's rows say."""
    load(url, "")
    made = Forwarding(journald, url, tmp_path)
    made.register()
    logs = [DATA / "mixed.log", *sorted((DATA / "records").glob("*.log"))]
    for each in logs:
        load(url, each.read_bytes(), each.name)
    made.once()
    found = made.events()
    assert len(found) > 250
    assert_equal(url, found)


HOSTILE = (
    b"new\nline",
    b"nul\0byte",
    b"\xff\xfe not utf-8 \x80",
    b"\x1b[31mred\x07",
    "\u202egnp.exe".encode(),
    b"a=b\nMESSAGE=forged\nPRIORITY=0",
    bytes(range(256)),
    b"x" * 65536,
)


def test_hostile_bytes(forwarding):
    """Newlines, NUL, invalid UTF-8 and arguments of 64 kB forge nothing and are kept completely."""
    words = [f"a{place}={data.hex().upper()}" for place, data in enumerate(HOSTILE)]
    log = call(1, nr=59, comm=HOSTILE[1].hex().upper(), exe=HOSTILE[0].hex().upper())
    log += record("EXECVE", 1, f"argc={len(HOSTILE)} " + " ".join(words))
    log += record("CWD", 1, f"cwd={HOSTILE[2].hex().upper()}")
    log += "".join(
        record("PATH", 1, f"item={place} name={data.hex().upper()} inode=1 nametype=NORMAL")
        for place, data in enumerate(HOSTILE)
    )
    log += record("PROCTITLE", 1, f"proctitle={b'a'.hex()}00{b'b c'.hex()}")
    log += record("USER_CMD", 2, "pid=1 uid=0 msg='_x=1 1y=2 \u00e4=3 a-b=4 " + "n" * 90 + "=5'")
    load(forwarding.url, log)
    forwarding.once()
    found = forwarding.events()
    assert len(found) == 2
    assert_equal(forwarding.url, found)
    first, second = found
    assert len(first["MESSAGE"]) == 1
    assert first["MESSAGE"][0].decode().isprintable()
    assert first["PRIORITY"] == [b"6"]
    assert {len(each) for each in first["AUDIT_FIELD_ARGV"]} >= {65536}
    assert second["AUDIT_FIELD_A_B"] == [b"4"]
    assert second["AUDIT_FIELD__X"] == [b"1"]


def test_more_arguments_than_an_entry_has_fields(forwarding):
    """An exec with 3000 arguments is forwarded: all are in the JSON, some as fields."""
    words = [f"argument-{place}" for place in range(3000)]
    fields = " ".join(f'a{place}="{word}"' for place, word in enumerate(words))
    load(
        forwarding.url,
        call(1, nr=59) + record("EXECVE", 1, f"argc=3000 {fields}") + record("EOE", 1, ""),
    )
    forwarding.once()
    (found,) = forwarding.events()
    assert json.loads(found["AUDITSVC_ARGV"][0]) == words
    there = len(found["AUDIT_FIELD_ARGV"])
    assert 300 < there < 3000
    assert there + int(found["AUDITSVC_LEFT_OUT"][0]) >= 3000


def test_an_entry_too_large_for_a_datagram(journald):
    """An entry that the socket does not take is sent by libsystemd, in order and completely."""
    script = (
        "from auditsvc.forward import send, wire\n"
        "channel = send.Channel()\n"
        "head = [b'MESSAGE=x', b'SYSLOG_IDENTIFIER=auditsvc']\n"
        "for turn, size in enumerate((1, 12288, 1)):\n"
        "    body = [b'TURN=%d' % turn, b'BODY=' + bytes(range(256)) * size]\n"
        "    channel.send(wire.joined(head + body))\n"
    )
    journald.run([sys.executable, "-P", "-c", script])
    journald.sync()
    found = entries(journald)
    assert [each["TURN"] for each in found] == [[b"0"], [b"1"], [b"2"]]
    assert [len(each["BODY"][0]) // 256 for each in found] == [1, 12288, 1]
    assert found[1]["BODY"][0] == bytes(range(256)) * 12288


def test_entry_and_row_lead_to_each_other(forwarding):
    """`journalctl AUDITSVC_EVENT_ID=` finds the entry of a row, and its id finds the row."""
    load(forwarding.url, opening(5, "/etc/shadow", success="no", exit="-13"))
    forwarding.once()
    (row,) = rows(forwarding.url, "SELECT event_id, syscall, exit FROM syscalls")
    (entry,) = forwarding.journald.journalctl(f"AUDITSVC_EVENT_ID={row['event_id']}")
    assert entry["AUDIT_FIELD_SYSCALL"] == row["syscall"] == "open"
    assert entry["AUDIT_FIELD_EXIT"] == str(row["exit"]) == "-13"
    assert entry["AUDIT_FIELD_EXIT_NAME"] == "EACCES"
    assert entry["AUDIT_FIELD_NAME"] == "/etc/shadow"
    assert (entry["PRIORITY"], entry["SYSLOG_FACILITY"]) == ("4", "13")
    assert entry["MESSAGE"].endswith("cat[100] open /etc/shadow: EACCES")
    back = rows(
        forwarding.url,
        f"SELECT syscall FROM syscalls WHERE event_id = {entry['AUDITSVC_EVENT_ID']}",
    )
    assert back == [{"syscall": "open"}]


def test_journalctl_explains_an_entry(forwarding):
    """`journalctl -x` says below an entry what its kind means, with the entry's own values."""
    load(forwarding.url, opening(5, "/etc/shadow", success="no", exit="-13"))
    forwarding.once()
    catalogue = Path(__file__).parents[2] / "packaging/auditsvc.catalog"
    install = (
        "mount -t tmpfs none /usr/lib/systemd/catalog && cp $0 /usr/lib/systemd/catalog"
        " && mount -t tmpfs none /var/lib/systemd && mkdir /var/lib/systemd/catalog"
        " && journalctl --update-catalog"
    )
    inside = forwarding.journald
    inside.run(["sh", "-c", install, str(catalogue)])
    (row,) = rows(forwarding.url, "SELECT event_id FROM syscalls")
    words = ["journalctl", "-x", "--no-pager", f"AUDITSVC_EVENT_ID={row['event_id']}"]
    said = inside.run(words).stdout.decode()
    assert "Subject: A file was opened, changed or read" in said
    assert "The program /usr/bin/cat (process 100) called open on a file or folder." in said


# --- each event once ----------------------------------------------------------------------


def test_nothing_twice_and_in_order(forwarding):
    """Several runs send each event once, in the order in which they arrived."""
    load(forwarding.url, many(1, 700))
    forwarding.once()
    load(forwarding.url, many(2000, 10), "second")
    forwarding.once()
    forwarding.once()
    assert forwarding.ids() == stored(forwarding.url)


@pytest.mark.parametrize("kills", times(5, 50))
def test_killed_many_times(forwarding, kills):
    """A forwarder that is killed at random, again and again, loses and doubles nothing."""
    events = 5_000 + 400 * kills
    load(forwarding.url, many(1, events))
    driver = Path(__file__).parents[1] / "fixtures/forward_kills.py"
    done = forwarding.journald.run(
        [sys.executable, "-P", driver, str(kills)],
        env=forwarding.environment,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr.decode()
    killed, sending = map(int, done.stdout.split())
    assert killed == kills
    assert sending > kills * 3 // 5, "the kills did not come while it sent"
    assert len(forwarding.ids()) < events, "it was done before the last kill"
    forwarding.once()
    assert sorted(forwarding.ids()) == stored(forwarding.url)


def test_entries_of_others_do_not_count(forwarding):
    """Entries of other users do not make the forwarder skip an event."""
    load(forwarding.url, many(1, 3))
    (ours,) = {each["AUDITSVC_BATCH"][0].split(b".")[0] for each in entries(forwarding.journald)}
    forge = (
        "import sys; from systemd._journal import sendv\n"
        "for each in sys.argv[2:]: sendv('MESSAGE=x', 'SYSLOG_IDENTIFIER=auditsvc',"
        " 'AUDITSVC_BATCH=' + sys.argv[1] + '.0.0', 'AUDITSVC_EVENT_ID=' + each)"
    )
    forwarding.journald.run(
        [
            *("setpriv", "--reuid=65534", "--clear-groups", "--", "/usr/bin/python3", "-c"),
            *(_with_packages(forge), ours.decode(), *map(str, stored(forwarding.url))),
        ],
        cwd="/",
    )
    forwarding.journald.sync()
    assert len(forwarding.ids()) == 3, "the forgery itself did not work"
    forwarding.once()
    by_us = [e for e in forwarding.events() if e["_UID"] == [b"0"]]
    assert [int(e["AUDITSVC_EVENT_ID"][0]) for e in by_us] == stored(forwarding.url)


def _with_packages(script):
    import systemd  # noqa: PLC0415

    return f"import sys; sys.path.append({str(Path(systemd.__file__).parents[1])!r})\n{script}"


# --- whatever journald does ---------------------------------------------------------------


@pytest.fixture
def running_forwarder(forwarding, tmp_path):
    """Give a forwarder that runs, and its log; it is ended in good order."""
    path = tmp_path / "forward.log"
    with path.open("wb") as log:
        process = forwarding.start(log)
    yield forwarding, path
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0


def _all_there(forwarding):
    """Wait until every event is in the journal; each is there once."""
    want = stored(forwarding.url)
    until(lambda: len(forwarding.ids()) >= len(want))
    assert sorted(forwarding.ids()) == want


def test_journald_stands_still(running_forwarder):
    """While journald is stopped the forwarder waits and reports it; then each event comes once."""
    forwarding, log = running_forwarder
    load(forwarding.url, many(1, 100))
    until(lambda: len(forwarding.ids()) == 100)
    forwarding.journald.stop()
    load(forwarding.url, many(1000, 2000), "second")
    until(lambda: forwarding.state()["trouble"])
    assert "is unavailable" in log.read_text()
    assert "does not read" in forwarding.state()["trouble"]
    forwarding.journald.cont()
    _all_there(forwarding)
    until(lambda: not forwarding.state()["trouble"])


def test_a_stopped_journald_does_not_hinder_the_service(forwarding, tmp_path):
    """While journald is stopped `run` stores events, shows the forwarder's lag, and can end."""
    source = tmp_path / "audit.log"
    source.write_text(many(1, 100))
    settings = {"FORWARD__ENABLED": "true", "STATE_DIRECTORY": str(tmp_path), "FORWARD__DRAIN": "1"}
    service = forwarding.journald.popen(
        [AUDITSVC, "run", "--source", source],
        env=forwarding.environment
        | {f"AUDITSVC_{name}": value for name, value in settings.items()},
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: len(forwarding.ids()) == 100)
        forwarding.journald.stop()
        with source.open("a") as log:
            log.write(many(101, 5000))
        until(lambda: len(stored(forwarding.url)) == 5100)
        until(lambda: forwarding.state()["trouble"])
    finally:
        service.send_signal(signal.SIGTERM)
        ended = service.wait(120)
        forwarding.journald.cont()
    assert ended == 0
    assert forwarding.state() == {"trouble": ""}  # no forwarder was left behind
    forwarding.once()
    assert sorted(forwarding.ids()) == stored(forwarding.url)


def test_journald_is_killed_and_restarted(running_forwarder):
    """A journald that is killed three times while it receives entries loses and doubles none."""
    forwarding, _ = running_forwarder
    load(forwarding.url, many(1, 3000))
    for seed in range(3):
        before = len(forwarding.ids())
        until(lambda: len(forwarding.ids()) > before or before == 3000)  # noqa: B023 - at once
        forwarding.journald.kill(random.Random(seed).choice([signal.SIGKILL, signal.SIGTERM]))
        forwarding.journald.start()
    load(forwarding.url, many(9000, 500), "second")
    _all_there(forwarding)


def test_journald_is_absent(running_forwarder):
    """Without journald, for which libsystemd reports success, the position does not move."""
    forwarding, log = running_forwarder
    load(forwarding.url, many(1, 300))
    until(lambda: len(forwarding.ids()) == 300)
    forwarding.journald.remove()
    load(forwarding.url, many(1000, 300), "second")
    until(lambda: forwarding.state()["trouble"])
    assert "start systemd-journald" in forwarding.state()["trouble"]
    assert log.read_text().count("is unavailable") == 1
    forwarding.journald.start()
    _all_there(forwarding)


def test_a_full_journal(sqlite, tmp_path):
    """A full journal drops entries: they are sent again when there is room."""
    with _journald(size="24M") as journald:
        load(sqlite, "")
        made = Forwarding(journald, sqlite, tmp_path)
        made.register()
        with (tmp_path / "log").open("wb") as log:
            process = made.start(log)
        ballast = [journald.fill(), journald.fill("run")]  # where it goes when /var is full
        load(sqlite, many(1, 12_000))
        until(lambda: made.state()["trouble"])
        assert len(made.ids()) < 12_000
        for each in ballast:
            each.unlink()
        _all_there(made)
        process.terminate()
        assert process.wait(120) == 0


def test_a_rate_limit(sqlite, tmp_path):
    """What a rate limit drops is sent again until all is in the journal, and nothing twice."""
    # With this much room journald lets 2.75 times the burst pass (journald-rate-limit.c).
    limits = {"RateLimitIntervalSec": "1s", "RateLimitBurst": "200"}
    with _journald(**limits) as journald, _unit() as unit:
        load(sqlite, "")
        made = Forwarding(journald, sqlite, tmp_path)
        made.register()
        load(sqlite, many(1, 1400))
        # journald limits by unit, which it reads off the cgroup.
        join = ["sh", "-c", f'echo $$ > {unit}/cgroup.procs; exec "$@"', "sh"]
        done = journald.run(
            [*join, AUDITSVC, "forward", "--until-idle"], env=made.environment, timeout=500
        )
        assert b"sent again" in done.stderr
        assert sorted(made.ids()) == stored(sqlite)


@contextmanager
def _unit():
    """Give a cgroup that looks like a unit's."""
    roots = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
    root = next((each for each in roots if (each / "cgroup.procs").exists()), None)
    if root is None:
        pytest.skip("there is no cgroup of version 2 here")
    unit = root / f"auditsvc-test-{os.getpid()}.service"
    try:
        unit.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made: {error.strerror}")
    try:
        yield unit
    finally:
        unit.rmdir()


def _journald(**options):
    try:
        return running(**options)
    except AbsentError as reason:
        pytest.skip(str(reason))


# --- choosing -----------------------------------------------------------------------------


def test_default_filter(journald, sqlite, tmp_path):
    """By default calls with a key of their own are forwarded, and the log says so."""
    load(sqlite, "")
    keyed = {"AUDITSVC_FORWARD__KEYED": "true", "AUDITSVC_FORWARD__TYPES": "[]"}
    made = Forwarding(journald, sqlite, tmp_path, **keyed)
    made.register()
    log = opening(1) + opening(2, key='"all-syscalls"') + opening(3, key="(null)")
    load(sqlite, log + record("USER_LOGIN", 4, "pid=1 msg='res=success'"))
    said = made.once()
    assert "calls with a rule key other than all-syscalls" in said
    (entry,) = made.events()
    assert entry["AUDITSVC_SERIAL"] == [b"1"]
    assert entry["AUDIT_FIELD_KEY"] == [b"files"]


def test_dry_run(sqlite, tmp_path):
    """--dry-run counts what would go by kind, key and program, and leaves the store as it was."""
    load(sqlite, many(1, 30) + opening(99, key="(null)"))
    before = (tmp_path / "store.db").read_bytes()
    done = commands.run("forward", "--dry-run", "--store", sqlite, "--minutes", "99999999")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["events"] == 30
    assert found["kinds"] == {"file": 30}
    assert found["keys"] == {"files": 30}
    assert found["programs"] == {"/usr/bin/cat": 30}
    assert re.fullmatch(r".*: cat\[100\] open /tmp/file1: = 3", found["samples"][0])
    assert (tmp_path / "store.db").read_bytes() == before


def test_giving_up_the_place(forwarding):
    """--forget stops the recording of arrivals, and is refused while a forwarder runs."""

    def forget():
        words = ("forward", "--forget", "--store", forwarding.url)
        return commands.run(*words, environment=forwarding.environment, text=True)

    def noted():
        count = "SELECT (SELECT count(*) FROM consumer) c, (SELECT count(*) FROM arrival) a"
        return tuple(rows(forwarding.url, count)[0].values())

    load(forwarding.url, many(1, 3))
    assert noted() == (1, 2)  # one stands for all before
    state = Path(forwarding.environment["AUDITSVC_RUNTIME_DIRECTORY"]) / "forward.json"
    state.parent.mkdir(exist_ok=True)
    facts = {"pid": os.getpid(), "written": 0.0, "sent": 0, "trouble": ""}
    state.write_text(json.dumps(facts))
    refused = forget()
    assert (refused.returncode, noted()[0]) == (1, 1)
    assert f"a forwarder runs (pid {os.getpid()})" in refused.stderr
    with subprocess.Popen(["true"]) as ended:
        pass
    state.write_text(json.dumps(facts | {"pid": ended.pid}))  # as one leaves it that is killed
    assert forget().returncode == 0
    load(forwarding.url, many(1, 6))
    assert noted() == (0, 0)
    forwarding.once()
    assert forwarding.ids() == []


def test_status_shows_the_lag(forwarding):
    """`status` shows the journal's lag, with and without a forwarder."""

    def status():
        words = ("status", "--store", forwarding.url)
        done = commands.run(*words, environment=forwarding.environment)
        assert done.returncode == 3, done.stderr  # no service runs
        return json.loads(done.stdout)["forwarder"]

    assert status() == {
        "enabled": False,
        "running": False,
        "waiting_transactions": 0,
        "lag_seconds": 0.0,
    }
    load(forwarding.url, many(1, 3))
    assert status()["waiting_transactions"] == 1
    assert status()["lag_seconds"] > 3600
    forwarding.once()
    assert status()["waiting_transactions"] == 0
