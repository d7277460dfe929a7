"""Whether the threads that collect and load go on: only then systemd's watchdog is fed.

The collector comes round at least once a second, unless its disk stands still. The loader does
so too, except while it waits for the store: a store that does not answer is no reason to end a
service that collects, and is said elsewhere (`Loader.store_error`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from auditsvc.service.wiring import Parts

STILL_SECONDS: Final = 60.0
"""After so long without coming round, a thread stands still; more than a retry of the store."""


def standing_still(parts: Parts, now: float) -> str:
    """Name the thread that does not go on at a time (monotonic); "" if all do."""
    collector, loader = parts.collector, parts.loader
    if collector is not None and collector.is_alive() and now - collector.beat > STILL_SECONDS:
        return "collector"
    if loader is None or not loader.is_alive() or loader.asks:
        return ""
    return "loader" if now - loader.beat > STILL_SECONDS else ""
