"""The lines of a spool, decoded again as the store's loader did, batch by batch.

    decoder = decoder_of(spool, secret, pins)
    for batch in batches(spool, decoder, start, end, fragments): ...

`Spool` says where the lines are and how they are decoded, `Start` where they begin.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from auditsvc.decode import make_decoder
from auditsvc.spool.reader import SpoolReader
from auditsvc.spool.segments import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from auditsvc.decode.batch import Batch, Row
    from auditsvc.decode.contract import Decoder
    from auditsvc.evidence.fragments import Fragments
    from auditsvc.evidence.head import Head
    from auditsvc.evidence.seal import Seal

_CHUNK: Final = 1 << 20
_BATCH: Final = 6 << 20


@dataclass(slots=True)
class Spool:
    """The spool, and how its lines are decoded."""

    directory: Path
    source: str
    """Its name as a source of the store."""
    identity: str
    host: str
    decoder: str | None
    trust_kernel_log: bool = False


@dataclass(slots=True)
class Start:
    """Where decoding begins: what is open there."""

    place: Place = field(default_factory=Place)
    pending: bytes = b""
    is_beginning: bool = True
    """Whether the store began there: then it has no rows but those of these lines."""
    is_cut: bool = False
    """Whether events may be open there that are not in `pending`."""
    head: Head | None = None
    """The last head that binds the store."""
    seal: Seal | None = None
    """What is known of the rows of all segments before; None if nothing is."""
    held: Mapping[int, int] = field(default_factory=dict)
    """Segments that are open (`auditsvc.spool.reader.held`), as they may be deleted meanwhile."""


def decoder_of(spool: Spool, secret: bytes, pins: Iterable[tuple[str, Row, int]]) -> Decoder:
    """Make one that gives the rows that the store's own loader did."""
    decoder = make_decoder(
        spool.decoder,
        secret=secret,
        host=spool.host,
        idle=1e9,
        trust_kernel_log=spool.trust_kernel_log,
    )
    for pin in pins:
        decoder.pin(*pin)
    return decoder


def batches(
    spool: Spool, decoder: Decoder, start: Start, end: Place, fragments: Fragments | None
) -> Iterator[Batch]:
    """Decode from a place to another; the last events may still be open there.

    `fragments` takes what is left of events that began before `start`; None if it has them all.
    """
    read = 0
    with SpoolReader(spool.directory, start.place, held=start.held) as reader:
        while (at := reader.place) < end:
            limit = _CHUNK
            if at.segment == end.segment:
                limit = min(limit, end.position - at.position)
            data = reader.read(limit)
            if not data:
                break
            if reader.place > end:  # it went on to the last segment
                data = data[: len(data) - reader.place.position + end.position]
            if fragments is not None:
                data = fragments.without(data)
            decoder.feed(data, 0.0)
            read += len(data)
            if read >= _BATCH or decoder.held * 2 >= _BATCH:
                batch = decoder.take()
                if batch.packed is not None:
                    batch.packed.pack()
                yield batch
                read = 0
    yield decoder.take()
