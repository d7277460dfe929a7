"""The files of the table: each is read back when it was written; over TLS with `fleet.ca`.

What commits to the table deletes batches from the inbox upon it. An answer that is not that of an
object store (a proxy's page, with status 200) must not be taken for a stored file then. So each
file that is written, of data or of metadata, must have the length that was written, and its end.

Among the settings of the catalog's client is neither an authority of one's own nor that a small
file is one request. So it is given this class by name (`properties`), which makes its S3 client
once more, with both.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from pyiceberg.io import PY_IO_IMPL
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from pyarrow.fs import FileSystem
    from pyiceberg.io import OutputStream

_CA: Final = "auditsvc.ca"
_END: Final = 1 << 16
"""Bytes at the end of a file that are read back: a Parquet file says there where its rows are."""


class TableIO(PyArrowFileIO):
    """Reads and writes files of a table."""

    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        # What pickle would make it of is all that it was made of.
        make, (options,) = super()._initialize_s3_fs(netloc).__reduce__()
        given = {"tls_ca_file_path": self.properties[_CA]} if _CA in self.properties else {}
        # A small file is one request then, not three.
        return make({**options, **given, "allow_delayed_open": True})

    def new_output(self, location: str) -> PyArrowFile:
        """Give a file that is read back when it was written."""
        scheme, netloc, path = self.parse_location(location, self.properties)
        return _File(location, path, self.fs_by_scheme(scheme, netloc))


class _File(PyArrowFile):
    """A file that is read back when it was written: OSError if it is another then."""

    _length: int | None = None
    """Bytes that were written and read back: the client asks for them again."""

    def __len__(self) -> int:
        return super().__len__() if self._length is None else self._length

    def create(self, overwrite: bool = False) -> OutputStream:
        return _Checked(super().create(overwrite), self)

    def check(self, length: int, end: bytes) -> None:
        """Compare the file with what was written."""
        with self._filesystem.open_input_file(self._path) as found:
            is_same = found.size() == length
            is_same = is_same and found.read_at(len(end), length - len(end)) == end
        if not is_same:
            raise OSError(
                f"{self.location} is not what was written: who answers is no object store"
            )
        self._length = length


class _Checked(io.RawIOBase):
    """Writes a file; the end of `with` is that of the file."""

    def __init__(self, stream: Any, file: _File) -> None:
        super().__init__()
        self._stream = stream
        self._file: _File | None = file
        self._length, self._end = 0, b""

    def write(self, data: Any) -> int:
        with memoryview(data) as view:
            size = view.nbytes
            self._stream.write(view)
            last = bytes(view.cast("B")[-_END:]) if size else b""
        self._length += size
        self._end = (self._end + last)[-_END:]
        return size

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._length

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        self._file = None  # what ended early is not asked for
        self.close()

    def close(self) -> None:
        if self.closed:
            return
        super().close()
        self._stream.close()
        if self._file is not None:
            self._file.check(self._length, self._end)


def properties(ca: Path | None) -> dict[str, str]:
    """Give the properties of a catalog whose tables are read and written so."""
    made = {PY_IO_IMPL: f"{TableIO.__module__}.{TableIO.__name__}"}
    return made | ({_CA: str(ca)} if ca else {})
