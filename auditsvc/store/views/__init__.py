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
from auditsvc.store.views.files import connections, files
from auditsvc.store.views.logins import logins
from auditsvc.store.views.recorded import CONTEXT_IDS, RECORDED
from auditsvc.store.views.story import (
    all_events,
    facts_of_files,
    paths_of_files,
    story,
    story_of_calls,
    story_of_others,
)

__all__ = [
    "CONTEXT_IDS",
    "DIALECTS",
    "NAMES",
    "facts_of_files",
    "paths_of_files",
    "statements",
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
