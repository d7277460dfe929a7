"""Accesses to an SQLite store without its service: lines of a file beside it, loaded later.

Who may write there, as only root may by default, appends a line of JSON when an access begins
and one when it ends. The next program that writes to the store (`run`, `ingest`) puts the lines
into its tables and deletes the file. Both hold a lock on it meanwhile, so that no line is missed;
ids in the lines make sure that none is loaded twice. The file is refused if anybody else could
have written it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from auditsvc.access.entry import storable
from auditsvc.errors import StoreError
from auditsvc.host.files import open_file
from auditsvc.store.databases import parse_url
from auditsvc.store.schema import access_end, access_entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Table

    from auditsvc.decode.batch import Row
    from auditsvc.store import Store

_MOST: Final = 16 << 20
"""Bytes of the file: nobody may ever load it."""
_TRIES, _PAUSE = 20, 0.01
_TABLES: Final[dict[str, Table]] = {"entry": access_entry, "end": access_end}


def file_of(url: str) -> Path | None:
    """Give the file beside a store, None if it is not an SQLite store."""
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    path = Path(parsed.database).absolute()
    return path.with_name(f"{path.name}-access")


def append(file: Path, kind: str, values: Mapping[str, Any]) -> None:
    """Append the beginning ("entry") or the end ("end") of an access; OSError."""
    line = json.dumps([kind, dict(values)]).encode() + b"\n"
    with _locked(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as descriptor:
        size = os.fstat(descriptor).st_size
        if size + len(line) > _MOST:
            raise OSError(27, f"{file} is full: `auditsvc run` or `ingest` loads it", str(file))
        if os.write(descriptor, line) < len(line):  # a piece of a line would spoil the file
            os.ftruncate(descriptor, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))


def load(store: Store, url: str) -> str:
    """Put the lines of the file into the store and delete it; give what hinders that, or ""."""
    file = file_of(url)
    if file is None or not file.exists():
        return ""
    try:
        with _locked(file, os.O_RDWR) as descriptor:
            with os.fdopen(os.dup(descriptor), "rb") as stream:
                lines = stream.read(_MOST).splitlines()
            _insert(store, lines)
            file.unlink()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{file} is not loaded: {error.strerror}"
    except (StoreError, ValueError, KeyError, TypeError, OverflowError) as error:
        return f"{file} is not loaded: {error}"
    return ""


@contextmanager
def _locked(file: Path, flags: int) -> Iterator[int]:
    """Open the file with a lock on it; waits for a moment only. OSError."""
    for _ in range(_TRIES):
        descriptor = open_file(file, flags)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:  # else it was loaded meanwhile
                yield descriptor
                return
        except BlockingIOError:
            time.sleep(_PAUSE)
        finally:
            os.close(descriptor)
    raise OSError(11, "another program keeps it locked", str(file))


def _insert(store: Store, lines: list[bytes]) -> None:
    rows: dict[str, list[Row]] = {kind: [] for kind in _TABLES}
    for line in lines:
        kind, values = json.loads(line)
        if kind == "end":
            values["role"] = ""
        columns = _TABLES[kind].columns
        rows[kind].append(tuple(storable(values.get(each.name)) for each in columns))
    with store.database.begin(alone=True) as connection:
        for kind, table in _TABLES.items():
            if rows[kind]:
                store.database.insert_absent(connection, table, rows[kind])
