"""Follows the heads of the other spools of a store, from the first one that this host saw.

    pin, wrong = follow(pin, heads)                                # of one spool
    Peers(spool).advance(connection, identity, spools, days, now)  # by the service
    Peers(spool).judge(connection, identity, names)                # by `verify`

Each head names the key that signs the next one. So who has not that key cannot go on with the
chain of another host, and who makes one of his own keys has another head with a number that was
seen, or one that does not follow on it. What was seen of each spool is kept beside the heads, where
who can write to the store cannot:

    peers    JSON: by the store's identity and the spool, a pin; and when a day was first seen of
             which the store says that retention deleted it, and no head

Invariants: a pin goes on only along the chain, or over heads that the store had not kept any more,
which it remembers for ever (`Pin.gaps`). What is seen first stands as it was found.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import func, select

from auditsvc.errors import EvidenceError
from auditsvc.evidence.folder import KEPT, Folder, evidence_error
from auditsvc.evidence.head import link_problem, parse_head
from auditsvc.evidence.pruned_days import Claim, parse_claims
from auditsvc.host.files import read_file, replace_file
from auditsvc.store.schema import evidence_head, pruned_day

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from auditsvc.evidence.head import Head

_NAME: Final = "peers"
_MOST_GAPS: Final = 20
_AGAIN: Final = "delete the file: what the store has then stands as it was found"


@dataclass(frozen=True, slots=True)
class Pin:
    """The newest head of a spool that was followed."""

    n: int
    digest: str
    next: str
    """The key that signs the next one."""
    host: str
    keeps_all: bool
    """Whether the store has each head that follows: not of an older program, nor with
    `evidence.store` off."""
    dropped: str | None = None
    """What it says that its host's retention deleted; None: it says nothing (an older program)."""
    gaps: list[list[int]] = field(default_factory=list)
    """Heads that were never seen: the first and the last one."""


class Followed(NamedTuple):
    """What comes of following a chain."""

    pin: Pin | None
    wrong: str = ""
    """Why the heads are not those of the spool; "" if they may be."""


def follow(pin: Pin | None, heads: Sequence[Head]) -> Followed:
    """Follow the heads that a store has of one spool, in order."""
    if not heads:
        wrong = "" if pin is None else f"has no head any more, and had head {pin.n}"
        return Followed(pin, wrong)
    for head in heads:
        if not head.is_signed():
            return Followed(pin, f"has a head {head.n} that is not signed by its key")
    for before, head in pairwise(heads):
        if (before.n + 1 == head.n or head.n <= before.n) and (what := _unlike(before, head)):
            return Followed(pin, f"is another chain of keys: {what}")
    if pin is None:
        return Followed(_pin(heads[-1], []))
    at = {head.n: head for head in heads}
    if heads[-1].n < pin.n:
        return Followed(pin, f"ends with head {heads[-1].n}, and had head {pin.n}")
    if pin.n in at and at[pin.n].digest() != pin.digest:
        return Followed(pin, f"has another head {pin.n} than this host saw: it was made anew")
    return _go_on(pin, heads)


def _go_on(pin: Pin, heads: Sequence[Head]) -> Followed:
    """Follow the heads behind a pin."""
    now = pin
    for head in heads:
        if head.n <= now.n:
            continue
        gaps = now.gaps
        if head.n > now.n + 1:
            what = f"head {now.n + 1} to {head.n - 1}"
            # The store keeps so many of them: with fewer, or between others, they were deleted.
            is_trimmed = head is heads[0] and heads[-1].n - head.n + 1 >= KEPT
            if now.keeps_all and not is_trimmed:
                return Followed(now, f"has not {what} any more, which follow head {now.n}")
            gaps = [*gaps[-_MOST_GAPS:], [now.n + 1, head.n - 1]] if now.keeps_all else gaps
        elif head.key != now.next or head.previous != now.digest:
            what = f"head {head.n} does not follow head {now.n}, which this host saw"
            return Followed(now, f"is another chain of keys: {what}")
        now = _pin(head, gaps)
    return Followed(now)


def _unlike(before: Head, head: Head) -> str:
    if what := link_problem(before, head):
        return what
    return f"head {head.n} begins with new keys" if head.key != before.next else ""


def _pin(head: Head, gaps: list[list[int]]) -> Pin:
    dropped = head.store.get("dropped")
    keeps_all = dropped is not None and head.store.get("kept", True) is True
    said = None if dropped is None else str(dropped)
    return Pin(head.n, head.digest(), head.next, head.host, keeps_all, said, gaps)


@dataclass(slots=True)
class Judged:
    """What the heads of other spools say, and what is wrong with them."""

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    claims: list[tuple[str, Claim]] = field(default_factory=list)
    """Days that a host's retention deleted, as its chain says as far as it was followed."""
    silent: list[str] = field(default_factory=list)
    """Spools that may have pruned, and do not sign that, or whose chain has a gap."""
    first_seen: dict[int, int] = field(default_factory=dict)
    """When days were deleted, as the store says, or this host first saw that it alone says so."""

    def signers(self, day: int) -> list[str]:
        """Name the hosts that signed that they deleted a day."""
        return sorted({host for host, claim in self.claims if claim.has(day)})


