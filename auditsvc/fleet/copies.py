"""Copies of the table's data files on this machine, for who asks often: DuckDB reads them itself.

    copies = Copies()
    with copies.kept() as kept:
        paths = kept.of(table, files)       # None: they are to be read where they are

A file of the table never changes, so a copy is as good as long as it is there. DuckDB's own reader
takes a fifth of what it takes to be given the same rows by Arrow; it cannot reach the object store.

Invariants: the copies together are not larger than `most`, and lie in a folder of this process
that nobody else may enter, which is gone when the process ends well; a copy that somebody asks is
not deleted. Files whose columns are not those of now are not given: only Arrow fills them in.
"""

from __future__ import annotations

import tempfile
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
from pyarrow import parquet

from auditsvc.fleet.schema import schema

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pyiceberg.io import FileIO

MOST: Final = 512 << 20
"""Bytes of all copies."""
_AT_ONCE: Final = 4
"""Files that are fetched at a time."""


class Copies:
    """The copies of one process, for several threads."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        """Of each file that is here, the one that was asked last at the end."""
        self._places: dict[str, str] = {}
        self._asked: Counter[str] = Counter()
        """How many ask each file now."""

    @contextmanager
    def kept(self) -> Iterator[Kept]:
        """Give what gets copies, which stay until the end."""
        kept = Kept(self)
        try:
            yield kept
        finally:
            with self._lock:
                self._asked.subtract(kept.files)

    @property
    def folder(self) -> str:
        """Where they lie; OSError if there is no place for one."""
        with self._lock:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="auditsvc-fleet-")
            return self._folder.name

    def _get(self, io: FileIO, files: Mapping[str, int], held: set[str]) -> list[str] | None:
        """Give the copies of files, of which their sizes are told; None if they are not to be."""
        folder = Path(self.folder)
        with self._lock:
            lacking = {file: size for file, size in files.items() if file not in self._sizes}
            if not self._has_room(sum(lacking.values()), files):
                return None
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                got = pool.map(lambda file: _fetched(io, file, folder), lacking)
                for file, place in zip(lacking, got, strict=True):
                    self._places[file] = place
                    self._sizes[file] = lacking[file]
            for file in files:
                self._sizes[file] = self._sizes.pop(file)
                if file not in held:
                    held.add(file)
                    self._asked[file] += 1
            found = [self._places[file] for file in files]
        return found if all(found) else None

    def _has_room(self, wanted: int, files: Collection[str]) -> bool:
        """Make room, of what was asked longest ago; whether there is enough."""
        left = self._most - sum(self._sizes.values()) - wanted
        for file in [each for each in self._sizes if each not in files and not self._asked[each]]:
            if left >= 0:
                break
            left += self._sizes.pop(file)
            if place := self._places.pop(file):
                Path(place).unlink(missing_ok=True)
        return left >= 0


class Kept:
    """What one who asks has of the copies."""

    def __init__(self, copies: Copies) -> None:
        self.files: set[str] = set()
        self._copies = copies

    @property
    def folder(self) -> str:
        """See `Copies.folder`."""
        return self._copies.folder

    def of(self, io: FileIO, files: Mapping[str, int]) -> list[str] | None:
        """Give paths of copies of these files; None: they are to be read where they are.

        `files`: with their sizes in bytes. What the object store refuses comes as it is.
        """
        return self._copies._get(io, files, self.files)  # noqa: SLF001 - its own other half


def _fetched(io: FileIO, file: str, folder: Path) -> str:
    """Copy a file; gives the copy's path.

    "" for a file with other columns than those of now, and where there is no room for it.
    """
    with io.new_input(file).open() as stream:
        data = stream.read()
    if _shape(parquet.read_schema(pa.BufferReader(data))) != _wanted():
        return ""
    place = folder / f"{uuid.uuid4()}.parquet"
    try:
        place.write_bytes(data)
    except OSError:
        place.unlink(missing_ok=True)
        return ""
    return str(place)


@cache
def _wanted() -> object:
    return _shape(schema())


def _shape(of: pa.Schema | pa.DataType) -> object:
    """Give names and types, without what differs from writer to writer."""
    if isinstance(of, pa.Schema | pa.StructType):
        return {each.name: _shape(each.type) for each in of}
    if pa.types.is_list(of) or pa.types.is_large_list(of):
        return [_shape(of.value_type)]
    return "string" if pa.types.is_large_string(of) else str(of)
