"""The decoder in plain Python: the specification that can be read.

Lines: a line ends at a newline, or after 1 MiB. Bytes of NUL before a line (a file's
tail after a crash) are a line of their own, kept raw as their number. A line of
white space is nothing. Any other line that is not a record is kept raw.

Two ways lead to the same rows. The plain one takes a line at a time. The short one
takes a whole event at once, where SYSCALL, other records and PROCTITLE stand
together, which is nearly always; one regular expression finds all of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from auditsvc.decode import types
from auditsvc.decode.calls import CALL, read_call
from auditsvc.decode.dimensions import Dimensions
from auditsvc.decode.events import IDLE, MAX_OPEN, Events
from auditsvc.decode.fields import parse_fields, to_int
from auditsvc.decode.interface import COUNTS, RAW_SIZE, ROW_SIZE
from auditsvc.decode.rows import Identity, Record, Rows
from auditsvc.decode.serials import Serials
from auditsvc.errors import StoreError
from auditsvc.line import ESCAPED, MAX_SECOND, MAX_SERIAL, STAMP, parse_line, parse_loss

if TYPE_CHECKING:
    from auditsvc.decode.interface import Batch, Row

MAX_LINE: Final = 1 << 20
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
_GAP: Final = re.compile(rb"#gap ([0-9]+) ([0-9]+)(?: (.*))?")
_TOLD: Final = re.compile(rb"#lost ([0-9]{1,10})")
# What the short way leaves to the plain one.
_PLAIN_ONLY: Final = (b"\r", b"\0", ESCAPED)


class ReferenceDecoder:
    """Implements `auditsvc.decode.interface.Decoder`."""

    name = "reference"

    def __init__(
        self, secret: bytes, host: str, *, idle: float = IDLE, max_open: int = MAX_OPEN
    ) -> None:
        self._types = types.TypeTable()
        self._dimensions = Dimensions(secret, host)
        self._rows = Rows(self._dimensions)
        self._events = Events(self._end, idle=idle, max_open=max_open)
        self._serials: dict[bytes, Serials] = {}
        self._counts = dict.fromkeys(COUNTS, 0)
        self._raw: list[tuple[int, bytes, str]] = []
        self._raw_held = 0  # about how many bytes `_raw` holds
        self._told = 0  # the last count of losses that a kernel's log told
        self._parts: list[bytes] = []  # of the unfinished line
        self._held = 0  # bytes in them
        self._position = 0  # where they begin, from where the input began

    @property
    def open_records(self) -> int:
        """Records that belong to events which have not ended."""
        return self._events.open_records

    @property
    def held(self) -> int:
        """About how many bytes the rows hold that `take` would give."""
        unknown = len(self._types.unknown) * ROW_SIZE
        return self._rows.held + self._raw_held + unknown

    def feed(self, data: bytes, now: float) -> None:
        """Take the next bytes of the stream, split anywhere."""
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
        """Take the whole lines of a buffer; give the number of bytes they are."""
        short = not any(mark in buffer for mark in _PLAIN_ONLY)
        start = 0
        while True:
            if short and (match := _EVENT.match(buffer, start)) and self._whole(match):
                start = match.end()
                continue
            end = buffer.find(b"\n", start, start + MAX_LINE + 1)
            if end >= 0:
                following = end + 1
            elif len(buffer) - start > MAX_LINE:
                following = end = start + MAX_LINE
            else:
                return start
            self._line(buffer[start:end], self._position + start, now)
            start = following

    def _whole(self, match: re.Match[bytes]) -> bool:
        """Take a whole event at once; False leaves it to the plain way."""
        prefix, stamp, second, ms, serial, *facts, between, title, eoe = match.groups()
        size = match.end() - match.start()
        # A longer one may hold a line that has to be cut.
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
                others.append((kind, body))
        others.append((types.PROCTITLE, title))
        self._see(node, when, int(ms), number)
        counts = self._counts
        counts["received"] += len(others) + 1
        counts["stored"] += len(others) + 1
        if eoe:
            counts["received"] += 1
            counts["end"] += 1
        self._rows.syscall(Identity(node, when, int(ms), number), call, others, None)
        return True

    def _line(self, text: bytes, position: int, now: float) -> None:
        """Take one line, without its newline, that began at `position` of the input."""
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
        """Read what a kernel's log says of records that it left out, or lost in all."""
        if (told := parse_loss(text)) is None:
            return
        suppressed, lost = told
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
        """Take the line of a record; for one that is none give the reason.

        `again`: the line was taken, and counted, before a restart.
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
        elif number == types.DAEMON_ERR:
            self._count_lost(line.body)
        return None

    def _see(self, node: bytes | None, second: int, ms: int, serial: int) -> None:
        """Count the serials that were left out before this event."""
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

    def _end(self, identity: Identity, records: list[Record], reason: int | None) -> None:
        self._counts["stored"] += len(records)
        self._rows.add(identity, records, reason)

    def expire(self, now: float) -> None:
        """End the events of which nothing came for the idle time before `now`."""
        self._events.expire(now)

    def finish(self) -> None:
        """End everything: no more input will come."""
        rest = b"".join(self._parts)
        if rest:
            self._line(rest, self._position, 0.0)
        self._position += len(rest)
        self._parts, self._held = [], 0
        self._events.finish()

    def take(self) -> Batch:
        """Hand over the rows made since the last call."""
        batch = self._rows.take()
        if self._types.unknown:
            unknown: list[Row] = list(self._types.unknown)
            batch.dimensions = {**batch.dimensions, "record_type": unknown}
            self._types.unknown.clear()
        batch.raw, self._raw = self._raw, []
        self._raw_held = 0
        batch.counts, self._counts = self._counts, dict.fromkeys(COUNTS, 0)
        return batch

    def pending(self) -> bytes:
        """Give what was reached, the lines of open events and the unfinished line."""
        lines = [
            b"#gap %d %d" % (serials.highest, serials.when) + (b" " + node if node else b"")
            for node, serials in self._serials.items()
        ]
        if self._told:
            lines.append(b"#lost %d" % self._told)
        lines += self._events.lines()
        return b"".join(line + b"\n" for line in lines) + b"".join(self._parts)

    def restore(self, pending: bytes, now: float) -> None:
        """Take `pending()` of an earlier decoder, without counting it as received.

        StoreError if it is not what `pending` gives.
        """
        *lines, rest = pending.split(b"\n")
        for line in lines:
            if match := _GAP.fullmatch(line):
                self._serials[match[3] or b""] = Serials(int(match[1]), int(match[2]))
            elif match := _TOLD.fullmatch(line):
                self._told = int(match[1])
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
        """Empty the caches (pins stay): every dimension row is handed over again."""
        self._dimensions.forget()
        self._types.forget()


def _count(value: bytes | None) -> int:
    """Read a count of the kernel's or ours, which are below 2^32; 0 for what is none."""
    number = to_int(value)
    return number if number is not None and 0 <= number < 1 << 32 else 0