class Peers:
    """What this host has seen of the other spools of its stores."""

    def __init__(self, spool: Path) -> None:
        self._path = Folder(spool).path / _NAME
        self._exists = Folder(spool).exists

    def advance(
        self,
        connection: Connection,
        identity: str,
        spools: Collection[str],
        unsaid: Collection[int],
        now: int,
    ) -> None:
        """Go on along each chain as far as it is true; EvidenceError.

        `unsaid`: days of which the store says that retention deleted them, and not this host's.
        """
        if not self._exists:
            return
        file = self._read()
        pins, seen = self._known(file, identity)
        for spool, n in _newest(connection, spools).items():
            if spool not in pins or pins[spool].n != n:
                followed = _follow_stored(connection, spool, pins.get(spool))
                if followed.pin is not None:
                    pins[spool] = followed.pin
        claims = [each for pin in pins.values() for each in parse_claims(pin.dropped)]
        unsigned = sorted(day for day in unsaid if not any(each.has(day) for each in claims))
        days = {str(day): seen.get(day, now) for day in unsigned}
        made = {"spools": {spool: asdict(pin) for spool, pin in pins.items()}, "days": days}
        if made != file.get(identity) and (pins or days):
            try:
                replace_file(self._path, json.dumps(file | {identity: made}) + "\n")
            except OSError as error:
                raise evidence_error(self._path, error) from error

    def judge(self, connection: Connection, identity: str, names: Mapping[str, str]) -> Judged:
        """Follow the chains once more, from what was seen; EvidenceError.

        `names`: the spools by their names as sources.
        """
        pins, seen = self._known(self._read(), identity)
        judged = Judged()
        said = connection.execute(select(pruned_day.c.day, pruned_day.c.at))
        judged.first_seen = {int(day): int(at) for day, at in said}
        judged.first_seen |= seen
        for name, spool in names.items():
            pin, wrong = _follow_stored(connection, spool, pins.get(spool))
            if wrong:
                host = f" of {pin.host}" if pin is not None else ""
                judged.findings.append(f"the spool {name}{host} {wrong}")
            if pin is None:
                judged.silent.append(name)
                continue
            judged.claims += ((pin.host, each) for each in parse_claims(pin.dropped))
            if pin.dropped is None or pin.gaps:
                judged.silent.append(name)
            judged.notes += _limits(name, pin)
        return judged

    def _read(self) -> dict[str, Any]:
        """Give what is in the file: what somebody altered there is not guessed at."""
        try:
            found = json.loads(read_file(self._path))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise evidence_error(self._path, error) from error
        except ValueError as error:
            raise self._damaged() from error
        if not isinstance(found, dict):
            raise self._damaged()
        return found

    def _known(
        self, file: Mapping[str, Any], identity: str
    ) -> tuple[dict[str, Pin], dict[int, int]]:
        """Give the pins of a store, and when days were first seen of which no head says it."""
        known = file.get(identity, {})
        try:
            pins = {spool: Pin(**values) for spool, values in known.get("spools", {}).items()}
            return pins, {int(day): int(at) for day, at in known.get("days", {}).items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise self._damaged() from error

    def _damaged(self) -> EvidenceError:
        return EvidenceError(f"{self._path} is not what was written", _AGAIN)


def _limits(name: str, pin: Pin) -> Iterator[str]:
    """Say of which part of a chain it is not known whether it was replaced."""
    for first, last in pin.gaps:
        yield (
            f"this host never saw heads {first} to {last} of the spool {name} of {pin.host}: only"
            " heads from elsewhere show whether its chain was replaced there"
        )
    if not pin.keeps_all:
        yield (
            f"the store has not all heads of the spool {name} of {pin.host} (an older auditsvc, or"
            " evidence.store is off there): whether its chain was replaced shows in part"
        )


def _newest(connection: Connection, spools: Collection[str]) -> dict[str, int]:
    table = evidence_head.c
    wanted = select(table.spool, func.max(table.n)).where(table.spool.in_(spools))
    return {str(spool): int(n) for spool, n in connection.execute(wanted.group_by(table.spool))}


def _follow_stored(connection: Connection, spool: str, pin: Pin | None) -> Followed:
    table, heads = evidence_head.c, []
    wanted = select(table.n, table.head).where(table.spool == spool).order_by(table.n)
    for n, text in connection.execute(wanted):
        try:
            head = parse_head(text)
        except ValueError:
            head = None
        if head is None or (head.spool, head.n) != (spool, n):
            return Followed(pin, f"has a row {n} in evidence_head that is none of its heads")
        heads.append(head)
    return follow(pin, heads)
