"""`auditsvc.arrow.calls`: what is asked once for many calls is what the views say of each."""

from __future__ import annotations

import random
from itertools import product

import pytest
from fixtures.cookbook_log import cookbook_log
from fixtures.logs import SECOND, call, end, load, path, proctitle, record
from fixtures.repeats import seeds
from fixtures.stores import new_store

from auditsvc.archive.rows import read_where, stored_columns
from auditsvc.archive.views import field, order_of
from auditsvc.arrow import calls, room, sqlite_rows
from auditsvc.arrow.columns import BESIDE, field_of
from auditsvc.arrow.events import Events
from auditsvc.arrow.rows import columns_of, read_table
from auditsvc.arrow.view_rows import Views
from auditsvc.arrow.where import Where
from auditsvc.errors import TooMuchError
from auditsvc.fleet.rows import Source
from auditsvc.store import open_store
from auditsvc.store.database import reading

WHO = "auid=4294967295 pid=1 uid=0 ses=4294967295 subj=unconfined res=success"
CALLS = (*(2, 0, 3, 42, 62, 82, 90, 90, 105, 157, 257, 999) * 4, 56, 59, 60, 231)
OF_FILES = (2, 82, 83, 85, 86, 88, 90, 92, 257, 258, 260, 263, 264, 265, 266, 268, 304, 426, 437)
"""Calls to files: opens, renames, links, modes, owners, an io_uring_enter and an openat2."""
NAMES = (
    *('"/etc/passwd"', '"/etc/shadow"', '"here"', '"./x"', '"."', '"./"', '""', '"0x0"', "(null)"),
    *("00C3A9FF22", "2F612C620A63", "7461622274657874", '"/a,b"'),
)
MORE = ("", " cap_fp=0 cap_fe=0", " cap_fp=0 cap_fe=0", " cap_fp=1 cap_frootid=0")
"""What a record of a file has beside the columns."""
KINDS = ("NORMAL", "NORMAL", "PARENT", "CREATE", "DELETE", "UNKNOWN")
EVERY = Where("v.event_id > 0")
SOME = Where(
    "v.event_id BETWEEN :low AND :high OR v.event_id > :after",
    {"low": SECOND << 30, "high": (SECOND + 1) << 30, "after": (SECOND + 2) << 30},
)


def lines(seed, count=250):
    """Give calls of few processes within seconds, and what changes the words about them."""
    chance = random.Random(seed)
    pids = (100, 101, 102, 103, 4_000_000)
    ids = (0, 1000, 1001, 4294967295)
    made = []
    for serial in range(1, count):
        when = {"second": SECOND + chance.randrange(4), "ms": chance.choice((0, 1, 500, 999))}
        kind = chance.random()
        if kind < 0.05:
            body = f"op=name kind={chance.choice(('user', 'group'))} id={chance.choice(ids[:3])}"
            named = chance.choice((' acct="alice"', ' acct="bob"', ""))
            late = {**when, "second": SECOND + chance.randrange(6)}
            made.append(record("DAEMON_CONFIG", serial, f"{body}{named} {WHO}", **late))
        elif kind < 0.1:
            group = chance.choice(("/a.service", "/b.service", "/c.scope"))
            who = WHO.replace("pid=1", f"pid={chance.choice(pids)}")
            rest = f" unit={group[1:]}" + chance.choice(("", f" container={'ab' * 32}"))
            body = f'op=cgroup cgroup="{group}"{rest} {who}'
            made.append(record("DAEMON_CONFIG", serial, body, **when))
        elif kind < 0.15:
            body = f"pid={chance.choice(pids)} uid=0 auid=5 ses=3 msg='cmd=\"x\" res=success'"
            made.append(record("USER_CMD", serial, body, **when))
        elif kind < 0.17:
            body = f"uring_op={chance.choice((18, 35))} success=no exit=-2 pid=77 uid=0"
            made.append(record("URINGOP", serial, body, **when) + _files(chance, serial, when))
        else:
            made.append(_call(chance, serial, pids, ids, when))
    return "".join(made)


