"""Has an access recorded, wherever that is possible, and never holds it up.

    with recording(settings, asked) as access:
        for row in access.counted(rows): ...

First the service of this host is told, if it runs. If its store is another than the one that is
asked, or if it does not run, the store itself gets the record: by INSERT on PostgreSQL, by the
file beside an SQLite store. `access.reason` says why there is none.
"""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from auditsvc.access import pending, tables
from auditsvc.access.entry import (
    DONE,
    FAILED,
    INTERRUPTED,
    MOST_OPTIONS,
    MOST_SQL,
    MOST_WORDS,
    Asked,
    Ended,
    bounded,
    this_reader,
)
from auditsvc.access.place import MOST_BYTES, address, new_socket, to_message
from auditsvc.errors import AuditsvcError, ConfigError, QueryError, of_system
from auditsvc.store.databases import open_database, place_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import Self

    from auditsvc.config import Settings
    from auditsvc.store.database import Database

_NOWHERE: Final = "no service runs here, and there is no store"
_SECONDS: Final = 2.0
"""How long a service that hangs may hold a question up; one on a busy host answers by then."""
T = TypeVar("T")


class Access:
    """One access that goes on; `how` it ended is said at its end."""

    def __init__(self) -> None:
        self.rows = 0
        """Rows that were given so far."""
        self.reason = ""
        """Why there is no record of it, "" if there is one."""

    def counted(self, rows: Iterable[T]) -> Iterator[T]:
        """Give the rows, and count them."""
        for row in rows:
            self.rows += 1
            yield row


@contextmanager
def recording(
    settings: Settings, command: str, options: str, sql: str | None, *, place: str | None = None
) -> Iterator[Access]:
    """Record that a command reads the store, and how it ended.

    `place`: what is read if it is not the store; then the service's word is enough, and the store
    of the settings, if there is one, gets the record where no service runs.

    QueryError, before anything is read, if `access.required` is set and there can be no record.
    """
    access = Access()
    asked = Asked(
        command,
        bounded(options, MOST_OPTIONS),
        None if sql is None else bounded(sql, MOST_SQL),
        bounded(_place(settings.store) if place is None else place, MOST_WORDS),
    )
    record = _Record(settings, asked, is_elsewhere=place is not None)
    access.reason = record.reason
    if access.reason and settings.access.required:
        record.close()
        raise QueryError(
            f"nothing is read, as it cannot be recorded: {access.reason}",
            "start the service, or set access.required = false",
        )
    how = INTERRUPTED
    try:
        yield access
        how = DONE
    except BrokenPipeError:
        how = DONE  # whoever read our output had enough
        raise
    except Exception as error:
        how = f"{FAILED}{_describe(error)}"
        raise
    finally:
        record.end(Ended(access.rows, bounded(how, MOST_WORDS)))


def _place(url: str) -> str:
    with suppress(ConfigError):  # which the command itself will meet
        return place_of(url)
    return ""


def _describe(error: Exception) -> str:
    if isinstance(error, AuditsvcError):
        return error.what
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


class _Record:
    """The record of one access, at the service or in the store."""

    def __init__(self, settings: Settings, asked: Asked, *, is_elsewhere: bool) -> None:
        self.reason = ""
        self._settings = settings
        self._is_elsewhere = is_elsewhere
        self._service = _Service.connect(settings.runtime_directory, asked)
        self._entry: int | None = None
        self._database: Database | None = None
        is_told = self._service is not None and (self._service.has_store or is_elsewhere)
        if not is_told:
            self._begin_in_store(asked)
        if self._service is not None and self._service.has_taken:
            self.reason = ""
        elif self._service is not None and self._entry is not None:
            # It may come to read this later, and would record the access a second time.
            self._service.close()
            self._service = None

    def _begin_in_store(self, asked: Asked) -> None:
        values = tables.entry_values(asked, this_reader(self._settings.host))
        self.reason = self._put("entry", values)
        if not self.reason:
            self._entry = values["id"]

    def end(self, ended: Ended) -> None:
        """Record the end; what hinders that is not worth a word of its own."""
        if self._service is not None:
            self._service.end(ended)
        if self._entry is not None:
            self._put("end", tables.end_values(self._entry, ended))
        self.close()

    def close(self) -> None:
        """Close what is open; an access that has no end then is left without."""
        if self._service is not None:
            self._service.close()
        if self._database is not None:
            self._database.engine.dispose()

    def _put(self, kind: str, values: dict[str, Any]) -> str:
        url = self._settings.store
        try:
            if (file := pending.file_of(url)) is not None:
                if not file.with_name(file.name.removesuffix("-access")).exists():
                    # There is no store: nothing is read of it.
                    return _NOWHERE if self._is_elsewhere else ""
                pending.append(file, kind, values)
                return ""
            self._database = self._database or open_database(url)
            insert = tables.insert_entry if kind == "entry" else tables.insert_end
            insert(self._database, values)
        except OSError as error:
            return of_system(error, url)
        except AuditsvcError as error:
            return error.what
        return ""


class _Service:
    """A running service that was told."""

    def __init__(
        self, connection: socket.socket, *, has_taken: bool = False, has_store: bool = False
    ) -> None:
        self._connection = connection
        self.has_taken = has_taken
        """Whether the record is written; a service that hangs may do it later."""
        self.has_store = has_store
        """Whether the store that is asked is the service's own."""

    @classmethod
    def connect(cls, directory: Path, asked: Asked) -> Self | None:
        """Tell the service; None if there is none, or if it does not take the record."""
        connection = new_socket()
        connection.settimeout(_SECONDS)
        try:
            with address(directory) as name:
                connection.connect(name)
            connection.send(to_message(asked.to_json()))
            # Until then it reads who we are, for which this process must live.
            answer = json.loads(connection.recv(MOST_BYTES))
            if answer["taken"] is True:
                return cls(connection, has_taken=True, has_store=answer["own"] is True)
        except TimeoutError:
            return cls(connection)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        connection.close()
        return None

    def end(self, ended: Ended) -> None:
        """Tell it how the access ended."""
        with suppress(OSError):
            self._connection.send(to_message({"rows": ended.rows, "how": ended.how}))
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
