"""A log that is cut into files gives the same store: any cuts, any order of calls, any growth.

Compared is what users see: every view but for ids, the ledger, and the lines kept raw.
"""

from __future__ import annotations

import gzip
import lzma
import random
import shutil
from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest
from fixtures import commands
from fixtures.logs import (
    balanced,
    call,
    end,
    everything,
    ledger,
    login,
    opening,
    path,
    proctitle,
    record,
    rows,
)
from fixtures.repeats import examples, pairs, seeds, some, times
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from auditsvc.config import load_settings
from auditsvc.decode import DECODERS
from auditsvc.errors import StoreError
from auditsvc.ingest.ingest import Ingest
from auditsvc.store.read.sql import run_query
from auditsvc.store.write.writer import Writer

MIXED = (Path(__file__).parent.parent / "data" / "mixed.log").read_bytes()


@pytest.fixture(autouse=True, params=list(DECODERS))
def decoder(request, monkeypatch):
    """Have the rows from each decoder."""
    monkeypatch.setenv("AUDITSVC_DECODER", request.param)
    return request.param


def ingest(url, *files):
    """Load files in one call; gives the job."""
    job = Ingest(load_settings(store=url, host="box"), list(files))
    job.run(lambda _: None)
    return job


def raw_lines(url):
    """Give the lines kept raw, in no order."""
    with run_query(url, "SELECT line, reason FROM raw") as result:
        return sorted((bytes(line), reason) for line, reason in result.rows)


def state(url):
    """Give all that is compared."""
    return everything(url) | {"ledger": ledger(url), "raw": raw_lines(url)}


class Stores:
    """Empty stores, made by copying one."""

    def __init__(self, made, folder):
        self.made, self.folder, self.count = made, folder, 0

    def url(self):
        """Give the URL of another one."""
        self.count += 1
        path = self.folder / f"{self.count}.db"
        shutil.copy(self.made, path)
        return f"sqlite:///{path}"


@pytest.fixture
def stores(made, tmp_path):
    """Give empty stores on SQLite."""
    (tmp_path / "stores").mkdir()
    return Stores(made, tmp_path / "stores")


def whole(url, log, folder):
    """Load a log in one piece; give what is compared."""
    folder.mkdir(exist_ok=True)
    file = folder / "audit.log"
    file.write_bytes(log)
    ingest(url, file)
    assert balanced(url)
    return state(url)


def named(count):
    """Give the names of so many files, oldest first."""
    return [f"audit.log.{n}" for n in range(count - 1, 0, -1)] + ["audit.log"]


def some_lines(draw):
    """Draw some lines of a real log."""
    lines = MIXED.splitlines(keepends=True)
    first = draw(st.integers(0, len(lines) - 2))
    return b"".join(lines[first : first + draw(st.integers(1, 40))])


@st.composite
def logs(draw):
    """Draw some lines of a real log, or of events of every kind; rarely a line that is none."""
    if draw(st.booleans()):
        text = some_lines(draw)
    else:
        text = b"".join(
            draw(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=6, unique=True))
        )
    return text if draw(st.booleans()) else text[:-1]


def _events():
    """Give events that a cut can hurt, each with a serial of its own."""
    saddr = "saddr=020000507F0000010000000000000000"
    return [
        each.encode()
        for each in (
            opening(1) + end(1),
            opening(2, items=1),
            call(3, nr=59, items=2)
            + record("EXECVE", 3, 'argc=3 a0="ls" a1="-l"')
            + record("EXECVE", 3, 'a2="/tmp"')
            + record("CWD", 3, 'cwd="/"')
            + path(3, "/bin/ls")
            + path(3, "/lib/ld.so", item=1)
            + proctitle(3)
            + end(3),
            call(4, nr=42, items=0) + record("SOCKADDR", 4, saddr) + proctitle(4),
            record("AVC", 5, "avc: denied { read } for pid=100 comm=1")
            + record("AVC", 5, "avc: denied { write } for pid=100 comm=1")
            + call(5, items=0)
            + record("SOCKADDR", 5, saddr)
            + end(5),
            login(6),
            record("AVC", 7, "avc: denied { read } for pid=100 comm=1") + end(7),
            call(9, items=3) + record("CWD", 9, 'cwd="/"') + path(9, "/a"),
            record("CONFIG_CHANGE", 10, "op=set audit_enabled=1 old=1 auid=1 ses=1 res=1"),
            "----\n",
            call(12, items=0, success=None) + end(12),
            call(13, items=1, node="node=web 1 ") + path(13, "/b", node="node=web 1 "),
            record("OBJ_PID", 14, "opid=1 oauid=1")
            + record("OBJ_PID", 14, "opid=2 oauid=1")
            + call(14, items=0)
            + proctitle(14),
            path(15, "/orphan") + proctitle(15),
        )
    ]


