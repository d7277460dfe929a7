"""Some files of the table into one, in the order of the table and in bounded memory.

    made = merged(table, files)         # a data file that no snapshot has yet; FleetError, OSError

Each file has its rows in the table's order (`auditsvc.fleet.schema.SORT`). The order of all rows
is found from the two columns of it; then each part of the new file, a row group, takes the next
rows of each old one. In memory are the old files as they are stored, the two columns, and one part.
A file that is not in order only makes the new one less so: every row is in it once all the same,
and that is counted.

Columns are matched by the numbers that Iceberg gives them, so a file from before a column was
added gets NULL in it, and nothing is lost that only a newer program knows.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet
from pyiceberg.io.fileformat import FileFormatFactory
from pyiceberg.io.pyarrow import (
    _to_requested_schema,
    pyarrow_to_schema,
    schema_to_pyarrow,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat

from auditsvc.errors import FleetError
from auditsvc.fleet.lake import delete_file
from auditsvc.fleet.schema import SORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyiceberg.io import FileIO
    from pyiceberg.table import Table

_GROUP: Final = 1 << 15
"""Rows of a row group of the new file."""
_LEAST_BATCH: Final = 64
_MODEL: Final = FileFormatFactory.get(FileFormat.PARQUET)


def merged(table: Table, files: Sequence[DataFile]) -> DataFile:
    """Write the rows of some files of one partition into a new file beside the first of them."""
    path = f"{files[0].file_path.rpartition('/')[0]}/compacted-{uuid.uuid4()}.parquet"
    output = table.io.new_output(path)
    batch = max(_LEAST_BATCH, _GROUP // len(files))
    sources = [_Source(table.io, each.file_path, batch) for each in files]
    kind = pa.schema(map(_small, schema_to_pyarrow(table.schema())))
    rows = 0
    with _MODEL.create_writer(output, table.schema(), table.metadata.properties) as writer:
        for counts in _parts(sources):
            taken: dict[pa.Schema, list[pa.RecordBatch]] = {}
            for of, count in counts:
                taken.setdefault(sources[of].schema, []).extend(sources[of].take(count))
            alike = [each for of in taken.items() for each in _as_now(table, *of)]
            part = pa.concat_tables(pa.table(each).cast(kind) for each in alike)
            writer.write(part.sort_by([(name, "ascending") for name in SORT]))
            rows += len(part)
    if rows != sum(each.record_count for each in files):
        delete_file(table, path)
        raise FleetError(
            f"{path}: {rows} rows, and the files of the table say another number",
            "nothing was changed; `auditsvc fleet verify` says what the table has",
        )
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=files[0].partition,
        file_size_in_bytes=len(output),
        sort_order_id=None,
        spec_id=files[0].spec_id,
        equality_ids=None,
        key_metadata=None,
        **writer.result().to_serialized_dict(),
    )


class _Source:
    """The rows of one file, from its beginning to its end."""

    def __init__(self, io: FileIO, path: str, batch: int) -> None:
        with io.new_input(path).open() as stream:
            self._file = parquet.ParquetFile(pa.BufferReader(stream.read()))
        self._batches = self._file.iter_batches(batch_size=batch)
        self._left: pa.RecordBatch | None = None

    @property
    def schema(self) -> pa.Schema:
        """As the file has it, with Iceberg's numbers."""
        return self._file.schema_arrow

    def order(self) -> pa.Table:
        """Give the columns that all rows are ordered by."""
        return self._file.read(columns=list(SORT)).replace_schema_metadata(None)

    def take(self, count: int) -> list[pa.RecordBatch]:
        """Give the next rows; StopIteration if there are no more."""
        found = []
        while count:
            left = next(self._batches) if self._left is None else self._left
            part = left.slice(0, count)
            self._left = left.slice(len(part)) if len(part) < len(left) else None
            found.append(part)
            count -= len(part)
        return found


def _as_now(
    table: Table, schema: pa.Schema, batches: Sequence[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Give rows of files with one schema as the table has them now."""
    now = table.schema()
    has = pyarrow_to_schema(schema, now.name_mapping, format_version=table.metadata.format_version)
    for rows in pa.Table.from_batches(batches, schema).combine_chunks().to_batches():
        yield _to_requested_schema(now, has, rows, include_field_ids=True, format_model=_MODEL)


def _parts(sources: Sequence[_Source]) -> list[list[tuple[int, int]]]:
    """Give for each part of the new file how many rows of which sources are in it."""
    names = list(SORT)
    keys, of = [], []
    for number, source in enumerate(sources):
        found = source.order()
        keys.append(found.cast(pa.schema(map(_small, found.schema))))
        of.append(pa.repeat(pa.scalar(number, pa.int16()), len(found)))
    order = pc.sort_indices(
        pa.concat_tables(keys), sort_keys=[(name, "ascending") for name in names]
    )
    taken = pc.take(pa.chunked_array(of, pa.int16()).combine_chunks(), order)
    parts = []
    for start in range(0, len(taken), _GROUP):
        counts = pc.value_counts(taken.slice(start, _GROUP)).to_pylist()
        parts.append(sorted((each["values"], each["counts"]) for each in counts))
    return parts


def _small(field: pa.Field) -> pa.Field:
    """Give a column with offsets of 32 bits, as committers write it, and with Iceberg's numbers."""
    kind = field.type
    if pa.types.is_struct(kind):
        kind = pa.struct(list(map(_small, kind)))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = pa.list_(_small(kind.value_field))
    elif pa.types.is_large_string(kind):
        kind = pa.string()
    return field.with_type(kind)
