"""The files of the table over TLS with an authority of one's own (`fleet.ca`).

The catalog's client has no setting for that: it makes its S3 client without. So it is given this
class by name (`properties`), which makes the same client once more, with the authority.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pyiceberg.io import PY_IO_IMPL
from pyiceberg.io.pyarrow import PyArrowFileIO

if TYPE_CHECKING:
    from pathlib import Path

    from pyarrow.fs import FileSystem

_CA: Final = "auditsvc.ca"


class TableIO(PyArrowFileIO):
    """Reads and writes files of a table."""

    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        # What pickle would make it of is all that it was made of.
        make, (options,) = super()._initialize_s3_fs(netloc).__reduce__()
        return make({**options, "tls_ca_file_path": self.properties[_CA]})


def properties(ca: Path) -> dict[str, str]:
    """Give the properties of a catalog whose tables are read so."""
    return {PY_IO_IMPL: f"{TableIO.__module__}.{TableIO.__name__}", _CA: str(ca)}
