"""What every store must do, on SQLite and on PostgreSQL."""

from __future__ import annotations

import random
import threading

import pytest
from fixtures.logs import (
    SECOND,
    Pipe,
    balanced,
    call,
    everything,
    ledger,
    load,
    opening,
    path,
    record,
    rows,
    told_of,
)

from auditsvc.decode import DECODERS, ids, make_decoder
from auditsvc.decode.batch import Batch
from auditsvc.errors import ClashError, StoreError
from auditsvc.store import Checkpoint, open_store, schema


@pytest.fixture(autouse=True, params=list(DECODERS))
def decoder(request, monkeypatch):
    """Have the rows from each decoder: each hands them over in its own way."""
    monkeypatch.setattr(Pipe, "decoder", request.param)


EXEC = (
    call(7, nr=59, items=1, rest=" enriched=1")
    + record("EXECVE", 7, 'argc=2 a0="ls" a1=2D6C20C3A4')
    + record("CWD", 7, 'cwd="/root"')
    + path(7, "/usr/bin/ls")
    + record("PROCTITLE", 7, "proctitle=6C73002D6C")
)
CONNECT = (
    call(8, nr=42, items=0, success="no", exit="-111", comm='"curl"')
    + record("SOCKADDR", 8, "saddr=020000507F0000010000000000000000")
    + record("PROCTITLE", 8, 'proctitle="curl"')
)
LOGIN = record(
    "USER_LOGIN", 9, "pid=12 uid=0 auid=1000 ses=3 msg='op=login acct=\"root\" res=failed'"
)
GARBAGE = "this is no record\n"
LOG = opening(6) + EXEC + CONNECT + LOGIN + GARBAGE


def test_views_show_every_field(url):
    """The views give a small log back, field for field, in equal form on both databases."""
    load(url, LOG)
    seen = everything(url)
    first = seen["syscalls"][0]
    event_id = first.pop("event_id")
    assert event_id >> 30 == SECOND
    assert first == {
        "host": "box", "time": "2025-06-15 15:06:40.123", "serial": 6,
        "arch": "x86_64", "syscall": "open", "nr": 2,
        "a0": "7ffe0", "a1": "0", "a2": "ffffffffffffff9c", "a3": "1",
        "success": first["success"], "exit": 3, "state": "complete", "items": 1,
        "ppid": 1, "pid": 100, "auid": None, "uid": 1000, "gid": 0, "euid": 0, "suid": 0,
        "fsuid": 0, "egid": 0, "sgid": 0, "fsgid": 0, "tty": "(none)", "ses": None,
        "comm": "cat", "exe": "/usr/bin/cat", "subj": None, "key": "files", "cwd": "/root",
        "proctitle": "cat", "argv": None,
    }  # fmt: skip
    assert first["success"] in (1, True)
    assert told_of(url, event_id) == {
        "process_id": (SECOND << 30) + (123 >> 2 << 22) + 100,
        "parent_exe": None, "parent_argv": None, "auid_name": None, "uid_name": None,
        "gid_name": None, "euid_name": None, "egid_name": None,
        "unit": None, "container": None,
    }  # fmt: skip
    executed, connected = seen["syscalls"][1:]
    assert executed["argv"] == ["ls", "-l \u00e4"]
    assert executed["proctitle"] == "ls -l"
    assert (connected["success"], connected["exit"]) in ((0, -111), (False, -111))
    assert [p["name"] for p in seen["paths"]] == ["/etc/passwd", "/usr/bin/ls"]
    assert seen["sockaddrs"] == [
        {
            "event_id": connected["event_id"],
            "family": "inet",
            "address": "127.0.0.1",
            "port": 80,
            "path": None,
        }
    ]
    (login,) = seen["events"]
    assert (login["type"], login["pid"], login["auid"], login["ses"]) == ("USER_LOGIN", 12, 1000, 3)
    assert login["fields"]["res"] == "failed"
    by_type = {(r["event_id"], r["type"]): r["fields"] for r in seen["records"]}
    assert by_type[executed["event_id"], "SYSCALL"] == {"enriched": "1"}
    assert by_type[event_id, "PATH"]["item"] == 0
    assert by_type[event_id, "PATH"]["cap_fver"] == "0"
    assert by_type[connected["event_id"], "SOCKADDR"]["saddr"].startswith("02000050")


