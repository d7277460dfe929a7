"""A head: what a segment held up to a byte, in one line of JSON, signed with Ed25519.

    {"n": 7, "segment": 3, "end": 5120, "lines": 31, "chain": "...", "previous": "...", ...}

Each head has the digest of the one before it (`previous`), the public key that signed it (`key`)
and the one that will sign the next (`next`). A key signs one head. So whoever takes the key of
today can make heads from today on, but none of those before it.

The signature is over the line without `signature`, with its names in order and no spaces.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a segment held, and what was counted, when it was signed."""

    n: int
    """From 1, without gaps, over all segments of a spool."""
    spool: str
    """The spool's identity (`auditsvc.spool.identity`)."""
    host: str
    segment: int
    end: int
    """Bytes of the segment that are bound."""
    lines: int
    """Lines in them."""
    start: str
    """Value with which the chain of the segment before ended, hex; "" if it is not known."""
    chain: str
    """Value of the segment's chain at `end`, hex."""
    final: bool
    """Whether the segment ended there: no byte may follow."""
    clean: bool = False
    """Whether the service ended there by itself."""
    unseen: int
    """Bytes of the segment that were read from the disk before they had a head, after a crash or
    as they were old. All others were hashed as the service received them."""
    broken: str = ""
    """What was found altered when the service started, "" if nothing was."""
    synced: bool
    """Whether the bytes were on the disk when this was signed (spool.fsync is not "none")."""
    time: float
    """Seconds since 1970."""
    boot: str
    """Identity of the boot of the host."""
    first: str = ""
    """Stamp of the segment's first line: SECONDS.MILLISECONDS:SERIAL."""
    last: str = ""
    """Stamp of the last line before `end`."""
    kept_from: int
    """Segments before this one were deleted by retention."""
    counts: dict[str, int] = field(default_factory=dict)
    """The service's counts in its run: records, missing, dropped, kernel_lost."""
    store: dict[str, Any] = field(default_factory=dict)
    """The store's identity, schema, checkpoint and ledger, as the loader knew them last."""
    sealed: str = ""
    """Digest of the file with the digests of deleted segments' rows, hex; "" if there is none."""
    ended: str = ""
    """Digest of the last head of the segment before, hex; "" for the first segment."""
    previous: str
    """Digest of the head before, hex; "" for the first."""
    key: str
    next: str
    signature: str = ""
    version: int = VERSION

    def text(self) -> str:
        """Give the head as one line without a newline."""
        return _canonical(asdict(self))

    def digest(self) -> str:
        """Give the digest of the head with its signature, hex."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    def signed_text(self) -> bytes:
        """Give what is signed."""
        values = asdict(self)
        del values["signature"]
        return _canonical(values).encode()

    def is_signed(self) -> bool:
        """Whether the signature is that of `key`."""
        try:
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key))
            public.verify(bytes.fromhex(self.signature), self.signed_text())
        except (InvalidSignature, ValueError):
            return False
        return True


def signature_of(head: Head, key: Ed25519PrivateKey) -> str:
    """Sign a head; gives the signature, hex."""
    return key.sign(head.signed_text()).hex()


def link_problem(before: Head, head: Head) -> str:
    """Say why a head does not follow the one before it; "" if it does."""
    if head.spool != before.spool:
        return f"head {head.n} is of another spool"
    if head.n <= before.n:
        return f"head {head.n} follows head {before.n}"
    if head.n > before.n + 1:
        return f"heads {before.n + 1} to {head.n - 1} were removed"
    if head.previous != before.digest():
        return f"head {before.n} is another one than head {head.n} was signed after"
    if head.key != before.next and not head.broken:
        return f"head {head.n} is signed by another key than head {before.n} announced"
    return ""


def parse_head(line: str) -> Head:
    """Read a head as `Head.text` writes it; ValueError if it is none."""
    try:
        values = json.loads(line)
    except RecursionError:
        raise ValueError("not a head") from None
    if not isinstance(values, dict) or values.get("version") != VERSION:
        raise ValueError("not a head")
    types = {each.name: each.type for each in fields(Head)}
    if values.keys() != types.keys():
        raise ValueError("not a head")
    for name, value in values.items():
        expected = _TYPES[str(types[name]).partition("[")[0]]
        if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            raise ValueError(f"not a head: {name}")
    return Head(**values)


_TYPES: Final[dict[str, Any]] = {
    "int": int,
    "str": str,
    "bool": bool,
    "float": (int, float),
    "dict": dict,
}


def dropped_in(head: str) -> object:
    """Give what a head says that its host's retention deleted; None: nothing, or it is no head."""
    try:
        return parse_head(head).store.get("dropped")
    except ValueError:
        return None


def _canonical(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"))
