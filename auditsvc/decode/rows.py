"""Events -> rows of the star schema (`auditsvc.store.schema` names the columns).

An event with a SYSCALL is a row of `syscall`, any other a row of `event`, made of its
URINGOP or else of its first record. All further records are rows of `path`,
`sockaddr` and `exec`, the text of the context (CWD, PROCTITLE), or rows of `record`.

* A CWD or PROCTITLE that is not its one field, every CWD after the first, and a
  SOCKADDR with more than its address, are (also) a `record`.
* EXECVE records that do not hold all arguments give what came, are kept as `record`
  rows too, and make the event TRUNCATED.
* A SYSCALL without arch, syscall, a0 to a3 or items makes an `event`.

What an event without SYSCALL and URINGOP is: ORPHAN, if it has records that only come
after one of those, or if the kernel ended it as it ends those (EOE); else COMPLETE,
for nothing tells that more should have come.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.decode import types
from auditsvc.decode.calls import Call, parse_call
from auditsvc.decode.dimensions import Dimensions, id_column
from auditsvc.decode.facts import Facts
from auditsvc.decode.fields import Field, parse_fields, to_int
from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.decode.interface import (
    CHILD_SIZE,
    COMPLETE,
    DISPLACED,
    EVENT_SIZE,
    NO_EXIT,
    ORPHAN,
    TRUNCATED,
    Batch,
    Row,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Record = tuple[int, bytes]
"""A record of an event: its type and its body."""

_PATH: Final = re.compile(rb"item=([0-9]{1,9}) (.*)", re.DOTALL)
_SADDR: Final = re.compile(rb"saddr=([^ \x1d]*)")
# __AUDIT_ARCH_LE of linux/audit.h.
LITTLE_ENDIAN: Final = 0x40000000
_EVENT_COLUMNS: Final = (b"pid", b"uid", b"auid", b"ses")


class Identity(NamedTuple):
    """What all records of an event share; `node` is None where the line names none."""

    node: bytes | None
    second: int
    ms: int
    serial: int


def _is_sole(body: bytes, start: bytes) -> bool:
    """Tell whether a record is one field and nothing else."""
    return body.startswith(start) and b" " not in body and b"\x1d" not in body


def _address(body: bytes) -> tuple[bytes, bool]:
    """Give the hex of a SOCKADDR, and whether no more stands there but auditd's reading of it."""
    match = _SADDR.match(body)
    assert match is not None
    saddr, glued, rest = match[1].partition(b"S")  # the hex of the address has none
    if glued and rest.startswith(b"ADDR={"):
        return saddr.removesuffix(b"#035"), b"\x1d" not in body
    rest = body[match.end() :]
    is_all = not rest or (rest.startswith(b"\x1dSADDR=") and b"\x1d" not in rest[1:])
    return match[1], is_all


def _first(fields: Iterable[Field], name: bytes) -> bytes | None:
    return next((field.value for field in fields if field.name == name), None)


def _paths(records: Iterable[Record]) -> int:
    return sum(number == types.PATH for number, _ in records)


def _is_orphan(records: Sequence[Record], reason: int | None) -> bool:
    first = records[0][0]
    if reason is None and not (types.is_user(first) or first in types.ALONE):
        return True
    return first in types.CONTEXTS or any(number in types.DEPENDENT for number, _ in records)


