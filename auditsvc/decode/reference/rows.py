"""Events -> rows of the star schema (`auditsvc.store.schema` has the columns).

An event with a SYSCALL is a row of `syscall`, any other a row of `event`, made from its
URINGOP or else from its first record. Its other records are rows of `path`, `sockaddr`
and `exec`, texts of the context (CWD, PROCTITLE), or rows of `record`.

* A CWD or PROCTITLE with other fields, every CWD after the first, and a SOCKADDR with
  more than its address, are (also) a `record`.
* EXECVE records without all arguments give the arguments that are present, are kept as
  `record` rows too, and make the event TRUNCATED.
* A SYSCALL without arch, syscall, a0 to a3 or items makes an `event`.

The state of an event without SYSCALL and URINGOP: ORPHAN, if it has records that only
follow one of those, or if it ended as those do (EOE); otherwise COMPLETE, as there is no
sign that records are missing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.decode.batch import CHILD_SIZE, EVENT_SIZE, Batch, Facts, Row
from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.decode.reference.calls import Call, parse_call
from auditsvc.decode.reference.dimensions import LONG_LIST, Dimensions, id_column
from auditsvc.decode.states import COMPLETE, DISPLACED, NO_EXIT, ORPHAN, TRUNCATED
from auditsvc.record import types
from auditsvc.record.fields import RELAYED, Field, parse_fields, to_int

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Record = tuple[int, bytes]
"""A record of an event: its type and its body."""

_PATH: Final = re.compile(rb"item=([0-9]{1,9}) (.*)", re.DOTALL)
_SADDR: Final = re.compile(rb"saddr=([^ \x1d]*)")
_RELAYED_END: Final = re.compile(rb"(?:" + RELAYED + rb")\Z")
# __AUDIT_ARCH_LE of linux/audit.h.
LITTLE_ENDIAN: Final = 0x40000000
_EVENT_COLUMNS: Final = (b"pid", b"uid", b"auid", b"ses")


class Identity(NamedTuple):
    """The values that all records of an event share; `node` is None if the line has none."""

    node: bytes | None
    second: int
    ms: int
    serial: int


def _is_single_field(body: bytes, start: bytes) -> bool:
    """Whether a record is a single field."""
    return body.startswith(start) and b" " not in body and b"\x1d" not in body


def _address(body: bytes) -> tuple[bytes, bool]:
    """Give the hex of a SOCKADDR, and whether it has nothing else but auditd's interpretation."""
    match = _SADDR.match(body)
    assert match is not None
    saddr, glued, rest = match[1].partition(b"S")  # the hex of the address has none
    if glued and rest.startswith(b"ADDR={"):
        return _RELAYED_END.sub(b"", saddr), b"\x1d" not in body
    rest = body[match.end() :]
    is_all = not rest or (rest.startswith(b"\x1dSADDR=") and b"\x1d" not in rest[1:])
    return match[1], is_all


def _first(fields: Iterable[Field], name: bytes) -> bytes | None:
    return next((field.value for field in fields if field.name == name), None)


def _paths(records: Iterable[Record]) -> int:
    return sum(number == types.PATH for number, _ in records)


def _is_orphan(records: Sequence[Record], reason: int | None) -> bool:
    first = records[0][0]
    if reason is None and not (types.is_user(first) or first in types.SINGLE):
        return True
    return first in types.CONTEXTS or any(number in types.DEPENDENT for number, _ in records)


class Rows:
    """Collects the rows of events."""

    def __init__(self, dimensions: Dimensions, *, trust_kernel_log: bool = False) -> None:
        self._dimensions = dimensions
        self._trust_kernel_log = trust_kernel_log
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
        self._claimed: list[int] = []

    @property
    def held(self) -> int:
        """Approximate size in bytes of the rows that were not taken yet."""
        events = len(self._syscalls) + len(self._events)
        children = map(len, (self._execs, self._paths, self._sockaddrs, self._records))
        return events * EVENT_SIZE + sum(children) * CHILD_SIZE + self._dimensions.held

    def take(self) -> Batch:
        """Give the rows made since the last call; tables without rows are left out."""
        facts = {
            "syscall": self._syscalls,
            "exec": self._execs,
            "path": self._paths,
            "sockaddr": self._sockaddrs,
            "event": self._events,
            "record": self._records,
        }
        weights = {"syscall": self._syscall_weights, "event": self._event_weights}
        batch = Batch(self._dimensions.rows.take(), Facts(facts, weights, self._claimed))
        self._dimensions.held = 0
        self._new_batch()
        return batch

    def add(self, identity: Identity, records: Sequence[Record], reason: int | None) -> None:
        """Make the rows of an event.

        `reason` is None if the event ended properly, else its state, unless it is complete
        anyway: it has as many PATH records as items= says.
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

    def claim(self, identity: Identity) -> None:
        """Note that an event was read from lines as the kernel prints them."""
        if not self._trust_kernel_log:
            self._claimed.append(self._event_id(identity))

    def _event_id(self, identity: Identity) -> int:
        host = self._dimensions.host(identity.node)
        return identity.second << SERIAL_BITS | (identity.serial + host) & SERIAL_MASK

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
            cwd, title, complete = self._others(event, others, arch)
            if not complete and state <= NO_EXIT:
                state = TRUNCATED
        context = self._dimensions.context(host, arch, rest, cwd, title)
        self._syscalls.append(
            (event, ms, serial, nr, a0, a1, a2, a3, success, code, state, items, context)
        )
        self._syscall_weights.append(len(others) + 1)

    def _others(
        self, event: int, records: Sequence[Record], arch: int
    ) -> tuple[bytes | None, bytes | None, bool]:
        """Read the other records of a SYSCALL; gives CWD, PROCTITLE, and if EXECVE is complete."""
        cwd = title = None
        arguments: list[bytes] = []
        further: list[Record] = []
        for record in records:
            number, body = record
            if (
                number == types.PROCTITLE
                and title is None
                and _is_single_field(body, b"proctitle=")
            ):
                title = body
            elif number == types.CWD and cwd is None and _is_single_field(body, b"cwd="):
                cwd = body
            elif number == types.EXECVE:
                arguments.append(body)
            else:
                further.append(record)
        complete = True
        if arguments:
            argv, complete = self._dimensions.argv(tuple(arguments))
            self._execs.append((event, argv))
            if not complete:
                further += [(types.EXECVE, body) for body in arguments]
        if further:
            long_exec = sum(map(len, arguments)) > LONG_LIST
            little = arch & LITTLE_ENDIAN != 0
            self._children(event, further, little_endian=little, long_exec=long_exec)
        return cwd, title, complete

    def _event(self, identity: Identity, records: Sequence[Record], reason: int | None) -> None:
        """Make the rows of an event without a readable SYSCALL."""
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
        self._children(event, others, little_endian=True)

    def _children(
        self,
        event: int,
        records: Iterable[Record],
        *,
        little_endian: bool,
        long_exec: bool = False,
    ) -> None:
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
                address = self._dimensions.address(saddr, little_endian=little_endian)
                self._sockaddrs.append((event, addresses, address))
                addresses += 1
                if is_all:
                    continue
            seq = seen.get(number, 0)
            seen[number] = seq + 1
            if long_exec and number == types.EXECVE:
                fields = self._dimensions.long_arguments(body)
            else:
                fields = self._dimensions.fields(number, body)
            self._records.append((event, number, seq, fields))