EVENTS = _events()


@st.composite
def schedules(draw):
    """Draw a log, how it is cut, and calls: each names files and how far they have grown."""
    log = draw(logs())
    cuts = sorted(set(draw(st.lists(st.integers(1, len(log) - 1), max_size=4))))
    files = [log[a:b] for a, b in zip([0, *cuts], [*cuts, len(log)], strict=True)]
    steps = []
    for number, file in enumerate(files):
        grown = set(draw(st.lists(st.integers(1, len(file)), max_size=2)))
        steps += [(number, size) for size in sorted(grown | {len(file)})]
    order = draw(st.permutations([number for number, _ in steps]))
    left = {number: [size for n, size in steps if n == number] for number in set(order)}
    calls, current = [], {}
    for number in order:
        current[number] = left[number].pop(0)
        if draw(st.booleans()):
            calls.append(current)
            current = {}
    return log, files, [each for each in (*calls, current) if each]


def play(url, folder, files, calls, chance):
    """Make the calls; each file grows as they say."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    names = named(len(files))
    for each in calls:
        paths = []
        for number, size in each.items():
            paths.append(folder / names[number])
            paths[-1].write_bytes(files[number][:size])
        chance.shuffle(paths)
        ingest(url, *paths)
        assert balanced(url)


@examples(5, long=6000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedules(), st.randoms(use_true_random=False))
def test_any_cuts_in_any_order_of_calls_end_as_the_whole(stores, tmp_path, schedule, chance):
    """Each call names some files, in any order, which have grown or are new."""
    log, files, calls = schedule
    url = stores.url()
    play(url, tmp_path / "log", files, calls, chance)
    assert state(url) == whole(stores.url(), log, tmp_path / "whole")


@pytest.mark.postgres
@examples(2, long=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedules(), st.randoms(use_true_random=False))
def test_any_cuts_on_postgres(made_in_postgres, postgres_server, tmp_path, schedule, chance):
    """The same on the other database."""
    log, files, calls = schedule
    with postgres_server.database(made_in_postgres) as url:
        play(url, tmp_path / "log", files, calls, chance)
        cut = state(url)
    with postgres_server.database(made_in_postgres) as url:
        assert cut == whole(url, log, tmp_path / "whole")


# --- kinds, with the right values ------------------------------------------------------

SADDR = "saddr=020000507F0000010000000000000000"
RM = [
    call(103, nr=59, items=2, pid=906, auid=1000, comm='"rm"', exe='"/usr/bin/rm"'),
    record("EXECVE", 103, 'argc=2 a0="rm" a1="secret.txt"'),
    record("SOCKADDR", 103, SADDR),
    record("CWD", 103, 'cwd="/srv"'),
    path(103, "."),
    path(103, "secret.txt", item=1),
    proctitle(103, "726D007365637265742E747874"),
    end(103),
]


def check_rm(url):
    """Check that the removal of secret.txt is one complete event."""
    (found,) = rows(url, "SELECT serial, state, comm, cwd, proctitle, argv FROM syscalls")
    assert found == {
        "serial": 103,
        "state": "complete",
        "comm": "rm",
        "cwd": "/srv",
        "proctitle": "rm secret.txt",
        "argv": ["rm", "secret.txt"],
    }
    names = rows(url, "SELECT name FROM syscalls JOIN paths USING (event_id) ORDER BY item")
    assert [row["name"] for row in names] == [".", "secret.txt"]
    assert [row["address"] for row in rows(url, "SELECT address FROM sockaddrs")] == ["127.0.0.1"]
    assert rows(url, "SELECT * FROM partials") == []
    assert len(rows(url, "SELECT * FROM events")) == 2
    assert {cause: n for cause, n in ledger(url).items() if n} == {
        "received": 10,
        "stored": 9,
        "end": 1,
        "gap": 1,
    }


NAMES = {
    "numbers": ("audit.log.2", "audit.log.1", "audit.log"),
    "packed": ("audit.log.2.gz", "audit.log.1.xz", "audit.log"),
    "dates": ("audit.log-20240320.gz", "audit.log-20240321", "audit.log"),
    "logrotate's extension": ("audit-20240320.log.gz", "audit-20240321.log.xz", "audit.log"),
}


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize(
    ("calls", "order"), pairs(["one call", "a call each"], [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
)
def test_an_event_that_rotation_splits_is_one_event(stores, tmp_path, names, order, calls):
    """Cut before any two of its records; files in any order, packed, dated."""
    for first in some(range(1, len(RM) - 1), (names, order, calls), 1):
        second = first + 1 + first % (len(RM) - 1 - first)
        pieces = [
            login(101) + "".join(RM[:first]),
            "".join(RM[first:second]),
            "".join(RM[second:]) + login(104),
        ]
        folder = tmp_path / str(first)
        folder.mkdir()
        paths = [folder / name for name in NAMES[names]]
        for file, piece in zip(paths, pieces, strict=True):
            pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(file.suffix, bytes)
            file.write_bytes(pack(piece.encode()))
        url = stores.url()
        named_so = [paths[n] for n in order]
        for each in [named_so] if calls == "one call" else [[file] for file in named_so]:
            ingest(url, *each)
        check_rm(url)


def test_files_whose_names_tell_nothing_are_told_by_content(stores, tmp_path):
    """In one call: the first record says which is older, an open event which goes on where."""
    pieces = {"b": login(101) + "".join(RM[:3]), "c": "".join(RM[3:5]), "a": "".join(RM[5:])}
    pieces["a"] += login(104)
    for name, piece in pieces.items():
        (tmp_path / name).write_text(piece)
    url = stores.url()
    ingest(url, *(tmp_path / name for name in pieces))
    check_rm(url)


def test_logs_of_two_hosts_are_not_taken_for_one(stores, tmp_path):
    """Named in one call, in one folder: nothing of one is counted as missing in the other."""
    (tmp_path / "one.log").write_text(login(5) + login(6) + opening(7)[:-20])
    (tmp_path / "two.log").write_text(login(90_000) + login(90_001))
    url = stores.url()
    ingest(url, tmp_path / "one.log", tmp_path / "two.log")
    assert ledger(url)["gap"] == 0
    assert ledger(url)["raw"] == 0
    assert rows(url, "SELECT count(*) AS n FROM events") == [{"n": 4}]


@pytest.mark.parametrize("step", times(193, 1))
def test_a_log_that_has_grown_from_anywhere_ends_as_the_whole(stores, decoder, tmp_path, step):
    """Cut inside a line too: what a call before stored as far as it came is completed.

    In the short suite each decoder gets cuts of its own.
    """
    log = (login(101) + "".join(RM) + login(104)).encode()
    right = whole(stores.url(), log, tmp_path / "whole")
    first = list(DECODERS).index(decoder) * step // 2
    for size in range(first, len(log), step):
        file, url = tmp_path / f"{size}" / "audit.log", stores.url()
        file.parent.mkdir()
        file.write_bytes(log[:size])
        ingest(url, file)
        file.write_bytes(log)
        ingest(url, file)
        assert state(url) == right
        before = ledger(url)
        job = ingest(url, file)
        assert (job.events, job.duplicates, ledger(url)) == (0, 0, before)


def test_what_is_incomplete_can_be_seen_and_waits(stores, tmp_path):
    """In the views, as partial; in the checkpoint, completely; in the ledger, as open."""
    file, url = tmp_path / "audit.log", stores.url()
    file.write_text("".join(RM[:4]) + RM[4][:40])
    job = ingest(url, file)
    assert (job.events, job.notes, job.errors) == (1, [], [])
    assert rows(url, "SELECT state, comm, cwd FROM syscalls") == [
        {"state": "partial", "comm": "rm", "cwd": "/srv"}
    ]
    assert rows(url, "SELECT reason FROM partials") == [{"reason": "end of input"}]
    count = ledger(url)
    assert (count["received"], count["stored"], count["open"]) == (5, 0, 5)
    with run_query(url, "SELECT pending FROM source WHERE kind = 'file'") as result:
        (pending,) = (bytes(row[0]) for row in result.rows)
    assert pending.endswith(("".join(RM[:4]) + RM[4][:40]).encode())
    file.write_text("".join(RM))
    job = ingest(url, file)
    assert (job.events, job.duplicates) == (0, 0)
    assert rows(url, "SELECT * FROM partials") == []


def test_a_log_that_is_rotated_between_calls(stores, tmp_path):
    """It grows, is renamed, compressed, deleted: each call continues where the last one stopped."""
    lines = MIXED.splitlines(keepends=True)
    right = whole(stores.url(), MIXED, tmp_path / "whole")
    url, folder = stores.url(), tmp_path / "log"
    folder.mkdir()
    log, old, older = folder / "audit.log", folder / "audit.log.1", folder / "audit.log.2.gz"
    log.write_bytes(b"".join(lines[:100]))
    ingest(url, log)
    log.write_bytes(b"".join(lines[:203]))
    log.rename(old)
    log.write_bytes(b"".join(lines[203:300]))
    ingest(url, log)  # the end of the other one is not there yet
    ingest(url, old)
    older.write_bytes(gzip.compress(old.read_bytes()))
    log.rename(old)
    log.write_bytes(b"".join(lines[300:517]) + lines[517][:30])
    ingest(url, log, old, older)
    older.unlink()
    old.unlink()
    log.rename(old)
    log.write_bytes(lines[517][30:] + b"".join(lines[518:]))
    ingest(url, log)
    assert state(url) == right


@pytest.mark.parametrize("batch", [None, "65536"])
def test_long_files_in_the_wrong_order(stores, decoder, tmp_path, monkeypatch, batch):
    """Files longer than the stored head give the same store; also with small batches."""
    if batch:
        monkeypatch.setenv("AUDITSVC_LOADER__BATCH_BYTES", batch)
    text = "".join(opening(serial) + end(serial) for serial in range(1, 700)).encode()
    right = whole(stores.url(), text, tmp_path / "whole")
    place = text.index(b"type=PATH", len(text) // 2)
    cuts = (place, place + 100, text.index(b"type=EOE", place))
    for cut, order in some(product(cuts, ((0, 1), (1, 0))), (batch, decoder), 2):
        url, folder = stores.url(), tmp_path / f"{cut}-{order[0]}"
        folder.mkdir()
        paths = [folder / "audit.log.1", folder / "audit.log"]
        paths[0].write_bytes(text[:cut])
        paths[1].write_bytes(text[cut:])
        for number in order:
            ingest(url, paths[number])
        now = state(url)
        assert now == right


@pytest.mark.parametrize("seed", seeds(2, 60))
def test_calls_that_are_cut_off_lose_and_double_nothing(stores, tmp_path, monkeypatch, seed):
    """The store fails at any transaction, as at a kill; the files are named again."""
    chance = random.Random(seed)
    monkeypatch.setenv("AUDITSVC_LOADER__BATCH_BYTES", "65536")
    lines = MIXED.splitlines(keepends=True)
    text = b"".join(lines[:5] + [opening(n).encode() for n in range(1, 900)] + lines[5:])
    right = whole(stores.url(), text, tmp_path / "whole")
    cuts = sorted(chance.sample(range(len(text)), 2))
    files = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    paths = [tmp_path / name for name in named(3)]
    for file, piece in zip(paths, files, strict=True):
        file.write_bytes(piece)
    url, real = stores.url(), Writer.write
    left = chance.randint(0, 12)

    def fail(*args, **options):
        nonlocal left
        left -= 1
        if left == 0:
            raise StoreError("the disk is full")
        return real(*args, **options)

    monkeypatch.setattr(Writer, "write", fail)
    for _ in range(8):
        left = left or chance.randint(1, 12)
        with suppress(StoreError):
            ingest(url, *paths)
        assert balanced(url)
    monkeypatch.setattr(Writer, "write", real)
    ingest(url, *paths)
    now = state(url)
    assert {view: now[view] for view in now if view != "ledger"} == {
        view: right[view] for view in right if view != "ledger"
    }
    assert now["ledger"] == right["ledger"]


_UNTOLD = (b"type=AVC", b"type=OBJ_PID", b"type=CONFIG_CHANGE", b":15): ")
_TOLD = [
    each for each in EVENTS if each[0] != ord("-") and not any(kind in each for kind in _UNTOLD)
]
"""Events of which an overlap can be told: they have a call, or no record that is pending."""


@st.composite
def overlaps(draw):
    """Draw the lines of a log, and where its second file begins and its first one ends."""
    events = draw(st.lists(st.sampled_from(_TOLD), min_size=1, max_size=6, unique=True))
    lines = b"".join(events).splitlines(keepends=True)
    ends = draw(st.integers(1, len(lines)))
    begins = draw(st.integers(0, ends - 1))
    return lines, begins, ends


@examples(12, long=3000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(overlaps(), st.sampled_from(["one call", "in order", "other order", "grows"]), st.data())
def test_files_that_overlap_give_each_record_once(stores, tmp_path, drawn, how, data):
    """Wherever the one ends and the other begins; what both have is counted as duplicate."""
    lines, begins, ends = drawn
    right = whole(stores.url(), b"".join(lines), tmp_path / "whole")
    folder = tmp_path / "log"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    old, new = folder / "audit.log.1", folder / "audit.log"
    old.write_bytes(b"".join(lines[:ends]))
    new.write_bytes(b"".join(lines[begins:]))
    url = stores.url()
    if how == "one call":
        ingest(url, old, new)
    elif how == "in order":
        ingest(url, old)
        ingest(url, new)
    elif how == "other order":
        ingest(url, new)
        ingest(url, old)
    else:
        ingest(url, old)
        size = data.draw(st.integers(1, len(lines) - begins))
        new.write_bytes(b"".join(lines[begins : begins + size]))
        ingest(url, new)
        new.write_bytes(b"".join(lines[begins:]))
        ingest(url, new)
    assert balanced(url)
    now = state(url)
    told, wanted = now.pop("ledger"), right.pop("ledger")
    assert now == right
    assert told["gap"] == wanted["gap"]
    if how in ("one call", "in order"):
        assert told["stored"] == wanted["stored"]


def test_a_record_in_the_end_of_one_file_and_the_beginning_of_the_next(stores, tmp_path):
    """It is one of its event, and a duplicate in the ledger and the command's answer."""
    lines = [line.encode() for line in RM]
    (tmp_path / "audit.log.1").write_bytes(login(101).encode() + b"".join(lines[:6]))
    (tmp_path / "audit.log").write_bytes(b"".join(lines[5:]) + login(104).encode())
    url = stores.url()
    job = ingest(url, tmp_path / "audit.log.1", tmp_path / "audit.log")
    assert job.duplicates == 1
    assert {cause: n for cause, n in ledger(url).items() if n} == {
        "received": 11,
        "stored": 9,
        "duplicate": 1,
        "end": 1,
        "gap": 1,
    }
    names = rows(url, "SELECT name FROM paths ORDER BY item")
    assert [row["name"] for row in names] == [".", "secret.txt"]


def test_equal_records_on_both_sides_of_a_cut_are_two(stores, tmp_path):
    """An access that was denied twice by one call: nothing tells them from an overlap."""
    denied = record("AVC", 5, "avc: denied { read } for pid=100 comm=1")
    log = (login(4) + denied + denied + call(5, items=0) + end(5)).encode()
    cut = log.index(b"type=AVC") + len(denied)
    (tmp_path / "audit.log.1").write_bytes(log[:cut])
    (tmp_path / "audit.log").write_bytes(log[cut:])
    url = stores.url()
    ingest(url, tmp_path / "audit.log.1", tmp_path / "audit.log")
    assert state(url) == whole(stores.url(), log, tmp_path / "whole")


def test_one_call_by_command(stores, tmp_path):
    """For a rotated log the command prints only the count."""
    (tmp_path / "audit.log.1").write_text(login(101) + "".join(RM[:4]))
    (tmp_path / "audit.log").write_text("".join(RM[4:]) + login(104))
    url = stores.url()
    done = commands.run(
        "ingest", "--store", url, tmp_path / "audit.log", tmp_path / "audit.log.1", text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 new events; 0 records" in done.stdout
    check_rm(url)