def _call(chance, serial, pids, ids, when):
    nr = chance.choice((chance.choice(CALLS), chance.choice(OF_FILES)))
    old = chance.random() < 0.1
    success = chance.choice(("yes", "yes", "yes", "no"))
    exit_ = chance.choice(pids) if success == "yes" else chance.choice((-2, -13, -115))
    text = call(
        serial,
        **when,
        nr=chance.choice((102, 117, 5, 11)) if old else nr,
        arch="40000003" if old else "c000003e",
        success=success,
        exit=exit_,
        a0=chance.choice(("3", "3", "3", "f", "16", "ffffffffffffff9c", "1200011")),
        a1=chance.choice(("0", "0", "241")),
        a2=chance.choice(("0", "0", "1a4", "80000")),
        a3=chance.choice(("0", "0", "1b6")),
        **_who(chance, pids, ids),
    )
    if nr == 59:
        text += record("EXECVE", serial, f'argc=1 a0="{chance.choice("xyz")}"', **when)
    for item in range(chance.choice((0, 0, 0, 1, 2))):
        text += path(serial, chance.choice(("/etc/passwd", "here", "./x")), item=item, **when)
    if nr in OF_FILES:
        text += _files(chance, serial, when)
    if chance.random() < 0.05:
        text += record("OBJ_PID", serial, f"opid={chance.choice(pids)} oauid=0", **when)
    if chance.random() < 0.03:
        text += record("CONFIG_CHANGE", serial, 'op=add_rule key="r" res=1', **when)
    if nr == 42:
        text += record("SOCKADDR", serial, "saddr=020001BBC0000201", **when)
    return (
        text + proctitle(serial, **when) + (end(serial, **when) if chance.random() < 0.97 else "")
    )


def _files(chance, serial, when):
    """Give what else the records of a call, or of an operation of io_uring, say of files."""
    text = ""
    if chance.random() < 0.8:
        cwd = chance.choice(('"/"', '"/home/mia"', "2F686F6D652F6D6961", "(null)"))
        text += record("CWD", serial, f"cwd={cwd}", **when)
    items = list(range(chance.choice((0, 1, 1, 2, 3, 4))))
    if chance.random() < 0.1:
        chance.shuffle(items)
    for each in items:
        item = chance.choice((each, each, each, 0))
        mode = chance.choice(("0100644", "040755", "0120777"))
        body = (
            f"item={item} name={chance.choice(NAMES)} inode={chance.choice((7, 8, 1 << 63))}"
            f" dev=08:01 mode={mode} ouid=0 ogid=0 rdev=00:00 nametype={chance.choice(KINDS)}"
            f"{chance.choice(MORE)}"
        )
        text += record("PATH", serial, body, **when)
    if chance.random() < 0.1:
        body = f"oflag=0{chance.choice((0, 1, 2, 1001, 10000000))} mode=00 resolve=0x0"
        text += record("OPENAT2", serial, body, **when)
    if chance.random() < 0.1:
        body = f"uring_op={chance.choice((18, 28, 35, 38))} success=yes exit=3 pid=77 uid=0"
        text += record("URINGOP", serial, body, **when)
    return text


def _who(chance, pids, ids):
    """Give a process, mostly as it was before: so calls have much in common."""
    pid = chance.choice(pids)
    place = pids.index(pid)
    parent = chance.choice((1, *pids)) if chance.random() < 0.1 else pids[place - 1]
    user = chance.choice(ids) if chance.random() < 0.1 else ids[place % len(ids)]
    exe = '"/bin/cat"' if place % 2 else '"/usr/bin/python3.11"'
    comm = chance.choice(('"cat"', '"cat"', '"cat"', "(null)", '""', '"0x0"'))
    return {"pid": pid, "ppid": parent, "auid": user, "uid": user, "exe": exe, "comm": comm}


