"""SQL over the lake of the settings (`auditsvc.fleet.ask`).

with run_fleet_query(settings, sql) as result: ...
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from auditsvc.fleet.ask import ask, parse
from auditsvc.fleet.lake import explained, open_table
from auditsvc.fleet.scan import Scan
from auditsvc.store.read.limits import NO_LIMITS
from auditsvc.store.read.time_span import ALL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.config import Settings
    from auditsvc.store.read.limits import Limits
    from auditsvc.store.read.result import Result
    from auditsvc.store.read.time_span import Span


@contextmanager
def run_fleet_query(
    settings: Settings, sql: str, limits: Limits = NO_LIMITS, period: Span = ALL
) -> Iterator[Result]:
    """Run one statement over the lake; QueryError, FleetError, ConfigError if there is none."""
    question = parse(sql, period)
    with explained(settings.fleet), ask(Scan(open_table(settings.fleet)), question, limits) as rows:
        yield rows


def place_of(settings: Settings) -> str:
    """Give the name of the lake, for the record of accesses."""
    return f"fleet {settings.fleet.catalog or ''} {settings.fleet.table}"
