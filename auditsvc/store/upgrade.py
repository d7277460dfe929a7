"""Runs Alembic's revisions (`auditsvc.migrations`) on an open connection."""

from __future__ import annotations

import threading
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Final

from alembic import command
from alembic.config import Config

if TYPE_CHECKING:
    from sqlalchemy import Connection

_ONE: Final = threading.Lock()
"""Alembic keeps what it works on in global names."""


def upgrade(connection: Connection, to: str) -> None:
    """Bring the schema to the revision `to`, within the connection's transaction."""
    with _ONE, as_file(files("auditsvc.migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, to)