def test_ledger_adds_up(url):
    """Received is stored, ended, raw, duplicate and open, before and after the end."""
    pipe = Pipe(url)
    text = LOG + call(30) + "type=CWD msg"
    pipe.load(text, finish=False)
    assert balanced(url)
    assert ledger(url)["open"] == 1
    pipe.load(text + '=audit(1750000000.123:30): cwd="/"\n')
    pipe.close()
    assert balanced(url)
    assert ledger(url)["open"] == 0
    assert ledger(url)["raw"] == 1
    units = {row["cause"]: row["unit"] for row in rows(url, "SELECT cause, unit FROM ledger")}
    assert (units["received"], units["raw"]) == ("records", "lines")


def test_a_second_copy_adds_nothing(url):
    """A log that was read is only counted when it comes again under another name."""
    load(url, LOG)
    before = everything(url)
    (result,) = load(url, LOG, "copy")
    assert (result.events, result.duplicates) == (0, 4 + 5 + 3 + 1)
    assert everything(url) == before
    assert ledger(url)["duplicate"] == 13
    assert balanced(url)


def test_a_copy_within_one_batch_adds_nothing(url):
    """The same log twice in one stream, in one transaction, is one log and its duplicates."""
    load(url, LOG)
    before = everything(url)
    (result,) = load(url, LOG + LOG.replace(GARBAGE, ""), "twice")
    assert result.events == 0
    assert everything(url) == before
    assert balanced(url)


@pytest.mark.parametrize("cut", [1, 2, 3])
@pytest.mark.parametrize("order", ["first", "second"])
def test_a_cut_copy_and_a_whole_one_make_one_event(url, cut, order):
    """An event that was cut short and its whole copy are one event, whichever comes first."""
    lines = opening(6).splitlines(keepends=True)
    short = "".join(lines[:cut])
    texts = [short, "".join(lines)] if order == "first" else ["".join(lines), short]
    for n, text in enumerate(texts):
        load(url, text, f"log{n}")
    seen = everything(url)
    assert [(s["state"], s["cwd"], s["proctitle"]) for s in seen["syscalls"]] == [
        ("complete", "/root", "cat")
    ]
    assert [p["name"] for p in seen["paths"]] == ["/etc/passwd"]
    assert seen["partials"] == []
    assert ledger(url)["stored"] == 4
    assert ledger(url)["duplicate"] == cut
    assert balanced(url)


@pytest.mark.one_database
@pytest.mark.parametrize("order", ["orphan first", "syscall first"])
def test_an_orphan_and_its_syscall_are_one_event(url, order):
    """Records that came apart from their SYSCALL are brought to it, each once."""
    avc = record("AVC", 6, 'avc:  denied  { read } for pid=100 comm="cat"')
    orphan = avc + path(6, "/etc/shadow", item=1)
    texts = [orphan, call(6, items=2) + path(6, "/etc/passwd")]
    if order == "syscall first":
        texts.reverse()
    for n, text in enumerate([*texts, *texts]):
        load(url, text, f"log{n}")
    seen = everything(url)
    assert len(seen["syscalls"]) == 1
    assert seen["events"] == []
    assert sorted((p["item"], p["name"]) for p in seen["paths"]) == [
        (0, "/etc/passwd"),
        (1, "/etc/shadow"),
    ]
    assert [r["type"] for r in seen["records"] if r["type"] == "AVC"] == ["AVC"]
    assert ledger(url)["stored"] == 4
    assert ledger(url)["duplicate"] == 4
    assert balanced(url)


