"""Rows into new data files of the table, as the catalog's client does it, with fewer copies.

    with table.transaction() as transaction:
        append_rows(transaction, table, rows)

The client filters all rows by each partition. Ours are in the order of the table, in which the
rows of a day stand together but for few places: so they are cut there.
"""

from __future__ import annotations

import uuid
from functools import lru_cache
from itertools import count, pairwise
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.io.pyarrow import (
    _check_pyarrow_schema_compatible,
    bin_pack_arrow_table,
    pyarrow_to_schema,
    write_file,
)
from pyiceberg.partitioning import PartitionFieldValue, PartitionKey
from pyiceberg.table import TableProperties, WriteTask
from pyiceberg.utils.properties import property_as_int

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyiceberg.schema import Schema
    from pyiceberg.table import Table, Transaction
    from pyiceberg.table.metadata import TableMetadata

_MOST_CUTS: Final = 5000
_LARGE: Final = 4096
"""Rows of a piece for which it is cheaper to write it as it is than to copy it to the others."""


def append_rows(transaction: Transaction, table: Table, rows: pa.Table) -> None:
    """Add rows to the table, in files of one partition each; ValueError if it has other columns."""
    metadata = table.metadata
    spec = metadata.spec()
    if len(spec.fields) != 1:  # somebody else's choice
        transaction.append(rows)
        return
    kind = _kind(_Own(metadata), rows.schema)
    size = property_as_int(
        metadata.properties,
        TableProperties.WRITE_TARGET_FILE_SIZE_BYTES,
        TableProperties.WRITE_TARGET_FILE_SIZE_BYTES_DEFAULT,
    )
    assert size is not None
    with transaction.update_snapshot().fast_append() as files:
        numbers = count()
        tasks = (
            WriteTask(
                write_uuid=files.commit_uuid or uuid.uuid4(),
                task_id=next(numbers),
                record_batches=batches,
                partition_key=key,
                schema=kind,
            )
            for key, part in _parts(table, rows)
            for batches in bin_pack_arrow_table(part, size)
        )
        for file in write_file(table.io, metadata, tasks):
            files.append_data_file(file)


class _Own:
    """The schema of a table: one with the same number is the same schema."""

    def __init__(self, metadata: TableMetadata) -> None:
        self.schema, self.version = metadata.schema(), metadata.format_version
        self._key = (metadata.table_uuid, metadata.current_schema_id, self.version)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Own) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=2)
def _kind(own: _Own, given: pa.Schema) -> Schema:
    """Give the schema of rows with the table's numbers; ValueError if the table has another.

    It takes a tenth of a small commit.
    """
    _check_pyarrow_schema_compatible(own.schema, given, format_version=own.version)
    return pyarrow_to_schema(given, own.schema.name_mapping, format_version=own.version)


def _parts(table: Table, rows: pa.Table) -> Iterator[tuple[PartitionKey, pa.Table]]:
    """Give the rows of each partition, in their order."""
    spec, schema = table.spec(), table.schema()
    (by,) = spec.fields
    source = schema.find_field(by.source_id)
    values = by.transform.pyarrow_transform(source.field_type)(rows[source.name].combine_chunks())
    for value in pc.unique(values).to_pylist():
        key = PartitionKey([PartitionFieldValue(by, value)], spec, schema)
        yield key, _where(rows, pc.equal(values, value))


def _where(rows: pa.Table, is_wanted: pa.Array) -> pa.Table:
    """Give some rows, in few pieces."""
    changes = pc.xor(is_wanted.slice(1), is_wanted.slice(0, max(len(is_wanted) - 1, 0)))
    places = pc.add(pc.indices_nonzero(changes), 1).to_pylist()
    if len(places) > _MOST_CUTS:
        return rows.filter(is_wanted).combine_chunks()
    parts = [
        rows.slice(first, last - first)
        for first, last in pairwise((0, *places, len(rows)))
        if is_wanted[first].as_py()
    ]
    found = pa.concat_tables(parts)
    chunks = found.column(0).num_chunks
    return found.combine_chunks() if len(found) < _LARGE * chunks else found
