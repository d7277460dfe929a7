"""Tells what auditd's ENRICHED format adds to a record apart from the record itself.

auditd (format_enrich() of auditd-event.c) appends to a record, behind a 0x1d, what the fields
of these kinds mean, each under the field's name in capitals: ids of users and groups (AUID,
OUID, OLD-AUID, ...), ARCH, SYSCALL and SADDR. So a record with these names and the same record
without them are one record:

    names = Names(read, secret)
    names.load(pieces, extras)                # all at once; what is not loaded is read singly
    names.key(piece) == names.key(other)      # equal but for names
    names.says_more(piece, other)             # `other` has the names of `piece`, and more

A name counts only beside the field that it belongs to: a record of user space may have any
words in capitals.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.decode.ids import content_digest, dimension_id
from auditsvc.record import types
from auditsvc.record.fields import ACCOUNTS, ENRICHED, RELAYED, Field, parse_fields, to_json
from auditsvc.store import schema
from auditsvc.store.write.stored_event import RECORD, Piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from auditsvc.decode.batch import Row
    from auditsvc.store.write.stored_event import Reader

OF_CALL: Final = 0
"""Kind of a text: the `extra` of a call's context. The others are types of records."""
OF_FILE: Final = -1
"""The `extra` of a file."""

_NAME: Final = re.compile(r"(?:[A-Z_-]*[UG]ID|ID|ARCH|SYSCALL|SADDR)")
_MAY_HAVE: Final = re.compile(rf'"{_NAME.pattern}":')
# Names one after the other, behind a separator; programs that relay lines write it in their own
# ways, and some drop it.
_FIELD: Final = rb'=(?:"[^"]*"|\{ [^}\x1d]*\}|[^" \x1d]*)'
_WORD: Final = rb"(?:%b)" % ENRICHED
_GLUED: Final = rb"(?<=[^ \x1d])(?:%b|ARCH|SYSCALL|SADDR)" % ACCOUNTS
_RUN: Final = re.compile(
    rb"(?:(?:\x1d|%b)%b|%b)%b(?: %b%b)* *" % (RELAYED, _WORD, _GLUED, _FIELD, _WORD, _FIELD)
)
_TO_BRACE: Final = re.compile(rb"([^}\x1d]+)(\}?)")
_EXTRA: Final = schema.file.columns.keys().index("extra")
_IN_CONTEXT: Final = schema.context.columns.keys().index("extra")
_COLUMNS: Final = {
    OF_CALL: frozenset(schema.context.columns.keys()) | {"syscall"},
    OF_FILE: frozenset(schema.file.columns.keys()),
}
"""Fields that are not in the `extra` beside which they stand."""
_AT_ONCE: Final = 200
"""Texts that are read by one statement."""

Given = frozenset[tuple[str, int, object]]
"""Names, each with its number among equal ones, and what it says."""


class _Text(NamedTuple):
    """A text without its names."""

    key: bytes | None
    """Digest of what is left; None if nothing is."""
    plain: int | None
    """Id that a text of what is left has."""
    names: Given = frozenset()


_NOTHING: Final = _Text(None, None)


