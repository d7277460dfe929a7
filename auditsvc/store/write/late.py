"""Records that were received apart from their SYSCALL -> the columns that they belong to.

The decoder keeps such a record as the fields of an event, or of a row of `record`: it did
not know the call. Once the two meet, a PATH becomes a row of `path`, a SOCKADDR one of
`sockaddr`, CWD and PROCTITLE columns of the context, EXECVE the arguments: all as if the
records had come together. A value in a column is never replaced: a record with another value
stays a row of `record`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.record import types
from auditsvc.record.fields import Field, parse_fields
from auditsvc.store import schema
from auditsvc.store.write.stored_event import RECORD, Event, Piece, is_arguments

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditsvc.decode.reference.dimensions import Dimensions
    from auditsvc.store.write.stored_event import Reader

LATE: Final = frozenset((types.PATH, types.SOCKADDR, types.CWD, types.EXECVE, types.PROCTITLE))
"""Types that have columns."""

_COLUMNS: Final[dict[object, tuple[bytes, str]]] = {
    types.CWD: (b"cwd", "cwd"),
    types.PROCTITLE: (b"proctitle", "title"),
}
"""Type -> the record's only field, and the column of `context` that it fills."""

_ITEM: Final = re.compile(rb"[0-9]{1,9}")
_ARGUMENT: Final = re.compile(rb"a([0-9]{1,9})(\[[0-9]{1,9}\])?")
_MOST_BYTES: Final = 1 << 22
"""Of texts that are read for one batch, which are in memory several times. Records beyond stay rows
of `record`."""


_AT_ONCE: Final = 200
"""Texts that are read by one statement."""


class Column(NamedTuple):
    """A record that is one field of the context."""

    name: str
    text: int


class Late:
    """Reads the fields of late records, and makes rows of them.

    `dimensions` collects the dimension rows that this needs.
    """

    def __init__(self, dimensions: Dimensions, read: Reader) -> None:
        self._dimensions = dimensions
        self._read = read
        self._texts: dict[int, tuple[str, bytes | None]] = {}
        self._bytes = 0
        self._values: tuple[int, Sequence[bytes]] | None = None
        """The list that was asked for last: all records of an event ask for its own."""

    def load(self, pieces: Iterable[Piece]) -> None:
        """Read the texts of records that have columns, all at once."""
        wanted = {
            fields
            for table, (number, *rest) in pieces
            if table == RECORD and number in LATE and isinstance(fields := rest[0], int)
        }
        self._load(wanted - self._texts.keys())

    def _load(self, wanted: Iterable[int]) -> None:
        missing = list(wanted)
        for start in range(0, len(missing), _AT_ONCE):
            if self._bytes > _MOST_BYTES:
                return
            for row in self._read(schema.text, "id", missing[start : start + _AT_ONCE]):
                text_id, value, raw = row
                assert isinstance(text_id, int)
                assert isinstance(value, str)
                data = bytes(raw) if isinstance(raw, bytes | memoryview) else None
                self._bytes += len(value) + len(data or b"")
                self._texts[text_id] = (value, data)

    def fields(self, piece: Piece) -> list[Field] | None:
        """Give the fields of a record as the decoder read them; None if they cannot be read."""
        number, text = piece.content
        assert isinstance(text, int)
        if text not in self._texts:
            self._load([text])
        if text not in self._texts:
            return None
        value, raw = self._texts[text]
        assert isinstance(number, int)
        return _fields_of(value) if raw is None else parse_fields(number, raw)

    def spread(self, piece: Piece, *, little_endian: bool) -> list[Piece]:
        """Give the rows that a record has beside its event: of `path`, `sockaddr`, `record`."""
        if piece.table != RECORD or piece.content[0] not in (types.PATH, types.SOCKADDR):
            return [piece]
        fields = self.fields(piece)
        if not fields:
            return [piece]
        first, rest = fields[0], fields[1:]
        if piece.content[0] == types.PATH:
            item = None
            if first.name == b"item" and first.value and _ITEM.fullmatch(first.value) and rest:
                item, fields = int(first.value), rest
            return [Piece("path", (item, self._dimensions.file_of(fields)))]
        if first.name != b"saddr" or first.value is None:
            return [piece]
        address = Piece(
            "sockaddr", (self._dimensions.address(first.value, little_endian=little_endian),)
        )
        return [address] if [field.name for field in rest] in ([], [b"SADDR"]) else [address, piece]

    def column(self, piece: Piece) -> Column | None:
        """Give the column of the context that is all that a CWD or PROCTITLE says."""
        if piece.table != RECORD or (known := _COLUMNS.get(piece.content[0])) is None:
            return None
        fields = self.fields(piece)
        if not fields or len(fields) != 1:
            return None
        name, value = fields[0]
        if name != known[0] or value is None:
            return None
        return Column(known[1], self._dimensions.text_of(name, value))

    def says_arguments(self, record: Piece, argv: object) -> bool:
        """Whether the arguments of an EXECVE record are among those of a list."""
        fields = self.fields(record)
        values = self._arguments(argv)
        if fields is None or values is None:
            return False
        return all(_is_among(field, values) for field in fields)

    def _arguments(self, argv: object) -> Sequence[bytes] | None:
        assert isinstance(argv, int)
        if self._values is not None and self._values[0] == argv:
            return self._values[1]
        if argv not in self._texts:
            self._load([argv])
        if argv not in self._texts:
            return None
        value, raw = self._texts[argv]
        values = [text.encode() for text in json.loads(value)] if raw is None else raw.split(b"\0")
        self._values = argv, values
        return values

    def join(self, event: Event) -> bool | None:
        """Make one argument list of an event's EXECVE records; gives whether it is complete.

        None if their fields cannot be read, or if there are none.
        """
        records = [piece for piece in event.pieces if is_arguments(piece)]
        if (joined := self._join(records)) is None:
            return None
        event.argv, complete = joined
        if complete:
            event.keep([piece for piece in event.pieces if not is_arguments(piece)])
        return complete

    def argv_of(self, records: Sequence[Piece]) -> int | None:
        """Id of the argument list that EXECVE records make; None if their fields cannot be read."""
        joined = self._join(records)
        return None if joined is None else joined[0]

    def _join(self, records: Sequence[Piece]) -> tuple[int, bool] | None:
        self.load(records)
        found = [self.fields(piece) for piece in records]
        if not found or None in found:
            return None
        return self._dimensions.argv_of(field for fields in found for field in fields or ())

    def context(self, row: Sequence[object], columns: dict[int, object]) -> tuple[object, ...]:
        """Give the row of a context with other columns."""
        content = list(row)
        for known, value in columns.items():
            content[known] = value
        dimensions = self._dimensions.row_id(schema.context.name, tuple(content[1:]))
        return (dimensions, *content[1:])


def _fields_of(text: str) -> list[Field]:
    """Undo `auditsvc.record.fields.to_json`, except for the position of a repeated name."""
    fields = []
    for name, value in json.loads(text).items():
        fields += [
            Field(name.encode(), None if each is None else each.encode())
            for each in (value if isinstance(value, list) else [value])
        ]
    return fields


def _is_among(field: Field, values: Sequence[bytes]) -> bool:
    match = _ARGUMENT.fullmatch(field.name)
    if match is None:
        return True  # argc, or a length
    known, value = int(match[1]), field.value or b""
    if known >= len(values):
        return False
    return value in values[known] if match[2] else value == values[known]
