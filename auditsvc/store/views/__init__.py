"""The views for users of SQL, defined once for both databases.

`recorded` has the views of what the kernel and the service wrote, a row a record, with the
`Dialect` and the rules that hold for all; the other modules make views that speak of them:
`story` and the views of files, connections, logins, denials, commands and changes.
"""

from __future__ import annotations

from typing import Final

from auditsvc.store.views.changes import changes, commands
from auditsvc.store.views.denials import denials
from auditsvc.store.views.dialect import DIALECTS, with_arguments
from auditsvc.store.views.files import (
    OF_ROWS,
    TOLD,
    connections,
    files,
    files_of_calls,
    files_of_uring,
)
from auditsvc.store.views.logins import logins
from auditsvc.store.views.recorded import (
    CONTEXT_IDS,
    RECORDED,
    paths,
    records_of_others,
    records_of_paths,
    stored_paths,
)
from auditsvc.store.views.story import (
    IS_FOLDER,
    IS_NAMED,
    all_events,
    story,
    story_of_calls,
    story_of_others,
)

__all__ = [
    "CONTEXT_IDS",
    "DIALECTS",
    "IS_FOLDER",
    "IS_NAMED",
    "NAMES",
    "OF_ROWS",
    "TOLD",
    "files_of_calls",
    "files_of_uring",
    "paths",
    "records_of_others",
    "records_of_paths",
    "statements",
    "stored_paths",
    "story_of_calls",
    "story_of_others",
]

_VIEWS: Final = {
    **RECORDED,
    "story": story,
    "all_events": all_events,
    "files": files,
    "connections": connections,
    "logins": logins,
    "denials": denials,
    "commands": commands,
    "changes": changes,
}
NAMES: Final = tuple(_VIEWS)


def statements(dialect: str) -> list[str]:
    """Give the statements that make all views again, in order; `dialect` is SQLAlchemy's name."""
    d = DIALECTS[dialect]
    made = []
    for name, body in _VIEWS.items():
        # Views of others on ours (packaging/postgres-roles.sql) must not stop a newer program.
        drop = f"DROP VIEW IF EXISTS {name}{d.cascade}"
        made += [drop, f"CREATE VIEW {name} AS {with_arguments(d, body(d))}"]
    return made
