"""From no store, or an older program's, to the schema of this program.

Alembic's revisions are in the package `auditsvc.migrations`. All of it happens
in one transaction that keeps every writer out, on both databases.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from auditsvc.errors import StoreError
from auditsvc.store import content

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from auditsvc.store.database import Database


def bring_up(database: Database, connection: Connection) -> tuple[str | None, str]:
    """Migrate and refresh; give the revision before (None: there was no store) and after.

    StoreError if the store was made by a newer program.
    """
    with as_file(files("auditsvc.migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        script = ScriptDirectory.from_config(config)
        head = script.get_current_head()
        assert head is not None
        empty = database.empty(connection)
        before = MigrationContext.configure(connection).get_current_revision()
        if before is not None and before not in {r.revision for r in script.walk_revisions()}:
            raise StoreError(
                f"the store {database.place} was made by a newer auditsvc (schema {before})",
                "install that version or a newer one",
            )
        if before != head:
            command.upgrade(config, "head")
    if empty:
        database.settle(connection)
    content.refresh(database, connection)
    return before, head
