"""Events and answers as Apache Arrow; needs pyarrow (`pip install auditsvc[arrow]`).

    columns.py  the names and types of columns
    rows.py     rows of a view, from either database
    sqlite_rows.py   columns of SQLite's rows, by the native core
    json_rows.py     rows of PostgreSQL, by the JSON that it writes
    where.py    a condition with its values
    room.py     how many bytes of a column are in memory at once
    full_paths.py   the paths of names
    groups.py   which of some things are alike in all of some columns
    calls.py    calls as columns of their table, and what makes calls alike
    paths.py    the rows of `path` of calls, and the files that stories tell
    call_rows.py, path_rows.py, record_rows.py, story_rows.py   views: each value is asked but once
    view_rows.py  rows of any view
    events.py   whole events of a store, one wide row an event
    answer.py   the rows of a query
    files.py    Arrow and Parquet, written
    question.py a query in SQLite's SQL, read for DuckDB
    engine.py   DuckDB, limited and locked (needs duckdb too)
    reach.py    what a question asks for at most
    whole_events.py  whole events, where only views can be asked

Nothing that the service runs imports it; who offers it imports it by `use`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from auditsvc.errors import ConfigError

if TYPE_CHECKING:
    from types import ModuleType

_EXTRAS: Final = {
    "pyarrow": "arrow",
    "duckdb": "archive",
    "boto3": "fleet",
    "botocore": "fleet",
    "pyiceberg": "fleet",
}
"""Packages that come with an extra of ours."""


def use(module: str) -> ModuleType:
    """Import a module; ConfigError if a package that it needs is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name.startswith("auditsvc"):
            raise
        extra = _EXTRAS.get(name)
        way = f"pip install '{name}'"
        if extra:
            way = f"pip install 'auditsvc[{extra}]', or make deb EXTRAS={extra}"
        raise ConfigError(f"{name} is not installed", way) from error
