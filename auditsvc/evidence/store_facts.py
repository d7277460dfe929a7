"""What a store says of itself, read in one transaction: for heads, and to be verified."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text as sql

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.evidence import other_spools
from auditsvc.evidence.compare import DAY, key_of
from auditsvc.evidence.host_rows import rows_but
from auditsvc.evidence.id_ranges import IdRanges
from auditsvc.store import builtin
from auditsvc.store.migrate import current_revision
from auditsvc.store.origins import OWN
from auditsvc.store.schema import FACTS
from auditsvc.store.values import data, whole
from auditsvc.store.write import archived

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection

    from auditsvc.evidence.compare import Counts

_PERSON: Final = b"auditsvc store"
_SEGMENT: Final = re.compile("[0-9]{1,18}")


@dataclass(slots=True)
class StoreFacts:
    """What a store says of itself."""

    identity: str
    """As `auditsvc.ingest.known_store.identity_of` gives it."""
    schema: str
    secret: bytes
    checkpoint: tuple[int, int]
    """Segment and position up to which the spool was read; (0, 0) if it was not."""
    pending: bytes
    ledger: dict[str, int]
    source: int = 0
    """Id of the spool's source; 0 if there is none."""
    others: list[str] = field(default_factory=list)
    """Other spools of which it has records, by their names as sources."""
    sharing: dict[str, str | None] = field(default_factory=dict)
    """Of those the ones that are believed, with their host; None: it may be any."""
    origins: list[tuple[int, int, int | None]] = field(default_factory=list)
    """What it says came from elsewhere: the first and the last event, and the source's id."""
    foreign: IdRanges = field(default_factory=lambda: IdRanges([]))
    """Events that came from elsewhere, or of which the source is not known."""
    unknown: IdRanges = field(default_factory=lambda: IdRanges([]))
    """Of those the events whose source is not known."""
    old: IdRanges = field(default_factory=lambda: IdRanges([]))
    """Of those what an older program stored."""
    shared: IdRanges = field(default_factory=lambda: IdRanges([]))
    """Of those the others, single ones, of which a log and a spool gave parts."""
    archive: list[Any] = field(default_factory=list)
    """Number and digest of the last manifest of its archive; empty if it has none."""
    pruned: dict[int, int] = field(default_factory=dict)
    """Events that retention deleted, by day."""
    unsaid: frozenset[int] = frozenset()
    """Of these days the ones that no program of this host said it deleted: another host of the
    store may have."""

    def believe(
        self, ranges: Sequence[tuple[int, int, int | None]], old: Sequence[tuple[int, int]]
    ) -> None:
        """Believe these ranges of `origins`, in order, and no others."""
        self.origins = list(ranges)
        self.foreign = IdRanges([(low, high) for low, high, _ in ranges])
        unknown = [(low, high) for low, high, source in ranges if source is None]
        self.unknown, self.old = IdRanges(unknown), IdRanges(old)
        self.shared = IdRanges([each for each in unknown if each not in {*old}])


def identity_in(connection: Connection) -> str:
    """Give the store's identity."""
    key = builtin.secret(connection)
    return hashlib.blake2b(_PERSON, key=key, digest_size=16).hexdigest()


def read_facts(connection: Connection, source_name: str, *, with_origins: bool) -> StoreFacts:
    """Read them, as StoreError if they were damaged.

    `with_origins`: with what it says of the events that came from elsewhere.
    """
    secret = builtin.secret(connection)
    row = connection.execute(
        sql(
            "SELECT id, segment, position, pending FROM source WHERE kind = :kind AND name = :name"
        ),
        {"kind": OWN, "name": source_name},
    ).first()
    facts = StoreFacts(
        identity=hashlib.blake2b(_PERSON, key=secret, digest_size=16).hexdigest(),
        schema=current_revision(connection) or "",
        secret=secret,
        checkpoint=(0, 0),
        pending=b"",
        ledger={},
    )
    if row is not None:
        facts.source = row.id
        if _SEGMENT.fullmatch(str(row.segment)):
            facts.checkpoint = (int(row.segment), whole(row.position, "source.position"))
        facts.pending = data(row.pending, "source.pending")
        entries = sql("SELECT cause, count FROM ledger_entry WHERE source = :source")
        found = connection.execute(entries, {"source": row.id}).all()
        facts.ledger = {str(each[0]): whole(each[1], "ledger_entry.count") for each in found}
    facts.others = other_spools.names_in(connection, source_name)
    kept = archived.read(connection)
    facts.archive = [] if kept is None or not kept.n else [kept.n, kept.digest]
    facts.pruned = pruned_in(connection)
    if with_origins:
        _read_origins(connection, facts)
    return facts


def keep_days(connection: Connection) -> None:
    """Keep a transaction's days until it ends; to be called before its first query.

    On PostgreSQL a partition that is dropped is gone for transactions that began before, too.
    Who prunes does not wait for it, and deletes the rows instead.
    """
    if connection.dialect.name == "postgresql":
        names = ", ".join(table.name for table in FACTS)
        connection.exec_driver_sql(f"LOCK TABLE {names} IN ACCESS SHARE MODE")


def pruned_in(connection: Connection) -> dict[int, int]:
    """Give how many events retention deleted, by day, as the store says.

    Not the days of which only raw lines went: whose events are gone there, nobody deleted.
    """
    found = connection.execute(sql("SELECT day, events FROM pruned_day WHERE events <> 0"))
    return {int(each[0]): whole(each[1], "pruned_day.events") for each in found}


def bound(facts: StoreFacts) -> dict[str, Any]:
    """Give what a head binds of it."""
    archive = {"archive": facts.archive} if facts.archive else {}
    return archive | {
        "identity": facts.identity,
        "schema": facts.schema,
        "segment": facts.checkpoint[0],
        "position": facts.checkpoint[1],
        "ledger": dict(sorted(facts.ledger.items())),
    }


def _read_origins(connection: Connection, facts: StoreFacts) -> None:
    found = connection.execute(sql("SELECT low, high, source FROM origin ORDER BY low")).all()
    facts.origins = [
        (
            whole(low, "origin.low"),
            whole(high, "origin.high"),
            None if source is None else whole(source, "origin.source"),
        )
        for low, high, source in found
    ]


def count_own(connection: Connection, facts: StoreFacts, others: Collection[int]) -> Counts:
    """Count the rows that came from spools, by table and day; it reads all keys.

    `others`: hosts whose rows are left out.
    """
    counts: Counts = Counter()
    for table in FACTS:
        key = f"x.{key_of(table)}"
        day = f"({key} >> {SERIAL_BITS}) / {DAY}"
        statement = f"SELECT {day} AS day, count(*) {rows_but(table, others)}"
        for number, count in connection.execute(sql(f"{statement} GROUP BY 1")):
            counts[table.name, number] += count
        inside = sql(f"{statement} AND {key} BETWEEN :low AND :high GROUP BY 1")
        for low, high, _ in facts.origins:
            for number, count in connection.execute(inside, {"low": low, "high": high}):
                counts[table.name, number] -= count
    return counts
