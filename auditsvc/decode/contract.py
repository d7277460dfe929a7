"""The contract of a decoder: log lines in, rows of the star schema out.

A decoder does no I/O and never reads a clock: time comes in as an argument
(seconds, any monotonic origin), so that the same bytes give the same rows.

What must hold:

* Any split of a byte stream over `feed` calls gives the same rows in the same order.
* A fresh decoder that is given `pending()` through `restore`, and then the rest of
  the stream, gives the rows that the first one would have given.
* Every record that goes in is accounted for:
  received = stored + end + raw + open, where open is `open_records` (and what
  `restore` brought in counts as received).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from auditsvc.decode.batch import Batch, Row


IDLE: Final = 2.0
"""Seconds of arrival time after which an unfinished event ends."""

MAX_OPEN: Final = 4096
"""Events that may be open at once."""

# What a decoder counts. The first four and `open_records` balance (see above);
# all of them count records, but for `gap`, which counts serials.
COUNTS: Final = (
    "received",  # lines that are not blank
    "stored",  # records that are part of a row
    "end",  # EOE records: they end an event and hold nothing else
    "raw",  # lines kept as they are, because they are not records
    "gap",  # serials not seen; may fall again when a late one comes
    "kernel_lost",  # records the kernel gave up (its `lost`), as the collector noted them
    "told_lost",  # records that a kernel's log says it does not have
    "spool_lost",  # records the collector could not write
)


class Decoder(Protocol):
    """Turns log lines into rows."""

    name: str
    """`reference` or `native`, as `--version` shows it."""

    @property
    def open_records(self) -> int:
        """Records that belong to events which have not ended."""

    @property
    def held(self) -> int:
        """About how many bytes the rows hold that `take` would give, the same for all decoders."""

    def feed(self, data: bytes, now: float) -> None:
        """Take the next bytes of the stream, split anywhere."""

    def expire(self, now: float) -> None:
        """End the events of which nothing came for the idle time before `now`."""

    def finish(self) -> None:
        """End everything: no more input will come."""

    def take(self) -> Batch:
        """Hand over the rows made since the last call."""

    def pending(self) -> bytes:
        """Give what a restart needs, for `restore` alone to read.

        First lines `#gap SERIAL MILLISECONDS[ NODE]`, one a host, with the highest
        serial and time seen, and `#lost COUNT`, the last that a kernel's log told; then
        the lines of the open events in the order in which those were opened; `#rest` if
        what was read last belongs to a line that was cut; last the unfinished line.
        """

    def restore(self, pending: bytes, now: float) -> None:
        """Take `pending()` of an earlier decoder, without counting it as received."""

    def pin(self, table: str, content: Row, row_id: int) -> None:
        """Use `row_id` for the dimension row with this content from now on.

        `content` is the row without its id. The store calls this when the usual
        id already stands for other content.
        """

    def forget(self) -> None:
        """Empty the caches (pins stay): every dimension row is handed over again."""
