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

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from auditsvc.decode.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Mapping

Row = tuple[object, ...]

# How an event ended, as the columns `state` hold it. Views show every code of
# PARTIAL and above as `partial`; the view `partials` gives the reason.
COMPLETE = 0
NO_EXIT = 1  # the task ended inside the call: no success=, no exit=
PARTIAL = 2  # codes from here on
TIMEOUT = 2  # nothing of it came for the idle time
EVICTED = 3  # too many events were open
END_OF_INPUT = 4  # the input ended first
DISPLACED = 5  # another SYSCALL came under the same node, time and serial
TRUNCATED = 6  # a record ended early (EXECVE with fewer arguments than argc)
ORPHAN = 7  # records whose SYSCALL never came

STATE_REASON = {
    TIMEOUT: "timeout",
    EVICTED: "evicted",
    END_OF_INPUT: "end of input",
    DISPLACED: "displaced",
    TRUNCATED: "truncated",
    ORPHAN: "orphan",
}

# What a decoder counts. The first four and `open_records` balance (see above);
# all of them count records, but for `gap`, which counts serials.
COUNTS = (
    "received",  # lines that are not blank
    "stored",  # records that are part of a row
    "end",  # EOE records: they end an event and hold nothing else
    "raw",  # lines kept as they are, because they are not records
    "gap",  # serials not seen; may fall again when a late one comes
    "kernel_lost",  # records the kernel gave up (its `lost`), as the collector noted them
    "told_lost",  # records that a kernel's log says it does not have
    "spool_lost",  # records the collector could not write
)


class Whole(Protocol):
    """The rows of a batch in forms that a database takes whole, dimensions and facts alike."""

    def pack(self) -> None:
        """Make the image now, in this thread, for whoever asks for it later."""

    def image(self) -> bytes:
        """Give an SQLite database that holds each table; the order of rows is the decoder's."""

    def copy(self, table: str) -> bytes:
        """Give a table's rows as PostgreSQL's binary COPY takes them; b"" if there are none."""

    def integers(self, table: str, column: int) -> set[int]:
        """Give the integers in a column (by place, not 0) of a dimension table."""


@dataclass(slots=True)
class Batch:
    """Rows for one transaction.

    `dimensions` and `facts` map a table's name to tuples in the order of that
    table's columns in `auditsvc.store.schema`. A dimension row comes at most
    once between two clears of the decoder's caches and always before, or in,
    the batch that first uses its id.
    `facts.weights` has the number of records in each row's event, so that a duplicate
    can be counted in records.
    `raw` holds (offset, line, reason): where the line began, in bytes from where
    the decoder's own input began (negative for a line that `restore` brought in).
    A run of NUL bytes is an empty line, with its length in the reason.
    `counts` holds all of COUNTS, counted since the last batch.
    `whole` has the same rows once more, where the decoder can give them so.
    A record type that the tables do not know comes as a row of `record_type` in
    `dimensions`.
    """

    dimensions: Mapping[str, list[Row]] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)
    raw: list[tuple[int, bytes, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    whole: Whole | None = field(default=None, compare=False)


# Bytes that rows count in `held`, beside their texts: about what a row takes in memory.
EVENT_SIZE = 200
CHILD_SIZE = 100  # a row of path, sockaddr, exec or record
ROW_SIZE = 100  # a dimension row, or a type that nobody knows
RAW_SIZE = 200


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
        the lines of the open events in the order in which
        those were opened; last the unfinished line.
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
