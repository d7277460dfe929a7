"""What heads bind of the store, and the store as a place for heads; by the loader's thread.

    side = StoreSide(source_name, spool, newest=lambda: courier.newest, every=30)
    loader = Loader(..., beside=side.step)
    notary.store = lambda: side.bound

Both in one transaction, between two commits: so checkpoint and ledger are those of one moment.
A store that is later put back to an older state, emptied or replaced, is not the one that the
last head was signed for.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import delete, select
from sqlalchemy import func as sql

from auditsvc.errors import EvidenceError
from auditsvc.evidence import origin_ranges, other_spools, pruned_days
from auditsvc.evidence.compare import DAY
from auditsvc.evidence.folder import KEPT, Folder
from auditsvc.evidence.head import dropped_in, parse_head
from auditsvc.evidence.other_spools import signed_hosts
from auditsvc.evidence.peers import Peers
from auditsvc.evidence.store_facts import bound, read_facts
from auditsvc.evidence.store_itself import noted
from auditsvc.store.schema import evidence_head

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sqlalchemy import Connection

    from auditsvc.evidence.head import Head
    from auditsvc.evidence.store_facts import StoreFacts
    from auditsvc.spool.segments import Place
    from auditsvc.store import Store

log = structlog.get_logger()


class StoreSide:
    """Reads what is bound, and stores heads."""

    def __init__(
        self,
        source: str,
        spool: Path,
        *,
        every: float,
        newest: Callable[[], str],
        keeps_heads: bool = True,
    ) -> None:
        """`source`: the name of `spool` as a source; `newest`: the head that is to be stored."""
        self.bound: dict[str, Any] = {}
        """What the next head binds; {} until the store was read."""
        self.began: Place | None = None
        """Where the store began to have this spool, if not at its beginning."""
        self._source = source
        self._spool = spool
        self._every = every
        self._newest = newest
        self._keeps_heads = keeps_heads
        self._had = self._begun = ""
        self._others: list[str] | None = None
        """Other spools that are noted, all of them; None if some may not be."""
        self._warned: set[str] = set()
        self._read_at = 0.0

    def step(self, store: Store, *, at_once: bool = False) -> None:
        """Do what is due; StoreError."""
        head = self._newest()
        if not self._keeps_heads and self._had and dropped_in(head) == dropped_in(self._had):
            head = self._had  # by one of a run others know the spool, and what it has pruned
        now = time.monotonic()
        is_due = at_once or not self.bound or now - self._read_at >= self._every
        if not is_due and head == self._had:
            return
        self._read_at = now
        with store.database.begin(alone=False) as connection:
            if head and head != self._had:
                _keep(connection, self._spool, parse_head(head))
            read = read_facts(connection, self._source, with_origins=False)
            is_noted = (read.identity, read.others) == (self._begun, self._others)
            hosts = {} if is_noted else signed_hosts(connection, read.others)
            unknown = [] if is_noted else origin_ranges.unknown_in(connection)
            with suppress(EvidenceError):
                self._follow(connection, read, int(time.time()))
        facts = bound(read)
        # What hinders this hinders signing, too, which is told; the next call tries again.
        with suppress(EvidenceError):
            if not is_noted:
                self._note(read, hosts)
                origin_ranges.begin(self._spool, read.identity, unknown)
            facts |= noted(self._spool, read.identity)
            facts["dropped"] = pruned_days.signed_claims(self._spool, read.identity, read.pruned)
            if not self._keeps_heads:
                facts["kept"] = False
        self._had = head
        if self.began is not None:
            facts["from"] = [self.began.segment, self.began.position]
        self.bound = facts

    def _follow(self, connection: Connection, read: StoreFacts, now: int) -> None:
        """Follow the heads of the other spools, and see which days no head says were pruned."""
        said = pruned_days.announced(self._spool, read.identity)
        if said is None or not read.others:
            return
        spools = other_spools.ids_of(read.others).values()
        unsaid = read.pruned.keys() - said
        Peers(self._spool).advance(connection, read.identity, spools, unsaid, now)

    def _note(self, read: StoreFacts, hosts: Mapping[str, str]) -> None:
        """Note beside the heads what the store says of pruned days and of other spools."""
        if read.identity != self._begun:
            pruned_days.begin(self._spool, read.identity, read.pruned)
        today = int(time.time()) // DAY
        noted, left = other_spools.note(self._spool, read.identity, hosts, read.others, today)
        for name in noted:
            log.warning("another spool loads into the store", spool=name, host=hosts.get(name))
        for name in set(left) - self._warned:
            log.warning("another spool loads into the store, and signs nothing", spool=name)
        self._warned.update(left)
        self._begun = read.identity
        self._others = None if left else read.others  # a first head may come yet


def _keep(connection: Connection, spool: Path, head: Head) -> None:
    """Keep a head, and those before it that the store has not: so others can follow the chain."""
    own = evidence_head.c.spool == head.spool
    newest = connection.scalar(select(sql.max(evidence_head.c.n)).where(own))
    if newest is not None and newest >= head.n:
        return
    heads = [head]
    if newest is not None:
        with suppress(EvidenceError):
            between = Folder(spool).between(newest, head.n)
            heads = [*(each for each in between if each.spool == head.spool), head]
    values = [{"spool": each.spool, "n": each.n, "head": each.text()} for each in heads]
    connection.execute(evidence_head.insert(), values)
    old = (
        select(evidence_head.c.n)
        .where(own)
        .order_by(evidence_head.c.n.desc())
        .offset(KEPT)
        .limit(1)
    )
    if (last := connection.scalar(old)) is not None:
        connection.execute(delete(evidence_head).where(own, evidence_head.c.n <= last))


def stored_heads(connection: Connection, spool: str) -> list[Head]:
    """Give the heads that a store has of a spool, in order; what is none is left out."""
    wanted = select(evidence_head.c.head).where(evidence_head.c.spool == spool)
    found = []
    for text in connection.scalars(wanted.order_by(evidence_head.c.n)):
        try:
            found.append(parse_head(text))
        except ValueError:
            continue
    return found
