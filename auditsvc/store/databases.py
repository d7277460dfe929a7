"""The supported databases, by the URL's scheme; a file's path as a URL, and back.

Each has its own module; only the one in use is imported, as a driver needs tens of
milliseconds and megabytes.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote, unquote_to_bytes

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from auditsvc.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

    from auditsvc.store.database import Database

_MODULES: Final = {"sqlite": "auditsvc.store.sqlite", "postgresql": "auditsvc.store.postgres"}
_FILE: Final = "sqlite:///"
_HINT: Final = "give sqlite:////PATH or postgresql://USER@HOST/DATABASE"


def parse_url(url: str) -> URL:
    """Read sqlite:////PATH or postgresql://USER@HOST/DATABASE; ConfigError if it is neither."""
    parsed = _any_url(url)
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return _sqlite_url(url, parsed)
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigError(f"no store can be kept in {parsed.drivername}", _HINT)


def _any_url(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError) as error:
        # The text may contain a password, so it is not shown.
        raise ConfigError("the store's URL cannot be read", _HINT) from error


def _sqlite_url(url: str, parsed: URL) -> URL:
    """Give the URL of a file as it is named, whose bytes need not be UTF-8."""
    if "?" in url:
        raise ConfigError(
            "the URL of an SQLite store takes no options", "a ? in the path is written %3F"
        )
    if parsed.host or parsed.username or parsed.port:
        # sqlite://var/x.db would be x.db, in whatever folder the program is in.
        raise ConfigError("the URL of an SQLite store has no host", _HINT)
    _, _, path = url.partition("://")
    name = os.fsdecode(unquote_to_bytes(os.fsencode(path.removeprefix("/"))))
    if name and not Path(name).name:
        raise ConfigError("the URL of the store names a folder", _HINT)
    if "\0" in name:
        raise ConfigError("the path of an SQLite store has a NUL byte", _HINT)
    return parsed.set(database=name)


def file_url(path: Path) -> str:
    """Give the URL of an SQLite store in a file, whatever its name is.

    In a URL `?` begins options, `#` and `%` have a meaning, and so the path is quoted.
    """
    return f"{_FILE}{quote(os.fsencode(path.absolute()))}"


def shown_url(url: str) -> str:
    """Give a store's URL as it is shown, without its password; ConfigError if it cannot be read.

    It may be of a database in which no store can be: a report that says so shows it.
    """
    parsed = _any_url(url)
    if parsed.drivername.partition("+")[0] == "sqlite":
        return url
    return parsed.render_as_string(hide_password=True)


def open_database(url: str, *, read: bool = False) -> Database:
    """Make the database of a URL; nothing is connected yet. `read`: for reading alone."""
    parsed = parse_url(url)
    module = import_module(_MODULES[parsed.get_backend_name()])
    make = cast("Callable[..., Database]", module.make_database)
    return make(parsed, read=read)


def sqlite_file(url: str) -> Path | None:
    """Give the file of an SQLite URL; None for another database, or a URL that cannot be read."""
    try:
        parts = parse_url(url)
    except ConfigError:
        return None
    if parts.get_backend_name() != "sqlite" or not parts.database:
        return None
    return Path(parts.database)


def place_of(url: str) -> str:
    """Give the store's name in messages, from its URL; ConfigError if the URL is not valid."""
    database = open_database(url)
    database.engine.dispose()
    return database.place