class Rows:
    """Collects the rows of events."""

    def __init__(self, dimensions: Dimensions) -> None:
        self._dimensions = dimensions
        self._new_batch()

    def _new_batch(self) -> None:
        self._syscalls: list[Row] = []
        self._syscall_weights: list[int] = []
        self._events: list[Row] = []
        self._event_weights: list[int] = []
        self._execs: list[Row] = []
        self._paths: list[Row] = []
        self._sockaddrs: list[Row] = []
        self._records: list[Row] = []

    @property
    def held(self) -> int:
        """About how many bytes the rows hold that nobody took."""
        events = len(self._syscalls) + len(self._events)
        children = map(len, (self._execs, self._paths, self._sockaddrs, self._records))
        return events * EVENT_SIZE + sum(children) * CHILD_SIZE + self._dimensions.held

    def take(self) -> Batch:
        """Hand over the rows made since the last call; tables without rows are left out."""
        facts = {
            "syscall": self._syscalls,
            "exec": self._execs,
            "path": self._paths,
            "sockaddr": self._sockaddrs,
            "event": self._events,
            "record": self._records,
        }
        weights = {"syscall": self._syscall_weights, "event": self._event_weights}
        batch = Batch(dict(self._dimensions.made), Facts(facts, weights))
        self._dimensions.made.clear()
        self._dimensions.held = 0
        self._new_batch()
        return batch

    def add(self, identity: Identity, records: Sequence[Record], reason: int | None) -> None:
        """Make the rows of an event.

        `reason` is None where the event ended properly, else the state it has,
        unless it looks complete all the same: as many PATH records as items= says.
        """
        for position, (number, body) in enumerate(records):
            if number == types.SYSCALL:
                if (call := parse_call(body)) is None:
                    break
                others = [*records[:position], *records[position + 1 :]]
                if reason not in (None, DISPLACED) and _paths(others) >= call.items:
                    reason = None
                self.syscall(identity, call, others, reason)
                return
        self._event(identity, records, reason)

    def syscall(
        self, identity: Identity, call: Call, others: Sequence[Record], reason: int | None
    ) -> None:
        """Make the rows of an event with a SYSCALL; `others` are its other records in order."""
        node, second, ms, serial = identity
        arch, nr, success, code, a0, a1, a2, a3, items, rest = call
        host = self._dimensions.host(node)
        event = second << SERIAL_BITS | (serial + host) & SERIAL_MASK
        state = reason
        if state is None:
            state = NO_EXIT if success is None or code is None else COMPLETE
        cwd = title = None
        if others:
            cwd, title, whole = self._others(event, others, arch)
            if not whole and state <= NO_EXIT:
                state = TRUNCATED
        context = self._dimensions.context(host, arch, rest, cwd, title)
        self._syscalls.append(
            (event, ms, serial, nr, a0, a1, a2, a3, success, code, state, items, context)
        )
        self._syscall_weights.append(len(others) + 1)

    def _others(
        self, event: int, records: Sequence[Record], arch: int
    ) -> tuple[bytes | None, bytes | None, bool]:
        """Take the records beside a SYSCALL: bodies of CWD and PROCTITLE; is EXECVE whole."""
        cwd = title = None
        arguments: list[bytes] = []
        further: list[Record] = []
        for record in records:
            number, body = record
            if number == types.PROCTITLE and title is None and _is_sole(body, b"proctitle="):
                title = body
            elif number == types.CWD and cwd is None and _is_sole(body, b"cwd="):
                cwd = body
            elif number == types.EXECVE:
                arguments.append(body)
            else:
                further.append(record)
        whole = True
        if arguments:
            argv, whole = self._dimensions.argv(tuple(arguments))
            self._execs.append((event, argv))
            if not whole:
                further += [(types.EXECVE, body) for body in arguments]
        if further:
            self._children(event, further, little=arch & LITTLE_ENDIAN != 0)
        return cwd, title, whole

    def _event(self, identity: Identity, records: Sequence[Record], reason: int | None) -> None:
        """Make the rows of an event without a SYSCALL that could be read."""
        node, second, ms, serial = identity
        host = self._dimensions.host(node)
        event = second << SERIAL_BITS | (serial + host) & SERIAL_MASK
        calls = (n for n, (number, _) in enumerate(records) if number in types.CALLS)
        position = next(calls, None)
        main = position or 0
        number, body = records[main]
        others = [*records[:main], *records[main + 1 :]]
        fields = parse_fields(number, body)
        state = reason
        if position is None:
            state = ORPHAN if _is_orphan(records, reason) else COMPLETE
        elif reason not in (None, DISPLACED):
            items = to_int(_first(fields, b"items"))
            state = None if items is not None and _paths(others) >= items else reason
        if state is None:
            ended = {b"success", b"exit"} <= {field.name for field in fields}
            state = COMPLETE if ended else NO_EXIT
        columns = [id_column(_first(fields, name)) for name in _EVENT_COLUMNS]
        text = self._dimensions.fields(number, body)
        self._events.append((event, host, ms, serial, number, *columns, state, text))
        self._event_weights.append(len(records))
        self._children(event, others, little=True)

    def _children(self, event: int, records: Iterable[Record], *, little: bool) -> None:
        """Make rows of `path`, `sockaddr` and `record`."""
        paths = addresses = 0
        seen: dict[int, int] = {}
        for number, body in records:
            if number == types.PATH:
                match = _PATH.fullmatch(body)
                item, rest = (int(match[1]), match[2]) if match else (None, body)
                self._paths.append((event, paths, item, self._dimensions.file(rest)))
                paths += 1
                continue
            if number == types.SOCKADDR and body.startswith(b"saddr="):
                saddr, is_all = _address(body)
                address = self._dimensions.address(saddr, little=little)
                self._sockaddrs.append((event, addresses, address))
                addresses += 1
                if is_all:
                    continue
            seq = seen.get(number, 0)
            seen[number] = seq + 1
            self._records.append((event, number, seq, self._dimensions.fields(number, body)))
