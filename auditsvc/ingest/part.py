"""One file of a log, as recorded in the store: what its source has besides the position.

Rotation cuts a log into files between any two records, and some tools cut within a line. So
an event or a line at the end of a file may continue in the next file, and one at its beginning
may have begun in the file before, which may be read later. `state` is what a decoder has
pending at the end of the file, `head` the first bytes of the file.
"""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from auditsvc.record.line import Line, begin_of_record, parse_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.decode.batch import Batch
    from auditsvc.decode.contract import Decoder

HEAD: Final = 1 << 16
"""Bytes of a file's beginning that are kept. Records of one event stand closer together."""
LOOK: Final = 4096
"""Bytes by which files are told apart."""
_MARK: Final = b"#file "
_NODE: Final = b"node="
_TYPE: Final = re.compile(rb"type=[A-Z0-9_]*(?:\[[0-9]*\]?)?")
_WORD: Final = re.compile(rb"[A-Za-z]+")
_NUMBER: Final = re.compile(rb"[0-9]+")
_FIRST: Final = re.compile(rb"[A-Za-z0-9]*")
_NAMES: Final = b"\x1d"
"""Stands before what auditd's ENRICHED format adds to a record."""
_ONCE: Final = frozenset(
    (b"SYSCALL", b"URINGOP", b"PATH", b"CWD", b"EXECVE", b"SOCKADDR", b"PROCTITLE")
)
"""Types of which the kernel writes no equal records into an event (audit_log_exit); AVCs it may."""
_STATE: Final = b"#"
"""Begins the lines of a decoder's `pending` that are of no event."""


_Key: TypeAlias = "tuple[bytes | None, bytes] | None"
"""Node and stamp of an event; None: the line is no record."""


class Stamp(NamedTuple):
    """Time and serial of a record."""

    second: int
    ms: int
    serial: int


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a log, read up to the position of its source."""

    series: str = ""
    """Name of the log that it is a file of; "" if it was read before there were such."""
    path: str = ""
    """Where it was when it was read."""
    size: int = 0
    """Bytes of `head`."""
    begin: str = ""
    """Tells files by their first LOOK bytes."""
    stamp: Stamp | None = None
    """Of its first record, if that is in `head`."""
    packed: str = ""
    """`head`, compressed."""
    is_settled: bool = True
    """False while a call reads it."""
    left: str | None = ""
    """While it is being read: `state` when it was settled last, compressed; None: it never was."""
    alone: bool = False
    """True if it was not read as going on from the file before it."""
    state: bytes = b""
    """What the decoder has pending at the position, with what the files before it left."""

    @property
    def head(self) -> bytes:
        """Its first bytes: all of it, or as many lines as fit into HEAD."""
        return _unpack(self.packed)

    @property
    def left_state(self) -> bytes | None:
        """The state from which the next file continued; None if that was an earlier file's."""
        if self.is_settled:
            return self.state
        return None if self.left is None else _unpack(self.left)

    def begins(self, head: bytes) -> bool:
        """Whether a file that begins with `head` (at least LOOK bytes) may be this one."""
        return self.size > 0 and _digest(head[: min(self.size, LOOK)]) == self.begin

    def encode(self) -> bytes:
        """Give what is recorded in the source."""
        values = asdict(self)
        del values["state"]
        return _MARK + json.dumps(values).encode() + b"\n" + self.state


def make_part(
    series: str, path: str, head: bytes, state: bytes, left: bytes | None, *, is_settled: bool
) -> Part:
    """Make the part of a file; `left` is its `left_state` while that may change."""
    return Part(
        series=series,
        path=path,
        size=len(head),
        begin=_digest(head[:LOOK]),
        stamp=first_stamp(head),
        packed=_pack(head),
        is_settled=is_settled,
        left="" if is_settled else (None if left is None else _pack(left)),
        state=state,
    )


def decode_part(pending: bytes) -> Part:
    """Read what `encode` gave; a source of an older program has less."""
    if not pending.startswith(_MARK):
        return Part(state=pending, alone=True)
    line, _, state = pending.partition(b"\n")
    values: dict[str, Any] = json.loads(line.removeprefix(_MARK))
    if values["stamp"] is not None:
        values["stamp"] = Stamp(*values["stamp"])
    return Part(**values, state=state)


def _pack(data: bytes) -> str:
    return b64encode(zlib.compress(data)).decode()


def _unpack(text: str) -> bytes:
    return zlib.decompress(b64decode(text)) if text else b""


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def count_open(state: bytes) -> int:
    """Give how many records are in the open events of a decoder's `pending`."""
    return len(_open_lines(state))


def _open_lines(state: bytes) -> list[bytes]:
    *lines, _ = state.split(b"\n")
    return [line for line in lines if not line.startswith(_STATE)]


def rest_of(state: bytes) -> bytes:
    """Give the incomplete line."""
    return state.rpartition(b"\n")[2]


def is_torn(state: bytes) -> bool:
    """Whether there is an incomplete line."""
    return bool(rest_of(state).strip())


def first_stamp(head: bytes) -> Stamp | None:
    """Give the stamp of the first record; None if there is none."""
    for text in head.split(b"\n"):
        line = parse_line(text)
        if isinstance(line, Line):
            return Stamp(line.second, line.ms, line.serial)
    return None


def goes_on(state: bytes, head: bytes) -> bool:
    """Whether the incomplete line continues in a file that begins with `head`.

    It does not if a record begins there, or may begin, unless only both parts together are a
    record: `node=NAME ` before the cut, or a part of what a relay puts before each line.
    """
    rest = rest_of(state)
    first, _, following = head.partition(b"\n")
    if not rest or not head:
        return not rest
    if not _is_record(first) and not may_begin_record(head):
        return True
    if _is_record(rest) or not _is_record(rest + first):
        return False
    known = next(filter(None, map(_form, (*following.split(b"\n", 1), *_open_lines(state)))), b"")
    if known and (_form(rest + first) == known) != (_form(first) == known):
        return _form(first) != known
    return rest[-1:].isspace() or rest[-1:] in b":]>" or first[:1].isspace()


