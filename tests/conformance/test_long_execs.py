"""An exec with 6 MB of arguments of any bytes: bounded memory, one copy in the store."""

from __future__ import annotations

import json
import os

import pytest
from fixtures import measured
from fixtures.logs import balanced, rows
from fixtures.long_execs import SHAPES, cut
from fixtures.repeats import LAST_DECODER, some
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.decode import DECODERS, make_decoder
from auditsvc.record.fields import to_short_text

MOST_MEBIBYTES = 200
_ALWAYS = "no text"  # the others with --long
_FEW = 1_200_000  # bytes of arguments: more than a mebibyte


@pytest.fixture(params=list(DECODERS))
def decoder(request):
    """Name each decoder."""
    return request.param


def decoded(name, log):
    """Give the rows that a decoder makes of a log."""
    machine = make_decoder(name, secret=b"secret", host="here")
    machine.feed(log.encode(), 0.0)
    machine.finish()
    batch = machine.take()
    return {table: list(found) for table, found in batch.dimensions.items()}, dict(batch.facts)


@LAST_DECODER
@pytest.mark.parametrize(
    "shape",
    [pytest.param(name, marks=() if name == _ALWAYS else pytest.mark.long) for name in SHAPES],
)
def test_memory_for_long_execs_is_bounded(decoder, shape, tmp_path):
    """Three of them, one after the other: memory for the log's bytes and their text."""
    log, url = tmp_path / "audit.log", f"sqlite:///{tmp_path}/store.db"
    log.write_text("".join(SHAPES[shape](serial) for serial in range(1, 4)))
    environment = os.environ | {"AUDITSVC_DECODER": decoder}
    taken = measured.run(
        "ingest", "--store", url, log, environment=environment, folder=tmp_path, timeout=600
    )
    assert taken.status == 0, taken.output
    assert taken.mebibytes < MOST_MEBIBYTES
    assert balanced(url)
    if "not whole" not in shape:  # of others the records are kept too
        assert (tmp_path / "store.db").stat().st_size < 1.2 * log.stat().st_size + (1 << 20)


@LAST_DECODER
@pytest.mark.parametrize(
    "total",
    [
        7_000_000,  # nearly all that an open event may have
        pytest.param(10_000_000, marks=pytest.mark.long),  # its first part ends; the rest joins it
    ],
)
def test_memory_for_a_long_exec_that_is_cut_is_bounded(decoder, total, tmp_path):
    """Its lines, their rows and its list of arguments are there at once, each about once."""
    log, url = tmp_path / "audit.log", f"sqlite:///{tmp_path}/store.db"
    log.write_text(cut(1, total))
    environment = os.environ | {"AUDITSVC_DECODER": decoder}
    taken = measured.run(
        "ingest", "--store", url, log, environment=environment, folder=tmp_path, timeout=600
    )
    assert taken.status == 0, taken.output
    assert taken.mebibytes < MOST_MEBIBYTES
    assert balanced(url)
    (row,) = rows(url, "SELECT count(*) AS n, sum(length(raw)) AS bytes FROM text WHERE raw <> ''")
    assert row["bytes"] > 2.5 * total  # the records of what is not whole, and the list


@pytest.mark.skipif("native" not in DECODERS, reason="the native core was not built")
@pytest.mark.parametrize("shape", some(SHAPES, "alike", 5))
def test_both_decoders_show_long_execs_alike(shape):
    """The same rows, in the same order, also where they are given away instead of packed."""
    log = "".join(SHAPES[shape](serial, _FEW) for serial in (1, 2, 1))
    one, other = (decoded(name, log) for name in ("reference", "native"))
    assert one == other


def test_what_is_no_text_is_kept(decoder, tmp_path):
    """Shown as one mark for a byte, which leaves words between to be found; `raw` has all."""
    url = f"sqlite:///{tmp_path}/store.db"
    log = tmp_path / "audit.log"
    text = SHAPES["no text"](1, _FEW)
    hidden = "FF".join(f"{byte:02X}" for byte in b"nc -e")
    log.write_text(text.replace("FF" * 9, hidden, 1))
    environment = os.environ | {"AUDITSVC_DECODER": decoder}
    taken = measured.run("ingest", "--store", url, log, environment=environment, folder=tmp_path)
    assert taken.status == 0, taken.output
    (row,) = rows(url, "SELECT argv, state FROM syscalls")
    arguments = row["argv"]
    assert row["state"] == "complete"
    assert arguments[0].startswith("n?c? ?-?e???")
    assert sum(map(len, arguments)) > 0.9 * _FEW
    (row,) = rows(url, "SELECT hex(substr(raw, 1, 8)) AS raw FROM text WHERE length(value) > 9999")
    assert row["raw"] == "6EFF63FF20FF2DFF"


def test_shorter_ones_are_shown_as_ever(decoder):
    """Up to 1 MiB each byte that is no text is shown as two hexadecimal digits."""
    log = SHAPES["no text"](1).splitlines(keepends=True)
    few = "".join([*log[:100], *log[-1:]])
    dimensions, _ = decoded(decoder, few)
    assert any(row[1].startswith(r'["\\xFF\\xFF') for row in dimensions["text"])


@given(st.binary(max_size=60))
def test_a_short_text_is_no_longer(data):
    """It has no more bytes than the data, and says whether it is exact; JSON at most doubles it."""
    text, exact = to_short_text(data)
    assert len(text.encode()) <= len(data)
    assert exact == (text.encode() == data)
    assert len(json.dumps(text, ensure_ascii=False).encode()) <= 2 * len(data) + 2
    assert b"?" not in data or "?" in text