def test_orphans_of_one_event_meet(url):
    """Late records of one event that come one by one are one row of events."""
    for n in (1, 2, 1):
        load(url, path(6, f"/file{n}", item=n), f"log{random.random()}")
    seen = everything(url)
    assert len(seen["events"]) == 1
    assert [p["name"] for p in seen["paths"]] == ["/file2"]
    assert [e["fields"]["name"] for e in seen["events"]] == ["/file1"]
    assert ledger(url)["duplicate"] == 1


@pytest.mark.one_database
def test_two_events_of_one_identity_are_both_kept(url):
    """Events that share host, time and serial but say different things are both rows."""
    texts = [opening(6, name="/a", a0="1"), opening(6, name="/b", a0="2")]
    for n, text in enumerate([*texts, *texts]):
        load(url, text, f"log{n}")
    load(url, texts[0] + texts[1], "both")
    seen = rows(url, "SELECT a0, name FROM syscalls JOIN paths USING (event_id) ORDER BY a0")
    assert seen == [{"a0": "1", "name": "/a"}, {"a0": "2", "name": "/b"}]
    assert balanced(url)
    assert ledger(url)["stored"] == 8


def test_two_events_of_one_identity_in_one_batch(url):
    """A displaced SYSCALL and the one that displaced it keep their own records."""
    text = call(6, items=0, a0="1") + opening(6, name="/b", a0="2")
    load(url, text)
    seen = rows(url, "SELECT a0, name FROM syscalls LEFT JOIN paths USING (event_id) ORDER BY a0")
    assert seen == [{"a0": "1", "name": None}, {"a0": "2", "name": "/b"}]


@pytest.mark.one_database
def test_two_hosts_that_meet_on_one_id_are_both_kept(url):
    """Hosts whose serials fall together keep their events, also when they come again."""
    store = open_store(url)
    one, two = (ids.dimension_id(store.secret, "host", (host,)) for host in ("one", "two"))
    store.close()
    serial = (one - two) & ids.SERIAL_MASK
    texts = [opening(5, node="node=one "), opening(serial + 5, node="node=two ", name="/two")]
    texts.append(record("USER_LOGIN", serial + 5, "pid=1 uid=0 msg='op=x'", node="node=two "))
    for n, text in enumerate([*texts, *reversed(texts)]):
        load(url, text, f"log{n}")
    seen = everything(url)
    assert sorted(s["host"] for s in seen["syscalls"]) == ["one", "two"]
    assert [e["type"] for e in seen["events"]] == ["USER_LOGIN"]
    assert len({s["event_id"] for s in seen["syscalls"] + seen["events"]}) == 3
    assert {(p["name"], p["event_id"]) for p in seen["paths"]} == {
        ("/etc/passwd" if s["host"] == "one" else "/two", s["event_id"]) for s in seen["syscalls"]
    }
    assert balanced(url)


@pytest.mark.one_database
def test_an_id_that_stands_for_other_content_is_noticed(url, monkeypatch):
    """With ids of eight bits nearly every content clashes, and no content replaces another."""
    monkeypatch.setattr(Pipe, "decoder", "reference")  # the native core has a mask of its own
    monkeypatch.setattr(ids, "DIMENSION_MASK", 0x1FF)
    names = [f"/file{n}" for n in range(60)]
    text = "".join(opening(n, name=name, second=SECOND + n) for n, name in enumerate(names))
    pipe = Pipe(url, batch=1500)
    pipe.load(text)
    assert pipe.clashes
    pipe.close()
    again = Pipe(url, "copy", batch=2000)  # knows no pins, so it must find them again
    again.load(text)
    again.close()
    seen = rows(
        url, "SELECT serial, name FROM syscalls JOIN paths USING (event_id) ORDER BY serial"
    )
    assert seen == [{"serial": n, "name": name} for n, name in enumerate(names)]
    assert balanced(url)


