"""What a question asks for at most: what is outside of it need not be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Self

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.read.time_span import ALL, Span

if TYPE_CHECKING:
    from collections.abc import Iterable


class Reach(NamedTuple):
    """The seconds of its events, and their host; None: that of whichever."""

    span: Span = ALL
    host: str | None = None

    @classmethod
    def of_ids(cls, ids: Iterable[int], hosts: Iterable[str | None] = (None,)) -> Self:
        """Give that of some events by their ids; `hosts`: theirs, which count if they are one."""
        known, one = sorted(ids), set(hosts)
        span = Span(known[0] >> SERIAL_BITS, known[-1] >> SERIAL_BITS)
        return cls(span, one.pop() if len(one) == 1 else None)


EVERYTHING: Final = Reach()