class Names:
    """Compares records without the names in them."""

    def __init__(
        self, read: Reader, secret: bytes, unwritten: Mapping[str, Sequence[Row]] | None = None
    ) -> None:
        """`unwritten`: dimension rows by table that are not in the store yet; it may grow."""
        self._read = read
        self._secret = secret
        self._unwritten = _Unwritten({} if unwritten is None else unwritten)
        self._texts: dict[tuple[int, int], _Text] = {}
        self._files: dict[int, Row] = {}

    def load(self, pieces: Iterable[Piece], extras: Iterable[object] = ()) -> None:
        """Read what these records, and these texts of contexts, refer to."""
        wanted = {(OF_CALL, each) for each in extras if isinstance(each, int)}
        files = set()
        for piece in pieces:
            if piece.table == RECORD:
                wanted.add(_number_and_text(piece))
            elif piece.table == schema.path.name:
                files.add(_id(piece.content[1]))
        # One by one: to subtract all keys takes as long as there are keys.
        for file in self._load_files([each for each in files if each not in self._files]):
            if isinstance(extra := file[_EXTRA], int):
                wanted.add((OF_FILE, extra))
        self._load_texts([each for each in wanted if each not in self._texts])

    def key(self, piece: Piece) -> tuple[object, ...]:
        """Give what two copies of a record have in common, whatever names they have."""
        if piece.table == RECORD:
            return RECORD, piece.content[0], self._of(*_number_and_text(piece)).key
        if piece.table == schema.path.name:
            file = self._file(piece)
            return piece.table, piece.content[0], *file[1:_EXTRA], self._of_file(file).key
        return piece.table, *piece.content

    def says_more(self, piece: Piece, other: Piece) -> bool:
        """Whether `other`, a copy of `piece`, has all names of it, and more."""
        return self._given(piece) < self._given(other)

    def extra_says_more(self, extra: object, other: object) -> bool:
        """Do the same for the `extra` of two contexts."""
        return self._of(OF_CALL, extra).names < self._of(OF_CALL, other).names

    def plain(self, piece: Piece) -> Piece:
        """Give a record as it is without names, with the ids that its rows would have."""
        if piece.table == RECORD:
            number, text = _number_and_text(piece)
            return Piece(RECORD, (number, self._of(number, text).plain))
        if piece.table == schema.path.name and self._of_file(file := self._file(piece)).names:
            content = (*file[1:_EXTRA], self._of_file(file).plain)
            plain = dimension_id(self._secret, schema.file.name, content)
            return Piece(piece.table, (piece.content[0], plain))
        return piece

    def plain_extra(self, extra: object) -> int | None:
        """Give the id that the `extra` of a context has without names."""
        return self._of(OF_CALL, extra).plain

    def plain_context(self, row: Row) -> Row:
        """Give a context as it is without names, with the id that it would have."""
        known = self._of(OF_CALL, row[_IN_CONTEXT])
        if not known.names:
            return row
        content = (*row[1:_IN_CONTEXT], known.plain)
        return dimension_id(self._secret, schema.context.name, content), *content

    # --- reading ----------------------------------------------------------------------

    def _given(self, piece: Piece) -> Given:
        if piece.table == RECORD:
            return self._of(*_number_and_text(piece)).names
        if piece.table == schema.path.name:
            return self._of_file(self._file(piece)).names
        return frozenset()

    def _of_file(self, file: Row) -> _Text:
        return self._of(OF_FILE, file[_EXTRA])

    def _of(self, kind: int, text: object) -> _Text:
        if text is None:
            return _NOTHING
        known = (kind, _id(text))
        if known not in self._texts:
            self._load_texts([known])
        # One that is not in the store (it was altered) is equal to itself alone.
        return self._texts.setdefault(known, _Text(b"%d" % known[1], known[1]))

    def _file(self, piece: Piece) -> Row:
        file = _id(piece.content[1])
        if file not in self._files:
            self._load_files([file])
        return self._files.setdefault(file, (file, *[None] * _EXTRA))

    def _load_files(self, wanted: Iterable[int]) -> Sequence[Row]:
        found, ids = self._unwritten.find(schema.file.name, wanted)
        found += self._read(schema.file, "id", ids) if ids else ()
        self._files.update({_id(row[0]): row for row in found})
        return found

    def _load_texts(self, wanted: Iterable[tuple[int, int]]) -> None:
        kinds: dict[int, list[int]] = {}
        for kind, text in wanted:
            kinds.setdefault(text, []).append(kind)
        found, ids = self._unwritten.find(schema.text.name, kinds)
        for start in range(0, len(ids) or 1, _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            for row in (*found, *(self._read(schema.text, "id", some) if some else ())):
                text, value, raw = _id(row[0]), str(row[1]), row[2]
                data = None if raw is None else bytes(raw)  # type: ignore[call-overload]
                for kind in kinds[text]:
                    self._texts[kind, text] = self._without_names(kind, text, value, data)
            found = []

    def _without_names(self, kind: int, text: int, value: str, raw: bytes | None) -> _Text:
        names: Given = frozenset()
        if _MAY_HAVE.search(value):
            names = _names(kind, json.loads(value))
        if not names:
            return _Text(content_digest((value, raw)), text)
        left = _left(kind, value, raw, {name for name, _, _ in names})
        if left is None:
            return _Text(None, None, names)
        return _Text(content_digest(left), dimension_id(self._secret, "text", left), names)


class _Unwritten:
    """Finds rows that are not in the store yet."""

    def __init__(self, rows: Mapping[str, Sequence[Row]]) -> None:
        self._rows = rows
        self._seen: dict[str, int] = {}
        self._known: dict[str, dict[int, Row]] = {}

    def find(self, table: str, wanted: Iterable[int]) -> tuple[list[Row], list[int]]:
        """Give the rows with these ids, and the ids that none of them has."""
        rows, known = self._rows.get(table, ()), self._known.setdefault(table, {})
        known.update((_id(row[0]), row) for row in rows[self._seen.get(table, 0) :])
        self._seen[table] = len(rows)
        found, absent = [], []
        for each in wanted:
            if each in known:
                found.append(known[each])
            else:
                absent.append(each)
        return found, absent


def _names(kind: int, fields: Mapping[str, object]) -> Given:
    """Give the names among the fields of a text."""
    columns = _COLUMNS.get(kind, frozenset())
    found = {
        (name, n, each)
        for name, value in fields.items()
        if _NAME.fullmatch(name) and ((field := name.lower()) in fields or field in columns)
        for n, each in enumerate(value if isinstance(value, list) else [value])
    }
    if kind == types.SOCKADDR and "SADDR" in fields and "_" in fields:
        found.add(("_", 0, fields["_"]))  # before 2.8: SADDR=inet host:127.0.0.1 serv:53
    return frozenset(found)


def _left(
    kind: int, value: str, raw: bytes | None, names: set[str]
) -> tuple[str, bytes | None] | None:
    """Give the value and the bytes of a text without its names, as the decoder makes them."""
    if raw is None:
        fields = {name: each for name, each in json.loads(value).items() if name not in names}
        if not fields and kind in _COLUMNS:
            return None
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")), None
    if kind not in _COLUMNS:
        body = _cut(raw)
        shown, exact = to_json(parse_fields(kind, body))
        return shown, None if exact else body
    pairs = [
        pair
        for pair in raw.split(b"\0")
        if pair.partition(b"=")[0].decode(errors="replace") not in names
    ]
    if not pairs:
        return None
    shown, exact = to_json(Field(*_halves(pair)) for pair in pairs)
    return shown, None if exact else b"\0".join(pairs)


def _halves(pair: bytes) -> tuple[bytes, bytes]:
    name, _, value = pair.partition(b"=")
    return name, value


def _cut(body: bytes) -> bytes:
    """Give a record's body without the names at its end."""
    # A brace without an end is a character like others: `_RUN` would look for each one's.
    closed = _TO_BRACE.sub(lambda each: each[0] if each[2] else each[1].replace(b"{", b"("), body)
    for match in _RUN.finditer(closed):
        if match.end() == len(body):
            return body[: match.start()]
    return body


def _number_and_text(piece: Piece) -> tuple[int, int]:
    number, text = piece.content
    return _id(number), _id(text)


def _id(value: object) -> int:
    assert isinstance(value, int)
    return value
