"""Where processes were: systemd unit, session and container, as our service recorded it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.store.read.process_details import lives_with_ends
from auditsvc.store.sign_sql import keyed, listed
from auditsvc.store.views.cgroups import place

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from auditsvc.store.read.processes import Begun

_TOLD: Final = f"SELECT j.a, j.b, j.c, {place('j.a', 'j.b', 'j.d')} FROM {{listed}}"  # noqa: S608 - ours
_FIELDS: Final = (
    "SELECT e.id, t.value FROM {listed} JOIN event e ON e.id = j.value"
    " JOIN text t ON t.id = e.fields"
)


class Place(NamedTuple):
    """What its control group says; `container`: its id. None: not known, or it is in none."""

    unit: str | None
    container: str | None
    container_name: str | None


def places(connection: Connection, lives: Collection[Begun]) -> dict[Begun, Place]:
    """Give the last known place of each life that has one; all lookups are made together."""
    windows = [
        (host, pid, at, end - 1) for host, pid, at, end in lives_with_ends(connection, lives)
    ]
    told = {tuple(row[:3]): row[3] for row in keyed(connection, _TOLD, windows) if row[3]}
    fields = {row[0]: json.loads(row[1]) for row in listed(connection, _FIELDS, set(told.values()))}
    return {
        life: Place(*(_text(known.get(name)) for name in ("unit", "container", "name")))
        for life in lives
        if (known := fields.get(told.get(life[:3]))) is not None
    }


def _text(value: object) -> str | None:
    return None if value in (None, "") else str(value)
