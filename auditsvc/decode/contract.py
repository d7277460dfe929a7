"""The contract of a decoder: log lines in, rows of the star schema out.

A decoder does no I/O and never reads a clock: the time is an argument (seconds from any
monotonic origin), so that the same bytes give the same rows.

Invariants:

* Any split of a byte stream over `feed` calls gives the same rows in the same order.
* A new decoder that gets `pending()` through `restore`, and then the rest of the stream,
  gives the rows that the first one would have given.
* Every record is accounted for: received = stored + end + raw + open, where open is
  `open_records` (and records from `restore` count as received).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from auditsvc.decode.batch import Batch, Row


IDLE: Final = 2.0
"""Seconds of arrival time after which an incomplete event ends."""

MAX_OPEN: Final = 4096
"""Events that may be open at once."""

# What a decoder counts. The first four and `open_records` balance (see above);
# all of them count records, but for `gap`, which counts serials.
COUNTS: Final = (
    "received",  # lines that are not blank
    "stored",  # records that are part of a row
    "end",  # EOE records: they end an event and have no other content
    "raw",  # lines that are kept raw, because they are not records
    "gap",  # serials not seen; can decrease when a late one arrives
    "kernel_lost",  # records the kernel lost (its `lost`), as the collector recorded them
    "told_lost",  # records that are missing in a kernel's log, as that log says
    "spool_lost",  # records the collector could not write
)


class Decoder(Protocol):
    """Turns log lines into rows."""

    name: str
    """`reference` or `native`, as shown by `--version`."""

    @property
    def open_records(self) -> int:
        """Records that belong to events which have not ended."""

    @property
    def held(self) -> int:
        """Approximate size in bytes of the rows that `take` would give; equal in all decoders."""

    def feed(self, data: bytes, now: float) -> None:
        """Decode the next bytes of the stream, which may be split anywhere."""

    def expire(self, now: float) -> None:
        """End the events without a new record during the idle time before `now`."""

    def finish(self) -> None:
        """End all events, at the end of the input."""

    def take(self) -> Batch:
        """Give the rows made since the last call."""

    def pending(self) -> bytes:
        """Give the state for a restart, to be read by `restore` only.

        First a line `#gap SERIAL MILLISECONDS[ NODE]` for each host, with the highest
        serial and time seen, and `#lost COUNT`, the last count in a kernel's log; then the
        lines of the open events in the order in which the events were opened; `#rest` if
        the last bytes belong to a line that was split; last the incomplete line.
        """

    def restore(self, pending: bytes, now: float) -> None:
        """Restore `pending()` of an earlier decoder, without counting it as received."""

    def pin(self, table: str, content: Row, row_id: int) -> None:
        """Use `row_id` for the dimension row with this content from now on.

        `content` is the row without its id. The store calls this when the usual id is
        already used for other content.
        """

    def forget(self) -> None:
        """Empty the caches (pins stay): every dimension row is given again."""
