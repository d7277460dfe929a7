"""A log that is cut into files gives the same store: any cuts, any order of calls, any growth.

Compared is what users see: every view but for ids, the ledger, and the lines kept raw.
"""

from __future__ import annotations

import gzip
import lzma
import random
import shutil
from contextlib import suppress
from functools import partial
from itertools import product

import pytest
from fixtures import commands
from fixtures.logs import (
    balanced,
    end,
    ledger,
    login,
    opening,
    rows,
)
from fixtures.repeats import examples, pairs, seeds, some, times
from fixtures.rotated import (
    EVENTS,
    MIXED,
    RM,
    check_rm,
    ingest,
    some_lines,
    state,
    whole,
)
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from auditsvc.decode import DECODERS
from auditsvc.errors import StoreError
from auditsvc.store.read.sql import run_query
from auditsvc.store.write.writer import Writer


@pytest.fixture(autouse=True, params=list(DECODERS))
def decoder(request, monkeypatch):
    """Have the rows from each decoder."""
    monkeypatch.setenv("AUDITSVC_DECODER", request.param)
    return request.param


def named(count):
    """Give the names of so many files, oldest first."""
    return [f"audit.log.{n}" for n in range(count - 1, 0, -1)] + ["audit.log"]


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


@examples(3, long=6000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedules(), st.randoms(use_true_random=False))
def test_any_cuts_in_any_order_of_calls_end_as_the_whole(stores, tmp_path, schedule, chance):
    """Each call names some files, in any order, which have grown or are new."""
    log, files, calls = schedule
    url = stores.url()
    play(url, tmp_path / "log", files, calls, chance)
    assert state(url) == whole(stores.url(), log, tmp_path / "whole")


@pytest.mark.postgres
@examples(1, long=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
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

# A packer of xz with the usual window takes 0.2 s of CPU to begin.
PACK = {".gz": gzip.compress, ".xz": partial(lzma.compress, preset=0)}
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
            pack = PACK.get(file.suffix, bytes)
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


@pytest.mark.parametrize("step", times(257, 1))
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
