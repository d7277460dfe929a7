"""Logs as an attacker would write them take time in proportion to their length, and bounded memory.

Time is CPU time, the shortest of some runs, and compared between a size and eight times it.
"""

from __future__ import annotations

import gzip
import os
import shutil
from functools import partial

import pytest
from fixtures import hostile, measured
from fixtures.growth import growth, spent
from fixtures.logs import balanced, login, record
from fixtures.repeats import LAST_DECODER, pairs

from auditsvc.decode import DECODERS, make_decoder
from auditsvc.store import Checkpoint, open_store
from auditsvc.store.write import deduplicate

LAST = list(DECODERS)[-1]
"""The native one, where there is one."""
MOST_MEBIBYTES = 200
FACTOR = 8
MOST_GROWTH = 28  # of work in proportion 8, of quadratic work 64
# Below this a run tells more of the machine than of the log.
LEAST_SECONDS = 0.01
MOST_BYTES = 1 << 19
# Of each shape so many that its log has some megabytes: see `fixtures.hostile`.
SIZE = 20_000


@pytest.fixture(params=list(DECODERS))
def decoder(request):
    """Name each decoder."""
    return request.param


def grown(work, shape, size):
    """Give how much longer the work takes for a log eight times as long, and its size."""
    small = hostile.log(shape, size)
    while spent(partial(work, small)) < LEAST_SECONDS and len(small) < MOST_BYTES:
        size *= 2
        small = hostile.log(shape, size)
    works = partial(work, small), partial(work, hostile.log(shape, FACTOR * size))
    return growth(*works, MOST_GROWTH, LEAST_SECONDS / 4), size


def decode(name):
    """Give what decodes a log, in pieces, as the loader does."""

    def work(log):
        machine = make_decoder(name, secret=b"secret", host="here")
        for start in range(0, len(log), 1 << 18):
            machine.feed(log[start : start + (1 << 18)], 0.0)
            machine.expire(1.0)
            if machine.held > 4 << 20:
                machine.take()
        machine.finish()
        machine.take()

    return work


@pytest.mark.parametrize(("decoder", "shape"), pairs(list(DECODERS), hostile.SHAPES))
def test_decoding_takes_time_in_proportion(decoder, shape):
    """A log that is eight times as long takes about eight times as long, whatever is in it."""
    ratio, size = grown(decode(decoder), shape, 250)
    assert ratio < MOST_GROWTH, f"size {size}"


# So small that the shorter log has many: most of its events meet others that are stored.
_BATCH = 1 << 15


def store(name, made, folder):
    """Give what decodes a log and stores it, in batches, into an empty store each time."""
    count = iter(range(1000))

    def work(log):
        path = shutil.copy(made, folder / f"{next(count)}.db")
        with open_store(f"sqlite:///{path}") as into:
            source = into.source("file", "log")
            machine = make_decoder(name, secret=into.secret, host="here")
            for start in range(0, len(log), _BATCH):
                piece = log[start : start + _BATCH]
                machine.feed(piece, 0.0)
                if start + len(piece) == len(log):
                    machine.finish()
                place = Checkpoint("1", start + len(piece), machine.pending())
                into.write(source.id, machine.take(), place, open_records=machine.open_records)

    return work


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(each, marks=() if each in hostile.MEETING_FIRST else pytest.mark.long)
        for each in hostile.MEETING
    ],
)
def test_storing_takes_time_in_proportion(shape, made, tmp_path):
    """The time for events with equal ids, in one batch or in many, grows with their number only."""
    # Beyond the number of steps that every event takes before it goes its own way.
    ratio, size = grown(store(LAST, made, tmp_path), shape, 1000)
    assert ratio < MOST_GROWTH, f"size {size}"


def ingest(log, folder, decoder):
    """Load a log with the command; gives what it took."""
    url = f"sqlite:///{folder}/store.db"
    environment = os.environ | {"AUDITSVC_DECODER": decoder}
    taken = measured.run(
        "ingest", "--store", url, log, environment=environment, folder=folder, timeout=600
    )
    assert taken.status == 0, taken.output
    assert balanced(url)
    return taken


@pytest.mark.long
@pytest.mark.parametrize("shape", hostile.SHAPES)
def test_memory_of_ingest_is_bounded(decoder, shape, tmp_path):
    """The command takes less than 200 MiB for a log of any shape."""
    log = tmp_path / "audit.log"
    # With one record: a file that has none is no log.
    log.write_bytes(
        login(1).encode() + hostile.log(shape, SIZE if decoder == "native" else SIZE // 2)
    )
    assert ingest(log, tmp_path, decoder).mebibytes < MOST_MEBIBYTES


@pytest.mark.long
@pytest.mark.skipif("native" not in DECODERS, reason="the native core was not built")
def test_memory_does_not_grow_with_the_log(tmp_path):
    """Rows of very many lengths leave gaps; those of 91 MB are given back, too."""
    log = tmp_path / "audit.log"
    log.write_bytes(hostile.log("nodes of calls", 480_000))
    assert ingest(log, tmp_path, "native").mebibytes < MOST_MEBIBYTES - 10


@LAST_DECODER
def test_memory_of_ingest_is_bounded_for_all_shapes_in_turn(decoder, tmp_path):
    """A log that has every shape needs no more memory than each shape may."""
    log = tmp_path / "audit.log"
    size = SIZE // 8
    with log.open("wb") as out:
        out.writelines(hostile.log(shape, size) for shape in hostile.SHAPES)
    assert ingest(log, tmp_path, decoder).mebibytes < MOST_MEBIBYTES


@LAST_DECODER
def test_a_small_file_that_unpacks_to_very_many_lines(decoder, tmp_path):
    """A small .gz file with very many lines of one byte: memory stays bounded."""
    log = tmp_path / "audit.log.gz"
    record = b"type=USER_CMD msg=audit(1.000:1): pid=1 op=x\n"
    log.write_bytes(gzip.compress(record + b"x\n" * (300_000 if decoder == "native" else 200_000)))
    assert log.stat().st_size < 10_000
    assert ingest(log, tmp_path, decoder).mebibytes < MOST_MEBIBYTES


def test_one_line_of_many_mebibytes(decoder, tmp_path):
    """A line that never ends is read in pieces."""
    log = tmp_path / "audit.log"
    log.write_bytes(b"type=USER_CMD msg=audit(1.000:1): a=" + b"y " * (20 << 20))
    assert ingest(log, tmp_path, decoder).mebibytes < MOST_MEBIBYTES


def test_a_part_of_a_batch_reads_few_of_the_events_that_it_meets(made, tmp_path, monkeypatch):
    """Events of one stamp are handled together, in whatever order those of several came.

    Else each part of the batch reads again all that is stored under each of the stamps.
    """
    count, stamps, at_once = 300, 10, 10
    read = []

    def load(*words):
        found = plain(*words)
        read.extend(piece for event in found for piece in event.pieces)
        return found

    plain = deduplicate.load
    monkeypatch.setattr(deduplicate, "load", load)
    monkeypatch.setattr(deduplicate, "_AT_ONCE", at_once)
    log = "".join(record("PROCTITLE", k % stamps, f'proctitle="{k}"') for k in range(count))
    store(LAST, made, tmp_path)(log.encode())
    assert len(read) < 2 * count
