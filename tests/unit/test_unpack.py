"""Compressed logs: every format is read as a stream, bounded, or the error names it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import sys
import tracemalloc
from functools import partial

import pytest
from fixtures.logs import opening

from auditsvc.collect import logfile, unpack
from auditsvc.errors import SpoolError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACK = {
    "gzip": gzip.compress,
    "xz": partial(lzma.compress, preset=0),
    "lzma": partial(lzma.compress, format=lzma.FORMAT_ALONE, preset=0),
    "bzip2": bz2.compress,
    "zstd": zstd.compress,
}
"""With small windows: a packer of xz with the usual one takes 0.2 s of CPU to begin."""
USUAL = PACK | {
    "xz": lzma.compress,
    "lzma": partial(lzma.compress, format=lzma.FORMAT_ALONE),
}
LOG = "".join(opening(serial, inode=serial * 7919) for serial in range(1, 2000)).encode()


@pytest.fixture(params=PACK)
def form(request):
    """Each compression that is read."""
    return request.param


@pytest.fixture
def path(tmp_path):
    """Where the log is; its name says nothing of what it is packed in."""
    return tmp_path / "audit.log"


def drain(stream, step=4096):
    """Read a stream to its end; gives its bytes, and the error that it ended with."""
    data = b""
    try:
        while part := stream.read(step):
            assert len(part) <= step
            data += part
    except SpoolError as error:
        return data, str(error)
    return data, ""


def unpacked(path, step=4096):
    """Open a log and read it."""
    with logfile.open_log(path) as stream:
        return drain(stream, step)


@pytest.mark.parametrize("step", [1 << 18, 100, 7])
def test_every_form_gives_the_log(path, form, step):
    """The same bytes as of the plain log, by whatever pieces they are read."""
    log = LOG[:20_000] if step == 7 else LOG
    path.write_bytes(PACK[form](log))
    assert unpacked(path, step) == (log, "")


def test_every_form_can_be_read_again_from_a_place(path, form):
    """Forward and backward."""
    path.write_bytes(PACK[form](LOG))
    with logfile.open_log(path) as stream:
        for place in (100_000, 5, 200_000):
            assert stream.seek(place) == stream.tell() == place
            assert stream.read(100) == LOG[place : place + 100]


# The format of .lzma has no end that something can follow.
@pytest.mark.parametrize("form", [form for form in PACK if form != "lzma"])
@pytest.mark.parametrize("between", [b"", b"\0" * 512])
def test_packed_pieces_behind_each_other_are_one_log(path, form, between):
    """`cat a.gz b.gz`; NULs between them are what tapes and some tools fill up with."""
    path.write_bytes(PACK[form](LOG[:5000]) + between + PACK[form](LOG[5000:]) + between)
    assert unpacked(path) == (LOG, "")


def test_a_file_that_is_cut_short_gives_what_it_has_then_an_error(path, form):
    """Cut anywhere: a beginning of the log, and one line that names the file."""
    packed = PACK[form](LOG)
    most = 0
    for place in (len(packed) - 1, len(packed) // 2, 40):
        path.write_bytes(packed[:place])
        data, error = unpacked(path)
        assert LOG.startswith(data)
        assert error.startswith(f"{path}: the compressed file is damaged")
        most = max(most, len(data))
    assert most > len(LOG) // 3


def test_a_damaged_file_gives_what_is_before_the_damage(path, form):
    """Bytes overwritten in the middle, or something else behind the packed ones."""
    packed = bytearray(PACK[form](LOG))
    middle = len(packed) // 2
    packed[middle : middle + 64] = random.Random(1).randbytes(64)
    path.write_bytes(packed)
    data, error = unpacked(path)
    assert error.startswith(f"{path}: the compressed file is damaged")
    if form not in ("lzma", "bzip2"):  # they check late, or never
        assert LOG.startswith(data[: len(data) // 2])
    if form != "lzma":
        path.write_bytes(PACK[form](LOG) + b"type=USER_LOGIN\n")
        data, error = unpacked(path)
        assert data == LOG
        assert "something else" in error


def test_a_bomb_is_stopped_by_a_limit_that_is_said(path, form, monkeypatch):
    """It is not unpacked to its end; a log that is packed very well is."""
    monkeypatch.setattr(unpack, "_NO_BOMB", 1 << 20)
    path.write_bytes(PACK[form](b"A" * (16 << 20)))
    with logfile.open_log(path) as stream:
        data, error = drain(stream, 1 << 18)
    assert len(data) < 16 << 20
    assert f"more than {unpack.MOST_TIMES} times" in error
    assert "limit" in error
    same = (opening(1).encode() * 6_000)[: 2 << 20]
    path.write_bytes(PACK[form](same) + PACK[form](random.Random(1).randbytes(1 << 14)))
    assert form == "lzma" or unpacked(path, 1 << 18)[0].startswith(same)


def test_memory_is_bounded_whatever_a_file_unpacks_to(path, form):
    """16 MiB out of a few kilobytes are never held at once."""
    path.write_bytes(USUAL[form](b"A" * (16 << 20)))
    with logfile.open_log(path) as stream:
        tracemalloc.start()
        while stream.read(1 << 16):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most < 12 << 20  # bzip2 and xz have blocks and windows of some MiB


def test_a_window_beyond_the_limit_is_refused(path):
    """What would take 256 MiB to unpack says so."""
    big = {zstd.CompressionParameter.window_log: 28}
    # Of a stream, whose size is not known: else the window is no larger than the text.
    packer = zstd.ZstdCompressor(options=big)
    path.write_bytes(packer.compress(LOG) + packer.flush())
    data, error = unpacked(path)
    assert data == b""
    assert "128 MiB" in error
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 28}]
    path.write_bytes(lzma.compress(LOG, filters=filters))
    assert "128 MiB" in unpacked(path)[1]


REFUSED = {
    "zip": b"PK\x03\x04",
    "7z": b"7z\xbc\xaf\x27\x1c",
    "rar": b"Rar!\x1a\x07\x01\x00",
    "lz4": b"\x04\x22\x4d\x18",
    "compress(1)": b"\x1f\x9d\x90",
    "lzip": b"LZIP\x01",
    "lzop": b"\x89LZO\0\r\n\x1a\n",
    "tar": b"audit.log".ljust(257, b"\0") + b"ustar\x0000",
    "snappy": b"\xff\x06\x00\x00sNaPpY",
    "journal": b"LPKSHHRH",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_form_that_is_not_read_is_named(path, name):
    """In one line that says what to do."""
    path.write_bytes(REFUSED[name] + b"\0" * 600)
    with pytest.raises(SpoolError, match=name.replace("(", r"\(").replace(")", r"\)")) as caught:
        logfile.open_log(path)
    assert caught.value.hint


@pytest.mark.parametrize("name", REFUSED)
def test_a_form_that_is_not_read_is_named_inside_another(path, form, name):
    """A .tgz is a tar archive: its text is not loaded as if it were a log."""
    path.write_bytes(PACK[form](REFUSED[name] + b"\0" * 600 + LOG))
    with pytest.raises(SpoolError, match=name.replace("(", r"\(").replace(")", r"\)")):
        logfile.open_log(path)


@pytest.mark.parametrize("outer", PACK)
def test_what_is_packed_twice_is_named(path, form, outer):
    """It is no log: nothing is kept raw of it."""
    path.write_bytes(PACK[outer](PACK[form](LOG)))
    with pytest.raises(SpoolError, match=f"{form} in {outer}"):
        logfile.open_log(path)


def test_brotli_is_told_by_its_name(tmp_path):
    """Its bytes do not identify it."""
    path = tmp_path / "audit.log.br"
    path.write_bytes(b"\x0b\x02\x80")
    with pytest.raises(SpoolError, match="brotli"):
        logfile.open_log(path)


TEXTS = {
    "a mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, the other order": lambda text: "\ufeff".encode("utf-16-be") + text.encode("utf-16-be"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "UTF-16 without a mark, the other order": lambda text: text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("text", TEXTS)
def test_marks_and_wide_characters_are_read(path, text, packed):
    """As PowerShell and editors write them, compressed or not; positions are of the UTF-8."""
    log = opening(1, name="/é/😀") * 200
    data = TEXTS[text](log)
    path.write_bytes(gzip.compress(data) if packed else data)
    assert unpacked(path, 1000) == (log.encode(), "")
    with logfile.open_log(path) as stream:
        stream.seek(5000)
        assert stream.read(9) == log.encode()[5000:5009]
    assert logfile.fingerprint_of(path) == logfile.fingerprint(log.encode())


def test_a_byte_order_mark_leaves_other_bytes_as_they_are(path):
    """A name that is not UTF-8 comes as it was written."""
    path.write_bytes(b"\xef\xbb\xbf" + b"\xff\xfe\n" * 400)
    assert unpacked(path) == (b"\xff\xfe\n" * 400, "")