def said(connection, view, values, fields, *, where=EVERY, order="event_id"):
    """Give the rows that the view gives for each, by the driver's objects."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite_rows, "native_core", lambda: None)
        rows = read_table(connection, view, values, fields, where=where, order=order)
    return rows.to_pylist()


@pytest.fixture(params=[*seeds(2, 40), "cookbook"])
def url(request, tmp_path):
    """Give a store with events of two sources."""
    made = f"sqlite:///{tmp_path}/store.db"
    new_store(tmp_path / "store.db")
    if request.param == "cookbook":
        load(made, cookbook_log()[0], kind="spool")
        return made
    load(made, lines(request.param), kind="spool")
    load(
        made,
        lines(request.param + 1, 80).replace("audit(175", "audit(165"),
        "other.log",
        kind="file",
    )
    load(made, lines(request.param + 2, 400), "another.log", kind="file")
    return made


def test_all_calls_have_the_rows_of_the_view(url, monkeypatch):
    """Each column, in one slice and in several, and those of other views beside it."""
    with open_store(url, create=False, read=True) as store, reading(store.database) as connection:
        names = columns_of(connection, "syscalls")
        values = {name: f'v."{name}"' for name in names} | {"type": "'SYSCALL'"}
        for other, of in BESIDE.items():
            for name, alias in of.items():
                values[alias] = f"(SELECT o.{name} FROM {other} o WHERE o.event_id = v.event_id)"
        fields = [field_of(name) for name in (*values, "never")]
        wanted = said(connection, "syscalls", values, fields)
        assert wanted
        for size in (calls.SLICE, 60):
            monkeypatch.setattr(calls, "SLICE", size)
            found = Views(connection).rows("syscalls", values, fields, EVERY, "event_id")
            assert found.to_pylist() == wanted


def test_all_events_have_their_story(url, monkeypatch):
    """Each column, in one slice and in several; a sentence that follows from the rest is NULL."""
    with open_store(url, create=False, read=True) as store, reading(store.database) as connection:
        names = stored_columns("story", columns_of(connection, "story"))
        values = {name: f'v."{name}"' for name in names}
        fields = [field("story", name) for name in names]
        wanted = said(connection, "story", values, fields)
        assert wanted
        for size in (calls.SLICE, 60):
            monkeypatch.setattr(calls, "SLICE", size)
            found = Views(connection).rows("story", values, fields, EVERY, "event_id").to_pylist()
            assert found == wanted
        short = read_where(Views(connection), "story", names, EVERY).to_pylist()
        assert [{**each, "sentence": None} for each in wanted] == [
            {**each, "sentence": None} for each in short
        ]


@pytest.mark.parametrize("view", ["paths", "files", "records"])
def test_all_files_have_the_rows_of_the_view(url, monkeypatch, view):
    """Each column, and some alone, in one slice and in several, also of some events."""
    with open_store(url, create=False, read=True) as store, reading(store.database) as connection:
        every = {name: f'v."{name}"' for name in columns_of(connection, view)}
        some = {name: every[name] for name in every if name in ("path", "fields", "event_id")}
        order = order_of(view)
        for where, values in product((EVERY, SOME), (every, some)):
            fields = [field(view, name) for name in values]
            wanted = said(connection, view, values, fields, where=where, order=order)
            assert wanted
            for size in (calls.SLICE, 60):
                monkeypatch.setattr(calls, "SLICE", size)
                found = Views(connection).rows(view, values, fields, where, order).to_pylist()
                if view != "files":
                    assert found == wanted
                    continue
                # No order within an event is promised.
                ids = ([row["event_id"] for row in each] for each in (found, wanted))
                assert len({tuple(each) for each in ids}) == 1
                assert sorted(found, key=repr) == sorted(wanted, key=repr)


def test_no_event_gives_no_row(url):
    """Of all views that are asked for by calls."""
    nothing = Where("v.event_id = :id", {"id": 1})
    with open_store(url, create=False, read=True) as store, reading(store.database) as connection:
        for view in ("syscalls", "story", "paths", "files", "records"):
            names = columns_of(connection, view)
            values = {name: f'v."{name}"' for name in names}
            fields = [field(view, name) for name in names]
            found = Views(connection).rows(view, values, fields, nothing, order_of(view))
            assert (found.num_rows, found.column_names) == (0, list(names))


def test_what_has_no_room_at_once_is_read_in_parts(url, monkeypatch):
    """Also if it is one event that has none: that is an error, and not a part of its rows."""
    with open_store(url, create=False, read=True) as store:
        source, events = Source(store.database, "box", "s"), Events(store.database)
        whole = [row for batch in events.batches() for row in batch.to_pylist()]
        ids = [row["event_id"] for row in whole]
        shipped = [row for table in source.tables(ids) for row in table.to_pylist()]
        monkeypatch.setattr(room, "MOST", 8000)
        batches, tables = list(events.batches()), list(source.tables(ids))
        assert len(ids) < 100 or min(len(batches), len(tables)) > 1
        assert [row for batch in batches for row in batch.to_pylist()] == whole
        assert [row for table in tables for row in table.to_pylist()] == shipped
        monkeypatch.setattr(room, "MOST", 0)
        with pytest.raises(TooMuchError):
            list(room.in_parts(lambda ids: room.check_room(len(ids)), ids))
