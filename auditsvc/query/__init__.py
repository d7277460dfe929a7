"""SQL over the store: one statement, read-only by construction, rows one by one.

    with run_query(url, "SELECT * FROM syscalls LIMIT 3") as result:
        write_rows(result, Format.JSONL, sys.stdout)

SQLite: the file is opened read-only, and an authorizer refuses everything but
reading. PostgreSQL: a read-only transaction, and a cursor that the server
declares, which takes one SELECT (or VALUES, TABLE, WITH) and nothing else;
EXPLAIN goes through the extended protocol, which takes one statement. A role
that may only read keeps what a superuser's functions could do beside that.

Rows are never all in memory. Values are the driver's; `write_rows` writes times
as `YYYY-MM-DD HH:MM:SS.mmm` (UTC), bytes as hex, and JSON as JSON.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from auditsvc.errors import QueryError
from auditsvc.query.result import Result
from auditsvc.query.write import Format, write_rows
from auditsvc.store import parse_url

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Format", "Result", "run_query", "write_rows"]


@contextmanager
def run_query(url: str, sql: str) -> Iterator[Result]:
    """Run one statement and give its rows; QueryError says in one line what is wrong with it.

    StoreError if the store cannot be reached or is not there.
    """
    parsed = parse_url(url)
    if not sql.strip().rstrip(";").strip():
        raise QueryError("the SQL is empty", "try: SELECT * FROM syscalls LIMIT 10")
    # Each brings its driver, and one is enough.
    if parsed.get_backend_name() == "sqlite":
        from auditsvc.query.sqlite import run  # noqa: PLC0415
    else:
        from auditsvc.query.postgres import run  # noqa: PLC0415
    with run(parsed, sql) as result:
        yield result
