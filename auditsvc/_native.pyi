"""What the crate native/ gives to Python."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias, final

Row: TypeAlias = tuple[object, ...]

@final
class Drained:
    """What one `Drain.collect` brought."""

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
        """Times that the socket said it had dropped messages (ENOBUFS), or that one was cut."""
    @property
    def forged(self) -> int:
        """Messages thrown away because another process sent them, not the kernel."""
    @property
    def config_changes(self) -> int:
        """Records in `lines` that tell of changed rules or settings (CONFIG_CHANGE)."""

@final
class Drain:
    """Empties a record socket; the interpreter lock is free while it waits, reads and formats."""

    def __new__(cls, fd: int, prefixes: Mapping[int, bytes]) -> Drain:
        """`prefixes` gives, by record type, how its lines begin (`type=SYSCALL msg=`)."""
    def collect(
        self, *, max_bytes: int, pace: float, hold: float, timeout: float, wake_fd: int = -1
    ) -> Drained:
        """Wait up to `timeout` seconds for a record; then take what comes for `hold` seconds.

        From the first record on it lets more gather for `pace` seconds (less while
        records pour in), takes all that is there, and so on until `hold` is over or
        there are `max_bytes` of lines. It comes back at once, with what is there, when
        `wake_fd` can be read. OSError where the socket fails.
        """

@final
class Decoder:
    """What `auditsvc.decode.native` makes an `auditsvc.decode.contract.Decoder` of."""

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
        """ValueError for a secret too long.

        `record_types` is `auditsvc.tables.names.record_types()`.
        """
    @property
    def open_records(self) -> int:
        """Records that belong to events which have not ended."""
    @property
    def held(self) -> int:
        """About how many bytes the rows hold that `take` would give."""
    def feed(self, data: bytes, now: float) -> None: ...
    def expire(self, now: float) -> None: ...
    def finish(self) -> None: ...
    def take(
        self,
    ) -> tuple[NativeBatch, list[Row], list[tuple[int, bytes, str]], dict[str, int]]:
        """Give rows, unknown record types, raw and counts of a Batch."""
    def pending(self) -> bytes: ...
    def restore(self, pending: bytes, now: float) -> None:
        """ValueError if it is not what `pending` gave."""
    def pin(self, table: str, content: Row, row_id: int) -> None: ...
    def forget(self) -> None: ...

@final
class NativeBatch:
    """Rows of a batch; `auditsvc.decode.batch` and `interface.Whole` say what is asked here."""

    @property
    def tables(self) -> tuple[list[str], list[str]]:
        """Names of the tables that have rows: of dimensions, of facts."""
    @property
    def events(self) -> int: ...
    def rows(self, table: str) -> list[Row]:
        """Give a table's rows as tuples."""
    def weights(self, table: str) -> list[int]:
        """Give the records in each row's event; none but for `syscall` and `event`."""
    def claimed(self) -> list[int]: ...
    def ids(self) -> list[int]: ...
    def lone_ids(self) -> list[int]: ...
    def span(self) -> tuple[int, int] | None: ...
    def has_call(self, ids: set[int]) -> bool: ...
    def numbers(self) -> set[int]: ...
    def pairs(self, numbers: set[int]) -> set[tuple[int, int]]: ...
    def integers(self, table: str, column: int) -> set[int]: ...
    def image(self) -> bytes:
        """Make it; the interpreter lock is free meanwhile."""
    def copy(self, table: str) -> bytes:
        """Make it; empty where the table has no rows."""
