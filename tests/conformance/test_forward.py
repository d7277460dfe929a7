"""Events in the journal: every field as in the store, each event once, also if journald fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures import commands
from fixtures.forwarding import Forwarding, entries, event_of, many, stored
from fixtures.logs import call, load, opening, record, rows
from fixtures.repeats import times

from auditsvc.store import open_store
from auditsvc.store.read.feed import Feed
from auditsvc.store.read.selection import Selection

DATA = Path(__file__).parents[1] / "data"
LISTS = ("paths", "sockaddrs", "records")
ALL = Selection(keyed=False, exclude_keys=(), types=("*",))


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


@pytest.mark.one_database
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
