"""The files of the table that can have the rows of a time, as Arrow reads them.

All that one scan gives is of one snapshot. Days and files are left out by what the table's
metadata says of them. Files are read by Arrow's own S3 client: DuckDB needs no extension.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from pyarrow import dataset
from pyiceberg.expressions import (
    AlwaysTrue,
    And,
    BooleanExpression,
    EqualTo,
    GreaterThanOrEqual,
    LessThan,
)
from pyiceberg.io.pyarrow import PyArrowFileIO

from auditsvc.errors import FleetError
from auditsvc.fleet.schema import schema
from auditsvc.store.read.time_span import END

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from auditsvc.arrow.reach import Reach

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Scan:
    """One snapshot of the table, read in parts, by several threads if need be."""

    def __init__(self, table: Table) -> None:
        self.table = table
        found = table.current_snapshot()
        self._snapshot = None if found is None else found.snapshot_id
        self._known: dict[Reach, dict[str, int]] = {}

    def files(self, within: Reach) -> list[str]:
        """Give the files that can have such events; FleetError."""
        return list(self.sizes(within))

    def sizes(self, within: Reach) -> dict[str, int]:
        """Give the files that can have such events, with their bytes; FleetError."""
        if self._snapshot is None or within.span.low > within.span.high:
            return {}
        if within not in self._known:
            self._known[within] = self._planned(within)
        return self._known[within]

    def _planned(self, within: Reach) -> dict[str, int]:
        """Ask the table's metadata."""
        scan = self.table.scan(row_filter=_condition(within), snapshot_id=self._snapshot)
        found = {}
        for task in scan.plan_files():
            if task.delete_files:
                raise FleetError(
                    f"{task.file.file_path} has rows that were deleted beside it",
                    "rewrite_data_files of Spark joins them; use copy-on-write",
                )
            found[task.file.file_path] = task.file.file_size_in_bytes
        return dict(sorted(found.items()))

    def rows(self, within: Reach) -> dataset.Dataset:
        """Give the rows of these files; a column that a file has not is NULL."""
        return self.read(self.files(within))

    def read(self, files: list[str]) -> dataset.Dataset:
        """Give the rows of some files."""
        if not files:
            return dataset.dataset(schema().empty_table())
        scheme, place, _ = PyArrowFileIO.parse_location(files[0])
        io = self.table.io
        if not isinstance(io, PyArrowFileIO):
            io = PyArrowFileIO(io.properties)
        paths = [PyArrowFileIO.parse_location(each)[2] for each in files]
        return dataset.dataset(paths, schema(), "parquet", io.fs_by_scheme(scheme, place))


def _condition(within: Reach) -> BooleanExpression:
    """Give the condition that the table's metadata is asked for."""
    parts: list[BooleanExpression] = [AlwaysTrue(), AlwaysTrue()]
    if within.span.low > 0:
        parts.append(GreaterThanOrEqual("time", _moment(within.span.low)))  # type: ignore[arg-type, call-arg]
    if within.span.high < END:
        parts.append(LessThan("time", _moment(within.span.high + 1)))  # type: ignore[arg-type, call-arg]
    if within.host is not None:
        parts.append(EqualTo("host", within.host))  # type: ignore[arg-type, call-arg]
    return And(*parts)


def _moment(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).isoformat()
