"""How far this host's events are in the fleet's inbox, told from settings and store alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from auditsvc.fleet.position import parse
from auditsvc.store import open_store
from auditsvc.store.arrivals import FLEET
from auditsvc.store.database import reading
from auditsvc.store.read.questions import lag
from auditsvc.store.schema import amended, consumer

if TYPE_CHECKING:
    from auditsvc.config import Settings


def make_report(settings: Settings) -> dict[str, Any]:
    """Give the facts for `status`; StoreError."""
    facts: dict[str, Any] = {"to": settings.fleet.bucket, "endpoint": settings.fleet.endpoint}
    if settings.fleet.bucket is None:
        return facts
    with (
        open_store(settings.store, create=False, read=True) as store,
        reading(store.database) as connection,
    ):
        note = connection.scalar(select(consumer.c.note).where(consumer.c.name == FLEET))
        again = connection.scalar(select(func.count()).select_from(amended))
    if note is None:
        return facts | {"batches": 0, "events": 0}
    state = parse(note)
    behind = lag(settings.store, FLEET)
    return facts | {
        "batches": state.n,
        "events": state.shipped,
        "made": state.made or None,
        "amended": again or 0,
        "waiting_transactions": 0 if behind is None else behind.arrivals,
        "lag_seconds": 0.0 if behind is None else round(behind.seconds, 1),
    }