@pytest.mark.one_database
def test_texts_of_any_length_and_many_rows(url):
    """What takes another way because it is long, or many, arrives as it is."""
    lengths = [*range(8000, 8200), 100_000]
    log = "".join(
        record("USER_LOGIN", n + 1000, f"pid=1 uid=0 msg='op={'x' * length}'", second=SECOND + n)
        + opening(n, name=f"/{n}", second=SECOND + n)
        for n, length in enumerate(lengths, start=1)
    )
    load(url, log)
    load(url, log, "copy")
    seen = everything(url)
    assert [len(row["fields"]["op"]) for row in seen["events"]] == lengths
    assert [row["name"] for row in seen["paths"]] == [f"/{n + 1}" for n in range(len(lengths))]
    assert balanced(url)


def test_a_driver_that_takes_rows_alone(url, monkeypatch):
    """Where Python's sqlite3 was built without deserialize, the same rows are stored."""
    load(url, LOG)
    wanted = everything(url)
    with open_store(url) as store, store.engine.begin() as connection:
        for table in (*schema.FACTS, *schema.DIMENSIONS):
            connection.execute(table.delete())
    pipe = Pipe(url, "again")
    monkeypatch.setattr(pipe.store.database, "takes_packed", False)
    pipe.load(LOG)
    pipe.close()
    assert everything(url) == wanted


def test_an_id_that_was_taken_by_other_content(url):
    """An id that somebody made stand for other content is noticed, and both are kept."""
    load(url, opening(1, name="/a"))
    with open_store(url) as store, store.engine.begin() as connection:
        found = connection.exec_driver_sql("SELECT id FROM text WHERE value = '/a'").scalar()
        connection.exec_driver_sql(f"UPDATE text SET value = '/forged' WHERE id = {found}")
    pipe = Pipe(url, "more")
    pipe.load("".join(opening(n, name=name) for n, name in ((2, "/a"), (3, "/b"))))
    pipe.close()
    assert pipe.clashes == 1
    seen = rows(url, "SELECT name FROM paths ORDER BY event_id")
    assert [row["name"] for row in seen] == ["/forged", "/a", "/b"]


def test_clashes_are_settled_one_table_after_the_other(url, monkeypatch):
    """Other ids of texts make other files: what clashes there is not known before."""
    monkeypatch.setattr(ids, "DIMENSION_MASK", 0xFF)
    with open_store(url) as store:
        made = make_decoder("reference", secret=store.secret, host="box")
        made.feed("".join(opening(n, name=f"/file{n}") for n in range(60)).encode(), 0.0)
        source = store.source("file", "log")
        with pytest.raises(ClashError) as caught:
            store.write(source.id, made.take(), Checkpoint("1", 1))
    assert {table for table, _, _ in caught.value.pins} == {"text"}


def test_one_id_twice_in_a_batch(url):
    """Two calls that are equal, but that one has no outcome, are both stored."""
    text = call(5, items=0) + call(5, items=0, success=None)
    load(url, text)
    seen = rows(url, "SELECT count(*) AS calls, count(success) AS ended FROM syscalls")
    assert seen == [{"calls": 2, "ended": 1}]
    assert balanced(url)


