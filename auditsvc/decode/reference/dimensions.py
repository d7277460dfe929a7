"""Slices of records -> ids of dimension rows; each row is given once.

Most of a SYSCALL record (all from ` ppid=` on), and all of CWD, PROCTITLE and PATH,
repeat in many events. So these slices of bytes are looked up in caches, and only new
ones are parsed. The result is the same as without the caches.

Rules:

* An id of -1 or 4294967295 (unset) is NULL; u64 becomes its two's complement.
* A field that has no column, is repeated, or is not of the column's kind, is kept as
  JSON in `extra`, except auditd's ARCH= and SYSCALL=, which repeat values of the row.
* `text.raw` is NULL if `value` is exact. Otherwise it has the bytes: for a list of
  arguments joined by NUL, for `fields` the record's body, for `extra` the name=value
  pairs joined by NUL. In a title NUL is shown as a space, in a key 0x01 as a comma.
* Arguments of more than 1 MiB show a byte that is no text, or a control byte, as `?` instead
  of four to six characters: otherwise 6 MB of them would be 36 MB, several times in memory.
"""

from __future__ import annotations

from json.encoder import encode_basestring as encode_text
from typing import TYPE_CHECKING, Final, TypeVar

from auditsvc.decode.batch import ROW_SIZE
from auditsvc.decode.ids import content_digest, dimension_id
from auditsvc.decode.reference.kept import KeptRows
from auditsvc.decode.reference.records import join_arguments, parse_address
from auditsvc.record import types
from auditsvc.record.fields import (
    UNSET,
    Field,
    decode_value,
    parse_fields,
    signed,
    to_int,
    to_json,
    to_short_text,
    to_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from auditsvc.decode.batch import Row

K = TypeVar("K")
V = TypeVar("V")

_ID, _NUMBER, _TEXT, _PLAIN = range(4)  # kinds of columns
_CONTEXT_COLUMNS: Final = {
    **dict.fromkeys(b"ppid pid auid uid gid euid suid fsuid egid sgid fsgid".split(), _ID),
    b"tty": _TEXT,
    b"ses": _ID,
    **dict.fromkeys(b"comm exe subj key".split(), _TEXT),
}
_FILE_COLUMNS: Final = {
    b"name": _TEXT,
    b"nametype": _PLAIN,
    b"inode": _NUMBER,
    b"dev": _PLAIN,
    b"mode": _PLAIN,
    b"ouid": _ID,
    b"ogid": _ID,
    b"rdev": _PLAIN,
    b"obj": _TEXT,
}
_REPEATED: Final = (b"ARCH", b"SYSCALL")
_NO_ID: Final = (-1, UNSET)

_LONG: Final = 1 << 12
"""Bytes of a key above which a cache keeps its digest."""
LONG_LIST: Final = 1 << 20
"""Bytes of the arguments of one exec, or of its records, above which they are shown shortly."""
_FEW_ENTRIES: Final = 1 << 14
_MANY_ENTRIES: Final = 1 << 16
"""Of what a busy host has very many: files, and rows in general."""
_MAX_BYTES: Final = 1 << 23


class _Cache(dict[K, V]):
    """A dictionary that is emptied before it grows too large: to `most` entries."""

    _bytes = 0

    def __init__(self, most: int = _FEW_ENTRIES) -> None:
        super().__init__()
        self._most = most

    def clear(self) -> None:
        """Remove all entries."""
        super().clear()
        self._bytes = 0

    def put(self, key: K, value: V, size: int) -> V:
        """Store a value; `size` is the approximate size of its key in bytes."""
        self._bytes += size
        if len(self) >= self._most or self._bytes > _MAX_BYTES:
            self.clear()
            self._bytes = size
        self[key] = value
        return value


def _size(field: Field) -> int:
    return 100 + len(field.name) + len(field.value or b"")


def id_column(value: bytes | None) -> int | None:
    """Read an id (of a user, a session, a process): None if it is not a number, or unset."""
    number = to_int(value)
    return None if number is None or number in _NO_ID else signed(number)


class Dimensions:
    """Ids of dimension rows, keyed with `secret`; `rows` collects the rows by table.

    `host` is the machine's name for lines without `node=`.
    """

    def __init__(self, secret: bytes, host: str) -> None:
        self.rows = KeptRows()
        self.held = 0
        """Approximate size of `rows` in bytes; reset by the function that takes the rows."""
        self._secret = secret
        self._host = host
        self._pins: dict[tuple[str, Row], int] = {}
        self._ids: _Cache[tuple[str, Row], int] = _Cache(_MANY_ENTRIES)
        self._hosts: _Cache[bytes | None, int] = _Cache()
        self._contexts: _Cache[tuple[object, ...], int] = _Cache()
        self._files: _Cache[bytes, int] = _Cache(_MANY_ENTRIES)
        self._addresses: _Cache[tuple[bytes, bool], int] = _Cache()
        self._argvs: _Cache[tuple[object, ...], tuple[int, bool]] = _Cache()
        self._bodies: _Cache[tuple[int, bytes], int] = _Cache()

    def pin(self, table: str, content: Row, row_id: int) -> None:
        """Use `row_id` for this content from now on."""
        self._pins[table, content] = row_id
        self.forget()  # the caches contain the old id

    def forget(self) -> None:
        """Empty the caches, except pins."""
        for cache in (self._ids, self._hosts, self._contexts, self._files):
            cache.clear()
        for other in (self._addresses, self._argvs, self._bodies):
            other.clear()

    def _id(self, table: str, content: Row, size: int) -> int:
        key = (table, (0, content_digest(content)) if size > _LONG else content)
        known = self._ids.get(key)
        if known is not None:
            return known
        row_id = self._pins.get((table, content)) or dimension_id(self._secret, table, content)
        self.rows.add(table, (row_id, *content))
        self.held += size + ROW_SIZE
        return self._ids.put(key, row_id, size)

    def row_id(self, table: str, content: Row) -> int:
        """Id of any row, by its content."""
        return self._id(table, content, 200)

    def _text(self, value: str, raw: bytes | None = None) -> int:
        return self._id("text", (value, raw), len(value) + len(raw or b""))

    def text_of(self, name: bytes, data: bytes) -> int:
        """Id of the text of a field's bytes; its name decides how they are shown."""
        shown = data
        if name == b"key":
            shown = data.replace(b"\1", b",")
        elif name == b"proctitle":
            shown = data.replace(b"\0", b" ")
        value, exact = to_text(shown)
        return self._text(value, None if exact and shown == data else data)

    def host(self, node: bytes | None) -> int:
        """Id of the host of lines with this `node=`."""
        known = self._hosts.get(node)
        if known is not None:
            return known
        name = self._host if node is None else to_text(node)[0]
        return self._hosts.put(node, self._id("host", (name,), len(name)), len(name))

    def context(
        self,
        host: int,
        arch: int,
        rest: bytes | tuple[Field, ...],
        cwd: bytes | None,
        title: bytes | None,
    ) -> int:
        """Id of a call's context: the other fields of its SYSCALL, and CWD and PROCTITLE."""
        key = (host, arch, rest, cwd, title)
        known = self._contexts.get(key)
        if known is not None:
            return known
        fields = parse_fields(types.SYSCALL, rest) if isinstance(rest, bytes) else rest
        kept = (field for field in fields if field.name not in _REPEATED)
        columns, extra = self._columns(kept, _CONTEXT_COLUMNS)
        directory = self._single_field(types.CWD, cwd)
        title_text = self._single_field(types.PROCTITLE, title)
        content = (host, arch, *columns, directory, title_text, extra)
        size = len(cwd or b"") + len(title or b"")
        size += len(rest) if isinstance(rest, bytes) else sum(map(_size, rest))
        return self._contexts.put(key, self._id("context", content, 200), 200 + size)

    def _single_field(self, record_type: int, body: bytes | None) -> int | None:
        """Id of the text of a record that has a single field."""
        if body is None:
            return None
        name, _, value = body.partition(b"=")
        data = decode_value(record_type, name, value)
        return None if data is None else self.text_of(name, data)

    def file(self, body: bytes) -> int:
        """Id of the file of a PATH record; `body` is without its `item=`."""
        known = self._files.get(body)
        if known is not None:
            return known
        row_id = self.file_of(parse_fields(types.PATH, body), len(body))
        return self._files.put(body, row_id, len(body))

    def file_of(self, fields: Iterable[Field], size: int = 0) -> int:
        """Id of the file with these fields of a PATH record."""
        columns, extra = self._columns(fields, _FILE_COLUMNS)
        return self._id("file", (*columns, extra), size)

    def _columns(
        self, fields: Iterable[Field], kinds: Mapping[bytes, int]
    ) -> tuple[list[object], int | None]:
        """Give the columns in the order of `kinds`, and the id of the text of other fields."""
        columns: dict[bytes, object] = {}
        extra = []
        for field in fields:
            name, value = field
            kind = kinds.get(name)
            if kind is None or name in columns:
                extra.append(field)
            elif value is None:
                columns[name] = None
            elif kind == _TEXT:
                columns[name] = self.text_of(name, value)
            elif kind == _ID and to_int(value) is not None:
                columns[name] = id_column(value)
            elif kind == _NUMBER and (number := to_int(value)) is not None:
                columns[name] = signed(number)
            elif kind == _PLAIN and to_text(value)[1]:
                columns[name] = to_text(value)[0]
            else:
                extra.append(field)
        rest = None
        if extra:
            value_text, exact = to_json(extra)
            pairs = (b"%b=%b" % (name, value or b"") for name, value in extra)
            rest = self._text(value_text, None if exact else b"\0".join(pairs))
        return [columns.get(name) for name in kinds], rest

    def address(self, saddr: bytes, *, little_endian: bool) -> int:
        """Id of the address in the hex of a `saddr=`."""
        key = (saddr, little_endian)
        known = self._addresses.get(key)
        if known is not None:
            return known
        row_id = self._id(
            "address", tuple(parse_address(saddr, little_endian=little_endian)), len(saddr)
        )
        return self._addresses.put(key, row_id, len(saddr))

    def argv(self, bodies: tuple[bytes, ...]) -> tuple[int, bool]:
        """Id of the arguments in EXECVE records, and whether all are present."""
        size = sum(map(len, bodies))
        key = (0, content_digest(bodies)) if size > _LONG else bodies
        known = self._argvs.get(key)
        if known is not None:
            return known
        fields = (field for body in bodies for field in parse_fields(types.EXECVE, body))
        row_id, complete = self.argv_of(fields)
        return self._argvs.put(key, (row_id, complete), size)

    def argv_of(self, fields: Iterable[Field]) -> tuple[int, bool]:
        """Id of the arguments in these fields of EXECVE records, and whether all are present."""
        values, complete = join_arguments(fields)
        # One by one: there may be several hundred thousand. As UTF-8 first: where one letter is
        # of four bytes, all letters of a text take four.
        listed = bytearray(b"[")
        exact = True
        shown_as = to_text if sum(map(len, values)) <= LONG_LIST else to_short_text
        for value in values:
            text, clean = shown_as(value)
            exact &= clean
            listed += b"," if len(listed) > 1 else b""
            listed += encode_text(text).encode()
        listed += b"]"
        raw = None if exact else b"\0".join(values)
        values.clear()
        return self._text(listed.decode(), raw), complete

    def long_arguments(self, body: bytes) -> int:
        """Id of the fields of one of very many EXECVE records, shown as the list of them is."""
        value, exact = to_json(parse_fields(types.EXECVE, body), to_short_text)
        return self._text(value, None if exact else body)

    def fields(self, record_type: int, body: bytes) -> int:
        """Id of a record's fields as JSON."""
        key = (record_type, body)
        known = self._bodies.get(key)
        if known is not None:
            return known
        value, exact = to_json(parse_fields(record_type, body))
        return self._bodies.put(key, self._text(value, None if exact else body), len(body))
