"""What the lake has of each host: by the watermarks and the names in the inbox, without a scan."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from auditsvc.errors import ConfigError, FleetError
from auditsvc.fleet.inbox import Inbox
from auditsvc.fleet.lake import Mark, open_table, watermarks
from auditsvc.fleet.names import batch_of

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from auditsvc.config import FleetSettings


_AHEAD: Final = 60.0
"""Seconds that a host's clock may be ahead of this one's."""


def make_report(
    settings: FleetSettings,
    *,
    silent: float,
    now: float | None = None,
    table: Table | None = None,
    must_look: bool = True,
) -> dict[str, Any]:
    """Give the facts; FleetError.

    Of each store: the last batch `n` in the table, its events, `lag_seconds` since the host made
    that batch, how many batches wait in the inbox, and what is wrong: `silent` if nothing newer
    than so many seconds is there, a clock that is ahead, a gap in the batches, a sum that does not
    add up.

    `table`: as it was loaded. Without `must_look` an inbox that cannot be looked into, as by a
    reader's key, is no error: then `unseen` says why, and what `waiting` counts is not known.
    """
    at = time.time() if now is None else now
    waiting: dict[tuple[str, str], list[int]] = {}
    foreign = 0
    unseen = ""
    try:
        names = list(Inbox(settings).names())
    except (ConfigError, FleetError) as error:
        if must_look:
            raise
        names, unseen = [], error.what
    for name in names:
        if (batch := batch_of(name)) is None:
            foreign += 1
        else:
            waiting.setdefault(batch[:2], []).append(batch[2])
    marks = watermarks(open_table(settings) if table is None else table)
    hosts = [
        {"host": key[0], "store": key[1]}
        | _of_store(marks.get(key, Mark()), sorted(waiting.get(key, [])), silent, at)
        for key in sorted(marks.keys() | waiting.keys())
    ]
    wrong = sum(bool(each["wrong"]) for each in hosts)
    return {
        "table": settings.table,
        "hosts": hosts,
        "events": sum(each["events"] for each in hosts),
        "waiting": sum(each["waiting"] for each in hosts),
        "foreign": foreign,
        "unseen": unseen,
        "well": not wrong,
        "verdict": f"{wrong} not well" if wrong else "all well",
    }


def _of_store(mark: Mark, waiting: list[int], silent: float, now: float) -> dict[str, Any]:
    lag = max(0.0, now - mark.made) if mark.made else None
    ahead = [n for n in waiting if n > mark.n]
    wrong = []
    if lag is not None and lag > silent:
        wrong.append("silent")
    if mark.made > now + _AHEAD:  # else it would be called silent only that much later
        wrong.append(f"its clock is {round(mark.made - now)} s ahead")
    if ahead and ahead[0] != mark.n + 1:
        wrong.append(f"batch {mark.n + 1} is missing")
    if ahead and ahead != list(range(ahead[0], ahead[0] + len(ahead))):
        wrong.append("the batches in the inbox have a gap")
    if mark.events != mark.told:
        wrong.append(f"{mark.told} events were shipped, and {mark.events} are there")
    return {
        "n": mark.n,
        "events": mark.events,
        "told": mark.told,
        "rows": mark.rows,
        "made": mark.made or None,
        "newest": None if mark.newest is None else mark.newest / 1000,
        "lag_seconds": None if lag is None else round(lag, 1),
        "waiting": len(ahead),
        "ledger": mark.ledger,
        "wrong": wrong,
    }
