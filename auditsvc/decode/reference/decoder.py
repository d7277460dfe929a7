"""The decoder in Python: the readable specification.

Lines: a line ends at a newline, or after 1 MiB; the bytes after that up to the newline are
kept raw. NUL bytes before a line (the end of a file after a crash) are a line of their own,
of which only the number of bytes is kept, raw. A line of white space is ignored. Any other
line that is not a record is kept raw.

Two paths give the same rows. The normal one reads line by line. The fast one reads an event
at once if its SYSCALL, other records and PROCTITLE are consecutive lines, which is nearly
always so; one regular expression matches all of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from auditsvc.decode.batch import RAW_SIZE, ROW_SIZE
from auditsvc.decode.contract import COUNTS, IDLE, MAX_OPEN
from auditsvc.decode.reference.calls import CALL, read_call
from auditsvc.decode.reference.dimensions import Dimensions
from auditsvc.decode.reference.events import Events
from auditsvc.decode.reference.rows import Identity, Record, Rows
from auditsvc.decode.reference.serials import Serials
from auditsvc.decode.reference.types import TypeTable
from auditsvc.errors import StoreError
from auditsvc.record import types
from auditsvc.record.fields import parse_fields, to_int
from auditsvc.record.line import (
    ESCAPED,
    MAX_SECOND,
    MAX_SERIAL,
    STAMP,
    is_foreign,
    parse_line,
    parse_loss,
)

if TYPE_CHECKING:
    from auditsvc.decode.batch import Batch, Row
    from auditsvc.record.line import Line

MAX_LINE: Final = 1 << 20
_REST: Final = "rest of a line of more than 1 MiB"
_REST_MARK: Final = b"#rest"
_MAX_HOSTS: Final = 256

_EVENT: Final = re.compile(
    rb"((?:node=(?:(?! type=)[^\n]){0,255} )?)type=SYSCALL msg="
    + STAMP
    + rb": "
    + CALL
    + rb"( ppid=[^\n]*)\n"
    rb"((?:\1type=(?!EOE |SYSCALL |PROCTITLE )[A-Z][A-Z0-9_]{0,63} msg=audit\(\2\): [^\n]*\n)*)"
    rb"\1type=PROCTITLE msg=audit\(\2\): ([^\n]*)\n"
    rb"(\1type=EOE msg=audit\(\2\): ?\n)?"
)
_GAP: Final = re.compile(
    rb"#gap ([0-9]+) ([0-9]+)((?:,[0-9]{1,9}(?:,[0-9]{1,9}-[0-9]{1,9})*)?)(?: (.*))?", re.DOTALL
)
_TOLD: Final = re.compile(rb"#lost ([0-9]{1,10})")
# Input with these goes through the normal path.
_PLAIN_ONLY: Final = (b"\r", b"\0", ESCAPED)


class ReferenceDecoder:
    """Implements `auditsvc.decode.contract.Decoder`."""

    name = "reference"

    def __init__(
        self,
        secret: bytes,
        host: str,
        *,
        idle: float = IDLE,
        max_open: int = MAX_OPEN,
        trust_kernel_log: bool = False,
    ) -> None:
        self._types = TypeTable()
        self._dimensions = Dimensions(secret, host)
        self._rows = Rows(self._dimensions, trust_kernel_log=trust_kernel_log)
        self._events = Events(self._end, idle=idle, max_open=max_open)
        self._serials: dict[bytes, Serials] = {}
        self._counts = dict.fromkeys(COUNTS, 0)
        self._raw: list[tuple[int, bytes, str]] = []
        self._raw_held = 0  # approximate size of `_raw` in bytes
        self._told = 0  # the last count of losses in a kernel's log
        self._parts: list[bytes] = []  # of the incomplete line
        self._held = 0  # bytes in them
        self._position = 0  # where they begin, from the beginning of the input
        self._in_rest = False  # they belong to a line that was split

    @property
    def open_records(self) -> int:
        """Records that belong to events which have not ended."""
        return self._events.open_records

    @property
    def held(self) -> int:
        """Approximate size in bytes of the rows that `take` would give."""
        unknown = len(self._types.unknown) * ROW_SIZE
        return self._rows.held + self._raw_held + unknown

    def feed(self, data: bytes, now: float) -> None:
        """Decode the next bytes of the stream, which may be split anywhere."""
        self._parts.append(data)
        self._held += len(data)
        if b"\n" not in data and self._held <= MAX_LINE:
            return
        buffer = b"".join(self._parts)
        done = self._lines(buffer, now)
        rest = buffer[done:]
        self._parts = [rest] if rest else []
        self._held = len(rest)
        self._position += done

    def _lines(self, buffer: bytes, now: float) -> int:
        """Decode the complete lines of a buffer; give their length in bytes."""
        short = not any(mark in buffer for mark in _PLAIN_ONLY)
        start = 0
        while True:
            if (
                short
                and not self._in_rest
                and (match := _EVENT.match(buffer, start))
                and self._complete_event(match)
            ):
                start = match.end()
                continue
            end = buffer.find(b"\n", start, start + MAX_LINE + 1)
            if is_cut := end < 0:
                if len(buffer) - start <= MAX_LINE:
                    return start
                end = start + MAX_LINE
            self._piece(buffer[start:end], self._position + start, now, is_cut=is_cut)
            start = end if is_cut else end + 1

    def _complete_event(self, match: re.Match[bytes]) -> bool:
        """Decode an event at once; False if it needs the normal path."""
        prefix, stamp, second, ms, serial, *facts, between, title, eoe = match.groups()
        size = match.end() - match.start()
        # A longer one may contain a line that must be split.
        lines = between.count(b"\n") + 2 if between else 2
        if size > MAX_LINE or not self._events.has_room(size, lines):
            return False
        node = prefix[5:-1] if prefix else None
        when, number = int(second), int(serial)
        if when > MAX_SECOND or number > MAX_SERIAL or prefix + stamp in self._events:
            return False
        call = read_call(facts)
        if call is None:
            return False
        others: list[Record] = []
        if between:
            head, mark = len(prefix) + 5, b" msg=audit(%b): " % stamp
            for line in between[:-1].split(b"\n"):
                name, _, body = line[head:].partition(mark)
                kind = self._types.number(name)
                if types.is_user(kind):
                    return False
                if kind in types.RENUMBERED:
                    kind = types.of_body(kind, body)
                others.append((kind, body.lstrip(b" ")))
        others.append((types.PROCTITLE, title.lstrip(b" ")))
        self._see(node, when, int(ms), number)
        counts = self._counts
        counts["received"] += len(others) + 1
        counts["stored"] += len(others) + 1
        if eoe:
            counts["received"] += 1
            counts["end"] += 1
        self._rows.syscall(Identity(node, when, int(ms), number), call, others, None)
        return True

    def _piece(self, text: bytes, position: int, now: float, *, is_cut: bool) -> None:
        """Decode a line, its first MiB, or a later part of it; `is_cut`: more of it follows."""
        if self._in_rest:
            self._counts["received"] += 1
            self._keep_raw(position, text, _REST)
        else:
            self._line(text, position, now)
        self._in_rest = is_cut

    def _line(self, text: bytes, position: int, now: float) -> None:
        """Decode one line, without its newline, that began at `position` of the input."""
        if text[:1] == b"\0":
            line = text.lstrip(b"\0")
            nuls = len(text) - len(line)
            self._counts["received"] += 1
            self._keep_raw(position, b"", f"{nuls} NUL bytes")
            text, position = line, position + nuls
        if not text or text.isspace():
            return
        self._counts["received"] += 1
        reason = self._record(text, now)
        if reason is not None:
            self._keep_raw(position, text, reason)
            self._count_told(text)

    def _count_told(self, text: bytes) -> None:
        """Read in a kernel's log how many records it suppressed, or lost in total."""
        if (loss := parse_loss(text)) is None:
            return
        suppressed, lost = loss
        if lost is not None:
            # A count that fell begins anew: the host was booted.
            suppressed += lost - self._told if lost >= self._told else lost
            self._told = lost
        self._counts["told_lost"] += suppressed

    def _keep_raw(self, position: int, line: bytes, reason: str) -> None:
        self._counts["raw"] += 1
        self._raw.append((position, line, reason))
        self._raw_held += len(line) + RAW_SIZE

    def _record(self, text: bytes, now: float, *, again: bool = False) -> str | None:
        """Decode the line of a record; for a line that is not one give the reason.

        `again`: the line was read and counted before a restart.
        """
        line = parse_line(text)
        if isinstance(line, str):
            return line
        number = self._types.number(line.type_name)
        if number in types.RENUMBERED:
            number = types.of_body(number, line.body)
        key = line.stamp if line.node is None else b"node=%b %b" % (line.node, line.stamp)
        if number == types.EOE:
            self._counts["end"] += 1
            self._events.end(key)
            return None
        first = self._events.add(key, number, line, text, now)
        if again:
            return None
        if first and number not in types.DAEMON:
            self._see(line.node, line.second, line.ms, line.serial)
        elif number == types.DAEMON_ERR and _is_own(line):
            self._count_lost(line.body)
        return None

    def _see(self, node: bytes | None, second: int, ms: int, serial: int) -> None:
        """Count the serials that are missing before this event."""
        name, when = node or b"", second * 1000 + ms
        serials = self._serials.get(name)
        if serials is None:
            if len(self._serials) >= _MAX_HOSTS:
                del self._serials[next(iter(self._serials))]
            self._serials[name] = Serials(serial, when)
        else:
            self._counts["gap"] += serials.see(serial, when)

    def _count_lost(self, body: bytes) -> None:
        """Read our collector's note: DAEMON_ERR op=lost kernel=N spool=N."""
        fields = dict(parse_fields(types.DAEMON_ERR, body))
        if fields.get(b"op") == b"lost":
            self._counts["kernel_lost"] += _count(fields.get(b"kernel"))
            self._counts["spool_lost"] += _count(fields.get(b"spool"))

    def _end(
        self, identity: Identity, records: list[Record], reason: int | None, is_printk: bool
    ) -> None:
        self._counts["stored"] += len(records)
        self._rows.add(identity, records, reason)
        if is_printk:
            self._rows.claim(identity)

    def expire(self, now: float) -> None:
        """End the events of which nothing came for the idle time before `now`."""
        self._events.expire(now)

    def finish(self) -> None:
        """End everything: no more input will come."""
        rest = b"".join(self._parts)
        if rest:
            self._piece(rest, self._position, 0.0, is_cut=False)
        self._in_rest = False
        self._position += len(rest)
        self._parts, self._held = [], 0
        self._events.finish()

    def take(self) -> Batch:
        """Hand over the rows made since the last call."""
        for row in self._types.unknown:
            self._dimensions.rows.add("record_type", row)
        self._types.unknown.clear()
        batch = self._rows.take()
        batch.raw, self._raw = self._raw, []
        self._raw_held = 0
        batch.counts, self._counts = self._counts, dict.fromkeys(COUNTS, 0)
        return batch

    def pending(self) -> bytes:
        """Give the counters, the lines of open events and the incomplete line."""
        lines = [
            b"#gap %d %d%b" % (serials.highest, serials.when, serials.missing().encode())
            + (b" " + node if node else b"")
            for node, serials in self._serials.items()
        ]
        if self._told:
            lines.append(b"#lost %d" % self._told)
        lines += self._events.lines()
        if self._in_rest:
            lines.append(_REST_MARK)
        return b"".join(line + b"\n" for line in lines) + b"".join(self._parts)

    def restore(self, pending: bytes, now: float) -> None:
        """Take `pending()` of an earlier decoder, without counting it as received.

        StoreError if it is not what `pending` gives.
        """
        *lines, rest = pending.split(b"\n")
        for line in lines:
            if match := _GAP.fullmatch(line):
                serials = Serials(int(match[1]), int(match[2]))
                serials.restore(match[3].decode())
                self._serials[match[4] or b""] = serials
            elif match := _TOLD.fullmatch(line):
                self._told = int(match[1])
            elif line == _REST_MARK:
                self._in_rest = True
            elif reason := self._record(line, now, again=True):
                raise StoreError(f"the checkpoint holds a line that is {reason}: {line!r}")
        self._parts = [rest] if rest else []
        self._held = len(rest)
        self._position = -len(rest)

    def pin(self, table: str, content: Row, row_id: int) -> None:
        """Use `row_id` for the dimension row with this content from now on."""
        self._dimensions.pin(table, content, row_id)
        self._types.forget()

    def forget(self) -> None:
        """Empty the caches (pins stay): every dimension row is given again."""
        self._dimensions.forget()
        self._types.forget()


def _count(value: bytes | None) -> int:
    """Read a count, which is below 2^32; 0 if it is not one."""
    number = to_int(value)
    return number if number is not None and 0 <= number < 1 << 32 else 0


def _is_own(line: Line) -> bool:
    """Whether the service's collector can have written a line."""
    return line.node is None and not line.is_printk and not is_foreign(line.body)
