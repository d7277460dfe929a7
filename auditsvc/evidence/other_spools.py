"""The other spools that load into a store, as this host noted them: a file beside the heads.

    spools    one line for each: the store's identity, and a digest of the spool's name as a source,
              the day on which it was noted, and its host in hexadecimal digits (`?`: not known)

Rows of another host's spool have no line here, so who can write to a store could say that there is
another spool, and what he invents would be taken for its rows. So a spool is noted here as soon
as it is seen, if it signs: the store has heads of each spool, and a head names its host. `verify`
takes the store's word for no other spool, and lets none have rows of a host that it is not of.

What a store says before it is first seen here stands as it was found (`BEGINS`).
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import select
from sqlalchemy import text as sql

from auditsvc.evidence.beside_file import BEGINS, BesideFile
from auditsvc.evidence.head import parse_head
from auditsvc.store.origins import OWN
from auditsvc.store.partitions import date_of
from auditsvc.store.schema import evidence_head

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sqlalchemy import Connection

    from auditsvc.evidence.head import Head

FILE: Final = BesideFile("spools")
_NAMED: Final = re.compile(r".*#([0-9a-f]{16})", re.DOTALL)
_WORD: Final = re.compile(r"([0-9a-f]{32}):([0-9-]+):(\?|(?:[0-9a-f]{2})*)")
_NEWEST: Final = 3
"""Heads of a spool that are looked at."""


class Noted(NamedTuple):
    """What is noted of another spool."""

    since: str
    """Day, UTC."""
    host: str | None
    """None: it may be of any."""


def names_in(connection: Connection, own: str) -> list[str]:
    """Give the other spools of which the store has records, by their names as sources."""
    found = connection.scalars(
        sql(
            "SELECT name FROM source WHERE kind = :kind AND segment <> '' AND name <> :own"
            " ORDER BY name"
        ),
        {"kind": OWN, "own": own},
    )
    return [str(each) for each in found]


def ids_of(names: Iterable[str]) -> dict[str, str]:
    """Give the identities of spools by their names as sources."""
    found = {name: _NAMED.fullmatch(name) for name in names}
    return {name: each[1] for name, each in found.items() if each}


def signed_hosts(connection: Connection, names: Iterable[str]) -> dict[str, str]:
    """Give the hosts of those spools of which the store has a signed head."""
    hosts = {}
    for name, spool in ids_of(names).items():
        wanted = select(evidence_head.c.head).where(evidence_head.c.spool == spool)
        for text in connection.scalars(wanted.order_by(evidence_head.c.n.desc()).limit(_NEWEST)):
            head = _parsed(text)
            if head is not None and head.spool == spool and head.is_signed():
                hosts[name] = head.host
                break
    return hosts


def note(
    spool: Path, identity: str, hosts: Mapping[str, str], names: Iterable[str], day: int
) -> tuple[list[str], list[str]]:
    """Note spools that a store has; gives those that are new, and those that are left out.

    When the store is first seen all are noted; later those of which a host is known, as they
    sign. `day`: since 1970. EvidenceError.
    """
    noted = noted_in(spool, identity)
    new = [each for each in names if noted is None or _digest(each) not in noted]
    told = [each for each in new if noted is None or each in hosts]
    words = [_word(each, day, hosts.get(each)) for each in told]
    if noted is None:
        words.append(BEGINS)
    if words:
        FILE.append(spool, identity, words)
    return told, [each for each in new if each not in told]


def noted_in(spool: Path, identity: str) -> dict[str, Noted] | None:
    """Give what is noted of a store, by the digest of a spool's name; None if it was never seen.

    EvidenceError.
    """
    words = FILE.words(spool, identity)
    if BEGINS not in words:
        return None
    noted: dict[str, Noted] = {}
    for found in filter(None, map(_WORD.fullmatch, words)):
        host = None if found[3] == "?" else bytes.fromhex(found[3]).decode(errors="replace")
        noted.setdefault(found[1], Noted(found[2], host))
    return noted


class Judged(NamedTuple):
    """What is believed of the other spools of a store."""

    sharing: dict[str, str | None]
    """Those that may have rows, with their host; None: it may be any."""
    fresh: list[str]
    """Of those the ones that were not noted yet, and sign."""
    strangers: list[str]
    """All others: nobody noted them, and they have signed nothing."""


def judge(connection: Connection, spool: Path, identity: str, names: Iterable[str]) -> Judged:
    """Compare the spools that a store says it has with those that were noted. EvidenceError."""
    noted = noted_in(spool, identity)
    if noted is None:
        return Judged(dict.fromkeys(names), [], [])
    judged = Judged({}, [], [])
    unknown = []
    for name in names:
        if (found := noted.get(_digest(name))) is None:
            unknown.append(name)
        else:
            judged.sharing[name] = found.host
    hosts = signed_hosts(connection, unknown)
    judged.sharing.update(hosts)
    judged.fresh.extend(hosts)
    judged.strangers.extend(each for each in unknown if each not in hosts)
    return judged


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode(errors="replace")).hexdigest()[:32]


def _word(name: str, day: int, host: str | None) -> str:
    shown = "?" if host is None else host.encode(errors="replace").hex()
    return f"{_digest(name)}:{date_of(day)}:{shown}"


def _parsed(text: str) -> Head | None:
    try:
        return parse_head(text)
    except ValueError:
        return None
