"""DuckDB for one query: limited in time and memory, and kept to the files that it may read.

    with engine(limits) as duck:
        ...make views...
        lock(duck, files, limits)
        result = answer(duck, question)

After `lock` no setting can be changed, nothing is written, and nothing but `files` is opened: no
other file and no address. An error of DuckDB or Arrow is a QueryError.

Who asks more than one question of one engine has each within its own limits:

    with opened() as duck:
        with running(duck, limits):
            ...
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import contextmanager, nullcontext
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pyarrow as pa

from auditsvc.errors import QueryError
from auditsvc.store.read.limits import stopped
from auditsvc.store.read.result import ONLY_READS, Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from auditsvc.arrow.question import Question
    from auditsvc.decode.batch import Row
    from auditsvc.store.read.limits import Limits

_MEMORY: Final = 1 << 30
_FETCH: Final = 2000
_AGAIN: Final = 0.1
"""Seconds between two interrupts of what goes on after its time."""


@contextmanager
def engine(limits: Limits) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give an engine with nothing in it, whose queries end at the time limit."""
    with opened() as duck, running(duck, limits):
        yield duck


@contextmanager
def opened() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give an engine with nothing in it, without limits."""
    duck = duckdb.connect(":memory:", config={"python_enable_replacements": "false"})
    try:
        duck.execute("SET TimeZone = 'UTC'")
        yield duck
    finally:
        duck.close()


@contextmanager
def running(duck: duckdb.DuckDBPyConnection, limits: Limits) -> Iterator[None]:
    """End what the engine does at the time limit, or when nobody waits for it any more."""
    late = limits.late()
    wake, is_over = threading.Event(), threading.Event()
    stop = nullcontext() if limits.stop is None else limits.stop.calling(wake.set)
    with stop:
        watching = threading.Thread(target=_watch, args=(duck, limits, wake, is_over), daemon=True)
        if limits.seconds or limits.stop is not None:
            watching.start()
        try:
            yield
        except duckdb.InterruptException as error:
            raise (stopped() if limits.is_stopped else late) from error
        except (duckdb.Error, pa.ArrowException) as error:
            raise QueryError(*_described(error)) from error
        finally:
            is_over.set()
            wake.set()
            if watching.ident is not None:
                watching.join()


def _watch(
    duck: duckdb.DuckDBPyConnection, limits: Limits, wake: threading.Event, is_over: threading.Event
) -> None:
    """Interrupt when it is time: again and again, as what is begun later is not."""
    wake.wait(limits.seconds or None)
    while not is_over.is_set():
        duck.interrupt()
        is_over.wait(_AGAIN)


def answer(duck: duckdb.DuckDBPyConnection, question: Question) -> Result:
    """Ask; gives the rows with values and names as SQLite has them."""
    cursor = duck.execute(question.text)
    columns = tuple(str(each[0]) for each in cursor.description or ())
    if not all(map(str.isidentifier, columns)):  # an expression without a name
        # With `*`, a join of several hosts has other columns than SQLite knows.
        headings = question.headings()
        columns = headings if len(headings) == len(columns) else columns
    return Result(columns, _rows(cursor))


def lock(
    duck: duckdb.DuckDBPyConnection,
    files: Iterable[str],
    limits: Limits,
    folders: Iterable[str] = (),
) -> None:
    """Set the limits, leave nothing but these files to be opened, and lock the settings.

    `folders`: with all that is in them.
    """
    within = ", ".join(quoted(f"{each}/") for each in folders)
    allowed = ", ".join(quoted(each) for each in sorted(set(files)))
    for statement in (
        f"SET memory_limit = '{max(limits.memory, _MEMORY)}B'",
        f"SET threads = {os.cpu_count() or 1}",
        "SET temp_directory = ''",
        # Arrow's files, as of a bucket, do not take the filters of a join.
        "SET disabled_optimizers = 'join_filter_pushdown'",
        "SET default_null_order = 'nulls_first_on_asc_last_on_desc'",
        "SET integer_division = true",
        "SET autoinstall_known_extensions = false",
        "SET autoload_known_extensions = false",
        "SET allow_community_extensions = false",
        f"SET allowed_paths = [{allowed}]",
        f"SET allowed_directories = [{within}]",
        "SET enable_external_access = false",
        "SET lock_configuration = true",
    ):
        duck.execute(statement)


def _rows(cursor: duckdb.DuckDBPyConnection) -> Iterator[Row]:
    while page := cursor.fetchmany(_FETCH):
        for row in page:
            yield tuple(_value(each) for each in row)


def _value(value: Any) -> Any:
    """Give a value as SQLite has it."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return json.dumps(value, default=str) if isinstance(value, list | dict | tuple) else value


def quoted(text: str) -> str:
    """Give a text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def _described(error: Exception) -> tuple[str, str]:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    refused = isinstance(error, duckdb.PermissionException | duckdb.InvalidInputException)
    return lines[0], ONLY_READS if refused else ""
