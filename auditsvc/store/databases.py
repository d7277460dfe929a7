"""The supported databases, by the URL's scheme.

Each has its own module; only the one in use is imported, as a driver needs tens of
milliseconds and megabytes.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from auditsvc.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

    from auditsvc.store.database import Database

_MODULES: Final = {"sqlite": "auditsvc.store.sqlite", "postgresql": "auditsvc.store.postgres"}
_HINT: Final = "give sqlite:////PATH or postgresql://USER@HOST/DATABASE"


def parse_url(url: str) -> URL:
    """Read sqlite:////PATH or postgresql://USER@HOST/DATABASE; ConfigError if it is neither."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        # The text may contain a password, so it is not shown.
        raise ConfigError("the store's URL cannot be read", _HINT) from error
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if parsed.query:
            raise ConfigError("the URL of an SQLite store takes no options", _HINT)
        return parsed
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigError(f"no store can be kept in {parsed.drivername}", _HINT)


def open_database(url: str, *, read: bool = False) -> Database:
    """Make the database of a URL; nothing is connected yet. `read`: for reading alone."""
    parsed = parse_url(url)
    module = import_module(_MODULES[parsed.get_backend_name()])
    make = cast("Callable[..., Database]", module.make_database)
    return make(parsed, read=read)


def sqlite_file(url: str) -> Path | None:
    """Give the file of an SQLite URL; None for another database, or a URL that cannot be read."""
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        return None
    if parts.get_backend_name() != "sqlite" or not parts.database:
        return None
    return Path(parts.database)


def place_of(url: str) -> str:
    """Give the store's name in messages, from its URL; ConfigError if the URL is not valid."""
    database = open_database(url)
    database.engine.dispose()
    return database.place
