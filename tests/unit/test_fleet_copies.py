"""Copies of the lake's files beside the pages."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from pyiceberg.io.pyarrow import PyArrowFileIO

from auditsvc.fleet.copies import Copies
from auditsvc.fleet.schema import schema

IO = PyArrowFileIO()


def made(folder, name, kind=None):
    """Write a file of the table; gives its address and size."""
    path = folder / name
    parquet.write_table((kind or schema()).empty_table(), path)
    return {f"file://{path}": path.stat().st_size}


def test_a_file_is_fetched_once_and_is_the_same(tmp_path):
    """Also if the object store is away then; nobody else may look where it lies."""
    files = made(tmp_path, "a.parquet") | made(tmp_path, "b.parquet")
    before = [Path(each.removeprefix("file://")).read_bytes() for each in files]
    copies = Copies()
    with copies.kept() as kept:
        first = kept.of(IO, files)
        assert [Path(each).read_bytes() for each in first] == before
    for each in files:
        Path(each.removeprefix("file://")).unlink()
    with copies.kept() as kept:
        assert kept.of(IO, files) == first
        assert {Path(each).parent for each in first} == {Path(kept.folder)}
        assert Path(kept.folder).stat().st_mode & 0o777 == 0o700


def test_a_file_with_other_columns_is_left_to_arrow(tmp_path):
    """Of a program before or after this one: one of them, and none is given."""
    fewer = pa.schema([*schema()][:-1])
    other = made(tmp_path, "old.parquet", fewer)
    large = pa.schema([each.with_type(_large(each.type)) for each in schema()])
    alike = made(tmp_path, "large.parquet", large)
    with Copies().kept() as kept:
        assert len(kept.of(IO, alike)) == 1
        assert kept.of(IO, alike | other) is None
        assert kept.of(IO, other) is None


def _large(kind):
    return pa.large_string() if kind == pa.string() else kind


def test_there_is_room_for_so_much_and_what_is_asked_stays(tmp_path):
    """What was asked longest ago goes first; nothing goes that somebody asks just now."""
    names = [made(tmp_path, f"{n}.parquet") for n in range(4)]
    size = max(next(iter(each.values())) for each in names)
    copies = Copies(most=2 * size)
    with copies.kept() as kept:
        (first,) = kept.of(IO, names[0])
        (second,) = kept.of(IO, names[1])
        assert kept.of(IO, names[2]) is None
    with copies.kept() as kept:
        assert kept.of(IO, names[0]) == [first]
        (third,) = kept.of(IO, names[2])
        assert [Path(each).exists() for each in (first, second, third)] == [True, False, True]
        assert kept.of(IO, names[0] | names[1] | names[2]) is None
        assert Path(first).exists()


def test_what_the_object_store_refuses_comes_as_it_is(tmp_path):
    """And the next one who asks gets it when it is there."""
    copies = Copies()
    missing = {f"file://{tmp_path}/away.parquet": 100}
    with copies.kept() as kept, pytest.raises(FileNotFoundError):
        kept.of(IO, missing)
    made(tmp_path, "away.parquet")
    with copies.kept() as kept:
        assert len(kept.of(IO, missing)) == 1


def test_without_room_on_the_disk_arrow_reads(tmp_path, monkeypatch):
    """The page has its answer all the same."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with Copies().kept() as kept:
        assert kept.of(IO, made(tmp_path, "a.parquet")) is None
        assert list(Path(kept.folder).iterdir()) == []
