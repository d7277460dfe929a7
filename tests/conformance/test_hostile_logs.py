"""Logs as an attacker would write them take time in proportion to their length, and bounded memory.

Time is CPU time, the median of several runs, and compared between a size and its double.
"""

from __future__ import annotations

import gc
import gzip
import os
import statistics
import time

import pytest
from fixtures import hostile, measured
from fixtures.logs import balanced

from auditsvc.decode import DECODERS, make_decoder
from auditsvc.store import Checkpoint, open_store

MOST_MEBIBYTES = 200
FACTOR = 4
MOST_GROWTH = 9  # of work in proportion 4, of quadratic work 16
# Below this a run tells more of the machine than of the log.
LEAST_SECONDS = 0.04
# Of each shape so many that its log has some megabytes: see `fixtures.hostile`.
SIZE = 20_000


@pytest.fixture(params=list(DECODERS))
def decoder(request):
    """Name each decoder."""
    return request.param


def spent(work, log):
    """Give the CPU seconds that `work` takes for a log."""
    gc.collect()
    begin = time.process_time()
    work(log)
    return time.process_time() - begin


def growth(work, shape, size):
    """Give how much longer the work takes for a log four times as long, and its size.

    Neighbours on the machine can make it look longer, and never shorter, three times in a row.
    """
    while True:
        small, large = hostile.log(shape, size), hostile.log(shape, FACTOR * size)
        if spent(work, small) >= LEAST_SECONDS or len(small) > 4 << 20:
            break
        size *= 2
    ratio = 0.0
    for _ in range(3):
        rounds = [(spent(work, small), spent(work, large)) for _ in range(3)]
        ratio = statistics.median(b / max(a, LEAST_SECONDS / 5) for a, b in rounds)
        if ratio < MOST_GROWTH:
            break
    return ratio, size


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


@pytest.mark.parametrize("shape", hostile.SHAPES)
def test_decoding_takes_time_in_proportion(decoder, shape):
    """A log that is twice as long takes about twice as long, whatever is in it."""
    ratio, size = growth(decode(decoder), shape, 1000)
    assert ratio < MOST_GROWTH, f"size {size}"


def store(name, folder):
    """Give what decodes a log and stores it, in batches, into a new store each time."""
    count = iter(range(1000))

    def work(log):
        with open_store(f"sqlite:///{folder}/{next(count)}.db") as into:
            source = into.source("file", "log")
            machine = make_decoder(name, secret=into.secret, host="here")
            for start in range(0, len(log), 1 << 18):
                piece = log[start : start + (1 << 18)]
                machine.feed(piece, 0.0)
                if start + len(piece) == len(log):
                    machine.finish()
                place = Checkpoint("1", start + len(piece), machine.pending())
                into.write(source.id, machine.take(), place, open_records=machine.open_records)

    return work


@pytest.mark.parametrize("shape", hostile.MEETING)
def test_storing_takes_time_in_proportion(shape, tmp_path):
    """Events that meet on one id, in one batch and in many, have no longer way for their number."""
    # Beyond the number of steps that every event takes before it goes its own way.
    ratio, size = growth(store(list(DECODERS)[-1], tmp_path), shape, 8000)
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


@pytest.mark.parametrize("shape", hostile.SHAPES)
def test_memory_of_ingest_is_bounded(decoder, shape, tmp_path):
    """The command takes less than 200 MiB for a log of any shape."""
    log = tmp_path / "audit.log"
    log.write_bytes(hostile.log(shape, SIZE if decoder == "native" else SIZE // 2))
    assert ingest(log, tmp_path, decoder).mebibytes < MOST_MEBIBYTES


def test_a_small_file_that_unpacks_to_millions_of_lines(decoder, tmp_path):
    """Some kilobytes of .gz hold some millions of lines of one byte: memory stays bounded."""
    log = tmp_path / "audit.log.gz"
    log.write_bytes(gzip.compress(b"x\n" * (1_500_000 if decoder == "native" else 500_000)))
    assert log.stat().st_size < 10_000
    assert ingest(log, tmp_path, decoder).mebibytes < MOST_MEBIBYTES


def test_one_line_of_many_mebibytes(decoder, tmp_path):
    """A line that never ends is read in pieces."""
    log = tmp_path / "audit.log"
    log.write_bytes(b"type=USER_CMD msg=audit(1.000:1): a=" + b"y " * (20 << 20))
    assert ingest(log, tmp_path, decoder).mebibytes < MOST_MEBIBYTES
