"""Finds what is wrong with a store as a whole, without a look at the lines of its events.

    for what in altered_objects(database, url, connection): ...
    for what in contradictions(connection, facts): ...
    for what in unlike_head(facts, head): ...
    for what in unlike_noted(spool, head): ...
    for what in wrong_ledger(facts, given, is_whole=True): ...

Each gives texts, as they stand in a report. Rows are held to their lines by
`auditsvc.evidence.rows`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from auditsvc.evidence import origin_ranges, other_spools, pruned_days
from auditsvc.evidence.compare import DAY
from auditsvc.evidence.derived_rows import wrong_signs, wrong_told
from auditsvc.evidence.store_findings import NAMED
from auditsvc.store import activity, builtin, file_counts
from auditsvc.store.databases import open_database
from auditsvc.store.read.events import second_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sqlalchemy import Connection

    from auditsvc.evidence.head import Head
    from auditsvc.evidence.store_facts import StoreFacts
    from auditsvc.store.database import Database

_OF_LINES: Final = ("received", "end", "raw", "kernel_lost", "spool_lost")
"""Causes of the ledger that lines alone decide."""
_NOTED: Final = {
    file.name: file for file in (pruned_days.FILE, other_spools.FILE, origin_ranges.FILE)
}
"""Files beside the heads, by their name in what a head binds."""


def altered_objects(database: Database, url: str, connection: Connection) -> Iterator[str]:
    """Say what of the tables, views, names and words is not as this program makes it."""
    for name in sorted(_strangers(database, url, connection)):
        yield f"the store holds what auditsvc did not make: {name}"
    for name in builtin.altered_names(connection):
        yield f"a name was altered: {name}"
    for word in builtin.altered_words(connection):
        yield f"the words for calls were altered: {word}"


def _strangers(database: Database, url: str, connection: Connection) -> list[str]:
    if connection.dialect.name != "postgresql":
        return database.strangers(connection, whole=True)
    # PostgreSQL has to make our views, for a moment, to compare them with those there.
    writing = open_database(url)
    try:
        with writing.begin(alone=False) as other:
            return writing.strangers(other, whole=True)
    finally:
        writing.engine.dispose()


def contradictions(connection: Connection, facts: StoreFacts) -> Iterator[str]:
    """Say what was counted or derived from stored events and does not follow from them."""
    for hour in activity.wrong_hours(connection)[:NAMED]:
        yield f"calls are counted wrong in the hour from {second_text(hour * 3600)} UTC"
    # Of days that went, and of one that is just going, some rows go before others.
    since = (max(facts.pruned, default=-1) + 1) * DAY * 1000
    yield from wrong_signs(connection, since)
    yield from wrong_told(connection, facts, since)
    for day in file_counts.wrong_days(connection)[:NAMED]:
        yield f"uses of files are counted wrong on {second_text(day * DAY)[:10]}"


def unlike_head(facts: StoreFacts, head: Head) -> Iterator[str]:
    """Say why it is not the store that a head binds, or has not all that it had then."""
    told = head.store
    if told.get("identity") != facts.identity:
        yield f"it is another store than head {head.n} was signed for"
        return
    place = (told.get("segment", 0), told.get("position", 0))
    if facts.checkpoint < place:
        yield (
            f"the store has lost rows: it ends at byte {facts.checkpoint[1]} of segment"
            f" {facts.checkpoint[0]}, and had byte {place[1]} of segment {place[0]} when"
            f" head {head.n} was signed"
        )
    if str(told.get("schema", "")) > facts.schema:
        yield f"the store has schema {facts.schema}, and had {told['schema']}"
    for cause in (*_OF_LINES, "stored", "duplicate"):
        before, now = told.get("ledger", {}).get(cause, 0), facts.ledger.get(cause, 0)
        if now < before:
            yield f"the ledger says {cause} {now}, and said {before} in head {head.n}"


def noted(spool: Path, identity: str) -> dict[str, list[int | str]]:
    """Give what a head binds of what was noted of a store beside the heads; EvidenceError."""
    return {name: [*file.digest(spool, identity)] for name, file in _NOTED.items()}


def unlike_noted(spool: Path, head: Head) -> Iterator[str]:
    """Say what of that is not as it was when a head was signed; EvidenceError."""
    for name, file in _NOTED.items():
        if name not in head.store:
            continue
        count, digest = head.store[name]
        if file.digest(spool, str(head.store.get("identity")), count) != (count, digest):
            yield f"the file {file.name} beside the heads is not as head {head.n} was signed for it"


def wrong_ledger(facts: StoreFacts, given: Mapping[str, int], *, is_whole: bool) -> Iterator[str]:
    """Compare what the ledger counts with what the lines give, and see that it adds up.

    `is_whole`: the lines are all that the store ever had.
    """
    ledger = Counter(facts.ledger)
    for cause in _OF_LINES:
        told, found = ledger[cause], given.get(cause, 0)
        if told < found or (is_whole and told != found):
            yield f"the ledger says {cause} {told}, and the lines give {found}"
    whole = sum(ledger[cause] for cause in ("stored", "end", "raw", "duplicate", "open"))
    if ledger["received"] != whole:
        yield f"the ledger does not add up: {ledger['received']} received, {whole} told"