def _form(text: bytes) -> bytes:
    """Give the form of what stands before a record: words and numbers, the first one's length."""
    if not _is_record(text):
        return b""
    before = text[: begin_of_record(text)]
    first = _FIRST.match(before)
    length = len(first[0]) if first else 0
    return b"%d " % length + _NUMBER.sub(b"0", _WORD.sub(b"a", before))


def holds_more(state: bytes, head: bytes) -> bool:
    """Whether a file that begins with `head` continues what is pending in `state`."""
    if is_torn(state) and goes_on(state, head):
        return True
    opened = {_key(line) for line in _open_lines(state)}
    return any(_key(line) in opened for line in head.split(b"\n") if line) if opened else False


def repeats(state: bytes, head: bytes) -> bool:
    """Whether a file that begins with `head` has records again that are pending in `state`.

    Then it is another copy of the log, raw or with the names of auditd's ENRICHED format.
    """
    opened = {_without_names(line) for line in _open_lines(state)}
    return any(_without_names(line) in opened for line in head.split(b"\n") if line)


def overlap(state: bytes, head: bytes) -> list[bytes]:
    """Give the lines pending in `state` with which a file that begins with `head` begins again.

    The files overlap: of each open event the last lines of the one file are the first ones of the
    other. Where no line among them is of a type that comes once, they may as well be further equal
    records of the event, cut there, and are not given.
    """
    opened: dict[_Key, list[bytes]] = {}
    lines, pending = head.split(b"\n")[:-1], _open_lines(state)
    if set(pending).isdisjoint(lines):
        return []
    for line in pending:
        opened.setdefault(_key(line), []).append(line)
    again: dict[_Key, list[bytes]] = {}
    for line in lines:
        if (key := _key(line)) in opened:
            again.setdefault(key, []).append(line)
    found = []
    for key, left in opened.items():
        found += _common(left, again.get(key, []))
    return found if any(_type_of(line) in _ONCE for line in found) else []


def _common(left: list[bytes], right: list[bytes]) -> list[bytes]:
    """Give the longest end of `left` that is the beginning of `right`."""
    for count in range(min(len(left), len(right)), 0, -1):
        if left[-count] == right[0] and left[-count:] == right[:count]:
            return right[:count]
    return []


def without(state: bytes, lines: list[bytes]) -> bytes:
    """Give a decoder's `pending` without these lines of open events, the last of equal ones."""
    parts = state.split(b"\n")
    for line in reversed(lines):
        at = len(parts) - 2 - parts[-2::-1].index(line)
        del parts[at]
    return b"\n".join(parts)


def _type_of(text: bytes) -> bytes:
    line = parse_line(text)
    return line.type_name if isinstance(line, Line) else b""


def _without_names(line: bytes) -> bytes:
    return line.partition(_NAMES)[0].rstrip()


def may_begin_record(text: bytes) -> bool:
    """Whether the beginning of a line may become a record in auditd's format."""
    if b"\n" in text:
        return False
    if text.startswith(_NODE) or _NODE.startswith(text):
        name, equals, rest = text[len(_NODE) :].partition(b"=")
        if not equals:
            return True
        if not name.endswith(b" type"):
            return False
        text = b"type=" + rest
    if (match := _TYPE.match(text)) is None:
        return b"type=".startswith(text)
    rest = text[match.end() :]
    return any(rest.startswith(msg[: len(rest)]) for msg in (b" msg=audit(", b" msg='audit("))


def _key(text: bytes) -> _Key:
    line = parse_line(text)
    return (line.node, line.stamp) if isinstance(line, Line) else None


def _is_record(text: bytes) -> bool:
    return isinstance(parse_line(text), Line)


class Run(NamedTuple):
    """The result of decoding the beginning of a file."""

    batch: Batch
    lead: bytes
    """What was decoded before it: the batch's offsets are relative to where that begins."""
    state: bytes


def run(make: Callable[[], Decoder], state: bytes, head: bytes) -> Run:
    """Decode the beginning of a file that follows `state`, of which it may begin with the end."""
    decoder = make()
    decoder.restore(without(state, overlap(state, head)), 0.0)
    lead = lead_of(state, head)
    decoder.feed(lead + head, 0.0)
    after = decoder.pending()
    return Run(decoder.take(), lead, after)


def lead_of(state: bytes, head: bytes) -> bytes:
    """Give what a decoder is fed before a file: the end of a line that is not continued."""
    return b"" if goes_on(state, head) else b"\n"


def shown(make: Callable[[], Decoder], state: bytes, *, torn: bool = True) -> Batch:
    """Give the rows of events that are open at the end of a log, as far as they were read.

    With `torn` also those of an incomplete line.
    """
    decoder = make()
    decoder.restore(state if torn else state.removesuffix(rest_of(state)), 0.0)
    decoder.finish()
    return decoder.take()


def carry(state: bytes, old: bytes, new: bytes) -> bytes:
    """Give the state at a file's end if the state after its head is `new` and was `old`."""
    before, now = _open_lines(old), _open_lines(new)
    lines = state.split(b"\n")
    for line in before:
        if line in now:
            now.remove(line)
        elif line in lines[:-1]:
            lines.remove(line)
    first = 0
    while lines[first].startswith(_STATE):
        first += 1
    return b"\n".join((*lines[:first], *now, *lines[first:]))
