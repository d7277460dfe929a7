"""Arrow and Parquet as bytes.

Arrow is the stream of the IPC format (https://arrow.apache.org/docs/format/Columnar.html), which
a reader takes from a pipe. Both are compressed by zstd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import ipc, parquet

from auditsvc.arrow.answer import table_of

if TYPE_CHECKING:
    from typing import BinaryIO

    from auditsvc.store.read.result import Result


def write_arrow(result: Result, out: BinaryIO) -> None:
    """Write the rows of an answer as a stream of Arrow."""
    table = table_of(result)
    options = ipc.IpcWriteOptions(compression="zstd")
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    out.write(sink.getvalue())


def write_parquet(result: Result, out: BinaryIO) -> None:
    """Write the rows of an answer as a Parquet file; `out` need not be a file."""
    sink = pa.BufferOutputStream()
    parquet.write_table(table_of(result), sink, compression="zstd")
    out.write(sink.getvalue())