@pytest.mark.one_database
def test_any_order_of_cut_copies_gives_the_same_events(url):
    """Shuffled, cut and repeated parts of a log give the same events as the whole log."""
    chance = random.Random(3)
    events = [
        opening(n, name=f"/f{n % 7}", second=SECOND + n // 9, nr=chance.choice((2, 257)))
        for n in range(24)
    ] + [LOGIN, CONNECT.replace(":8)", ":108)"), EXEC.replace(":7)", ":107)")]
    pieces = []
    for event in events:
        lines = event.splitlines(keepends=True)
        cuts = [chance.randint(1, len(lines)) for _ in range(2)]
        pieces += ["".join(lines[:cut]) for cut in cuts] + [event]
    chance.shuffle(pieces)
    for n in range(0, len(pieces), 10):
        load(url, "".join(pieces[n : n + 10]), f"log{n}", batch=chance.choice((300, 5000)))
    mixed = everything(url)
    assert mixed["partials"] == []
    assert len(mixed["syscalls"]) == 26
    assert len(mixed["paths"]) == 25
    assert all(s["proctitle"] for s in mixed["syscalls"])
    assert balanced(url)
    load(url, "".join(events), "whole")
    assert everything(url) == mixed


@pytest.mark.one_database
def test_a_source_goes_on_where_it_was_left(url):
    """Every split into transactions, each with a fresh store and decoder, gives the same rows."""
    text = LOG * 1 + opening(20)
    data = text.encode()
    for end in range(0, len(data) + 1, 97):
        load(url, data[:end], finish=False)
    load(url, data)
    seen = everything(url)
    assert [s["serial"] for s in seen["syscalls"]] == [6, 7, 8, 20]
    assert ledger(url)["duplicate"] == 0
    assert balanced(url)


def test_two_readers_of_one_source_are_noticed(url):
    """A checkpoint that somebody else moved stops the transaction, and nothing is stored."""
    one, two = open_store(url), open_store(url)
    source = one.source("spool", "spool")
    two.source("spool", "spool")
    one.write(source.id, Batch(counts={"received": 1}), Checkpoint("a", 10))
    with pytest.raises(StoreError, match="not where it was left"):
        two.write(source.id, Batch(counts={"received": 1}), Checkpoint("a", 20))
    assert two.source("spool", "spool").position == 10
    assert ledger(url)["received"] == 1
    one.close()
    two.close()


@pytest.mark.one_database
def test_writers_side_by_side_store_each_event_once(url):
    """Four writers of overlapping logs at once lose nothing and double nothing."""
    events = [opening(n, name=f"/f{n % 5}", second=SECOND + n // 50) for n in range(300)]
    events += [
        record("USER_LOGIN", 1000 + n, f"pid={n} uid=0 msg='op=x'", second=SECOND + n // 10)
        for n in range(50)
    ]
    open_store(url).close()
    errors = []

    def run(seed):
        chance = random.Random(seed)
        mine = chance.sample(events, 250)
        try:
            load(url, "".join(mine), f"log{seed}", batch=8000)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    load(url, "".join(events), "all")
    serials = [row["serial"] for row in rows(url, "SELECT serial FROM syscalls ORDER BY serial")]
    assert serials == list(range(300))
    assert rows(url, "SELECT count(*) AS n FROM events") == [{"n": 50}]
    assert rows(url, "SELECT count(*) AS n FROM paths") == [{"n": 300}]
    assert balanced(url)


def test_calls_without_a_name_are_called_by_number(url):
    """A number or machine that no table knows is shown as its number."""
    load(url, call(1, nr=9999) + call(2, arch="deadbeef", nr=5) + call(3, arch="40000003", nr=11))
    assert rows(url, "SELECT arch, syscall FROM syscalls ORDER BY serial") == [
        {"arch": "x86_64", "syscall": "9999"},
        {"arch": "deadbeef", "syscall": "5"},
        {"arch": "i386", "syscall": "execve"},
    ]


def test_the_secret_belongs_to_the_store(url, tmp_path):
    """A store keeps its secret, and another store has another."""
    with open_store(url) as store:
        secret = store.secret
    with open_store(url) as store:
        assert store.secret == secret
        assert len(secret) == 32
    with open_store(f"sqlite:///{tmp_path}/other.db") as other:
        assert other.secret != secret


def test_a_partial_tells_its_reason(url):
    """`partials` names why an event did not end."""
    load(url, call(6) + path(7, "/x"))
    reasons = {row["reason"] for row in rows(url, "SELECT reason FROM partials")}
    assert reasons == {"end of input", "orphan"}
    assert rows(url, "SELECT state FROM syscalls") == [{"state": "partial"}]
