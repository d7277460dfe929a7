"""The Python interface of the crate native/."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias, final

Row: TypeAlias = tuple[object, ...]

@final
class Drained:
    """The result of one `Drain.collect`."""

    @property
    def lines(self) -> bytes:
        """Spool lines, each with its newline."""
    @property
    def count(self) -> int:
        """Records in `lines`."""
    @property
    def others(self) -> list[tuple[int, bytes]]:
        """(type, payload) of messages whose type has no prefix: replies, AUDIT_REPLACE."""
    @property
    def overflows(self) -> int:
        """How often the socket reported lost messages (ENOBUFS, EFAULT), or one was truncated."""
    @property
    def forged(self) -> int:
        """Messages discarded because another process sent them, not the kernel."""
    @property
    def config_changes(self) -> int:
        """Records in `lines` about changed rules or settings (CONFIG_CHANGE)."""

@final
class Drain:
    """Reads a record socket; the interpreter lock is released while it waits, reads and formats."""

    place: tuple[int, int]
    """Segment and position in the spool behind which pending lines may be; set before a write."""

    def __new__(
        cls, fd: int, prefixes: Mapping[int, bytes], *, landing: int = -1, room: int = 0
    ) -> Drain:
        """`prefixes`: the beginning of the lines of each record type (`type=SYSCALL msg=`).

        `landing`: a file in memory of `room` bytes, in which records land; what a process that
        crashed left there is pending.
        """

    def pending(self) -> bytes:
        """Give the lines in the landing that were not taken."""

    def taken(self) -> None:
        """Forget the lines in the landing: they are in the spool."""

    def collect(
        self, *, max_bytes: int, pace: float, hold: float, timeout: float, wake_fd: int = -1
    ) -> Drained:
        """Wait up to `timeout` seconds for a record, then collect records for `hold` seconds.

        It repeats, until `hold` is over or there are `max_bytes` of lines: pause for at most
        `pace` seconds (less at a high input rate), and read all records that have arrived. It
        returns at once, with the records so far, when `wake_fd` can be read. OSError if the
        socket fails.
        """

@final
class LineChain:
    """The chain over lines, as `auditsvc.evidence.chain.LineChain` says."""

    def __new__(cls, start: bytes) -> LineChain: ...
    @property
    def lines(self) -> int: ...
    def update(self, data: bytes) -> None: ...
    def value(self) -> bytes: ...
    def take_tags(self) -> bytes: ...

@final
class RowSums:
    """Sums of the digests of rows, as `auditsvc.evidence.row_digest.RowDigests` makes them.

    What it does not know of the rows that a batch, or rows, refer to is told by `absent`, and has
    to be told by `learn` before they are added.
    """

    def __new__(cls) -> RowSums: ...
    def absent(self, batch: NativeBatch) -> list[tuple[str, list[int]]]:
        """Remember the dimension rows of a batch; give ids by table that are to be learned."""

    def absent_rows(
        self, table: str, rows: Sequence[Sequence[int | None]]
    ) -> list[tuple[str, list[int]]]:
        """Give ids by table that are to be learned, for rows of a table of facts."""

    def learn(self, table: str, digests: Sequence[tuple[int, bytes | None]]) -> None:
        """Tell digests (32 bytes) of a dimension's rows; None for one that is not stored."""

    def add(self, batch: NativeBatch, without: set[int]) -> None:
        """Add the facts of a batch, but for those of the events `without`."""

    def add_rows(self, table: str, rows: Sequence[Sequence[int | None]]) -> None:
        """Add rows of a table of facts, with all its columns."""

    def take(self) -> list[tuple[str, int, int, bytes]]:
        """Give table, day, rows and digest (big-endian) of what came since the last call."""

@final
class Decoder:
    """The decoder that `auditsvc.decode.native` adapts to `auditsvc.decode.contract.Decoder`."""

    def __new__(
        cls,
        secret: bytes,
        host: str,
        *,
        idle: float,
        max_open: int,
        record_types: Sequence[tuple[int, str]],
        trusts_kernel_log: bool,
    ) -> Decoder:
        """ValueError if the secret is too long.

        `record_types` is `auditsvc.tables.names.record_types()`.
        """
    @property
    def open_records(self) -> int:
        """Records that belong to events which have not ended."""
    @property
    def held(self) -> int:
        """Approximate size in bytes of the rows that `take` would give."""
    def feed(self, data: bytes, now: float) -> None: ...
    def expire(self, now: float) -> None: ...
    def finish(self) -> None: ...
    def take(
        self,
    ) -> tuple[NativeBatch, list[Row], list[tuple[int, bytes, str]], dict[str, int]]:
        """Give the rows, unknown record types, raw lines and counts of a Batch."""
    def pending(self) -> bytes: ...
    def restore(self, pending: bytes, now: float) -> None:
        """Restore the result of an earlier `pending`; ValueError if it is not valid."""
    def pin(self, table: str, content: Row, row_id: int) -> None: ...
    def forget(self) -> None: ...

@final
class NativeBatch:
    """Rows of a batch; `auditsvc.decode.batch` and `batch.PackedRows` say what is asked here."""

    @property
    def tables(self) -> tuple[list[str], list[str]]:
        """Names of the tables that have rows: of dimensions, of facts."""
    @property
    def events(self) -> int: ...
    def rows(self, table: str) -> list[Row]:
        """Give a table's rows as tuples."""
    @property
    def has_long(self) -> bool:
        """Whether a dimension row is too long for `image` and `copy`."""
    def piece(self, table: str, start: int, most: int) -> list[Row]:
        """Give a dimension table's rows from `start` on, until they have `most` bytes."""
    def weights(self, table: str) -> list[int]:
        """Give the number of records of each row's event; only of `syscall` and `event`."""
    def claimed(self) -> list[int]: ...
    def ids(self) -> list[int]: ...
    def lone_ids(self) -> list[int]: ...
    def span(self) -> tuple[int, int] | None: ...
    def has_call(self, ids: set[int]) -> bool: ...
    def numbers(self) -> set[int]: ...
    def pairs(self, numbers: set[int]) -> set[tuple[int, int]]: ...
    def uses(self) -> list[tuple[int, int, int, int]]: ...
    def activity(self) -> list[tuple[int, int, int, int, int, int]]: ...
    def firsts(self) -> list[tuple[int, int, int, int]]: ...
    def calls(
        self, pairs: set[tuple[int, int]]
    ) -> list[tuple[int, int, int, int, int, int, int | None, int | None]]: ...
    def events_of(self, number: int) -> list[tuple[int, int, int, int | None]]: ...
    def integers(self, table: str, column: int) -> set[int]: ...
    def image(self) -> bytes:
        """Make the SQLite image; the interpreter lock is released meanwhile."""
    def copy(self, table: str) -> bytes:
        """Make the COPY data of a table; empty if the table has no rows."""

class Columns:
    """Rows as columns in the form of Arrow; `kinds` has a letter for each column.

    `i`: integers of 64 bits, `t`: texts. ValueError for a value of another kind, OverflowError
    if the texts of a column have more than 1 GiB.
    """

    def __init__(self, kinds: str) -> None: ...
    def add(self, rows: list[tuple[object, ...]]) -> None:
        """Add rows; each has a value for each column, or None."""
    def take(self) -> tuple[int, list[tuple[int, list[bytes | None]]]]:
        """Take the columns of the rows so far.

        How many rows; for each column how many are NULL, and the buffers of an Arrow array:
        which are not NULL (None: all), then values, or ends and bytes of texts.
        """
