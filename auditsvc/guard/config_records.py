"""Who changed rules and settings: read from the kernel's records in the spool.

A change of rules or settings is a CONFIG_CHANGE record (audit_log_rule_change in
kernel/auditfilter.c, audit_log_config_change in kernel/audit.c) with login, session
and the change. Pid and program are in the SYSCALL record of the same event, which exists
if the task is covered and has added no `never` rule that hides this call. Otherwise it was
probably the last process of that login session that opened an audit socket.

Only what was written since the look before the last is read, and only if necessary:
CONFIG_CHANGE records are counted when received (`RecordCollector.config_changes`).
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from auditsvc.guard.config_change import ActorInfo, ConfigChange
from auditsvc.kernel.settings import Settings
from auditsvc.record.daemon import Actor
from auditsvc.record.fields import UNSET, parse_fields, to_int
from auditsvc.record.line import Line, parse_line
from auditsvc.record.types import CONFIG_CHANGE, SYSCALL
from auditsvc.spool.reader import SpoolReader
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from auditsvc.spool.segments import Place

_NEWLINE: Final = 0x0A
_MOST_OPENERS: Final = 1024
_PIECE: Final = 8 << 20
_SOCKET_SECONDS: Final = 5
"""At most so long after opening its audit socket a process is named for a change."""

# Searched by bytes.find, which reads more than 1 GB per second.
_CHANGED: Final = b"type=CONFIG_CHANGE msg=audit("
_CALL: Final = b"type=SYSCALL msg=audit("
# socket(AF_NETLINK, ..., NETLINK_AUDIT), in hex
_NETLINK: Final = b" a0=10 a1="
_AUDIT: Final = re.compile(rb" a0=10 a1=[0-9a-f]+ a2=9 ")
_CALL_PIECES: Final = 2
"""Pieces in which the SYSCALL of a change is searched: it follows within microseconds, unless
the kernel's queue is full, which holds less than a piece."""
_SETTINGS: Final = {f"audit_{name}".encode(): name for name in (*Settings._fields, "pid")}


class ConfigRecords:
    """Reads the spool of a running service."""

    def __init__(self, directory: Path, place: Callable[[], Place]) -> None:
        """`place` gives where the next line will be written."""
        self._directory = directory
        self._place = place
        now = place()
        self._marks = deque((now, now), maxlen=2)
        self._at = now
        self._openers: dict[tuple[int, int], tuple[int, ActorInfo]] = {}

    def mark(self) -> None:
        """Note the end of a look."""
        self._marks.append(self._place())
        self._at = max(self._at, self._marks[0])

    def read(self, waiting: Iterable[ConfigChange]) -> list[ConfigChange]:
        """Give the new changes, and add calls to `waiting` ones; SpoolError if it fails."""
        changes: list[ConfigChange] = []
        without_call = [(change, _CALL_PIECES) for change in waiting if change.call is None]
        with SpoolReader(self._directory, self._at) as reader:
            while data := reader.read(_PIECE):
                self._at = reader.place
                without_call = [
                    (change, pieces - 1)
                    for change, pieces in without_call
                    if pieces and not _find_call(data, 0, change)
                ]
                for at in _starts(data, _CHANGED):
                    if (line := _line_at(data, at)) is None:
                        continue
                    change = _config_change(line)
                    changes.append(change)
                    if not _find_call(data, at, change):
                        without_call.append((change, _CALL_PIECES - 1))
                self._note_openers(data)
        return changes

    def opener(self, change: ConfigChange) -> ActorInfo | None:
        """Give who in the change's login session opened an audit socket shortly before."""
        second, who = self._openers.get((change.auid, change.ses), (0, None))
        return who if 0 <= change.second - second <= _SOCKET_SECONDS else None

    def _note_openers(self, data: bytes) -> None:
        """Note who opened an audit socket, by login and session."""
        for at in _each(data, _NETLINK):
            if not _AUDIT.match(data, at):
                continue
            start = data.rfind(b"\n", 0, at) + 1
            if not data.startswith(_CALL, start):
                continue
            if (line := _line_at(data, start)) is None:
                continue
            fields = _fields(SYSCALL, line)
            try:
                arch = int(fields.get(b"arch") or b"", 16)
            except ValueError:
                continue
            number = to_int(fields.get(b"syscall"))
            if number is None or names.syscall_name(arch, number) != "socket":
                continue
            who = replace(_actor_info(fields), known_by="socket")
            if len(self._openers) >= _MOST_OPENERS:
                self._openers.clear()
            self._openers[who.actor.auid, who.actor.ses] = (line.second, who)


def _each(data: bytes, text: bytes, start: int = 0) -> Iterator[int]:
    """Give the positions of a text."""
    while (start := data.find(text, start)) >= 0:
        yield start
        start += len(text)


def _starts(data: bytes, text: bytes, start: int = 0) -> Iterator[int]:
    """Give the positions of lines that begin with a text; inside a line it may be forged."""
    return (at for at in _each(data, text, start) if not at or data[at - 1] == _NEWLINE)


def _line_at(data: bytes, start: int) -> Line | None:
    """Parse the line that begins there; None if it is no record."""
    line = parse_line(data[start : data.find(b"\n", start)])
    return line if isinstance(line, Line) else None


def _find_call(data: bytes, start: int, change: ConfigChange) -> bool:
    """Search the SYSCALL record of a change."""
    at = next(_starts(data, b"%b%b)" % (_CALL, change.stamp.encode()), start), None)
    if at is None:
        return False
    if (line := _line_at(data, at)) is not None:
        change.call = _actor_info(_fields(SYSCALL, line))
    return True


def _stamp(line: Line) -> str:
    return f"{line.second}.{line.ms:03}:{line.serial}"


def _fields(record_type: int, line: Line) -> dict[bytes, bytes | None]:
    """Give the fields by name; of a repeated name the first one."""
    return {field.name: field.value for field in parse_fields(record_type, line.body)[::-1]}


def _config_change(line: Line) -> ConfigChange:
    fields = _fields(CONFIG_CHANGE, line)
    setting = next((name for name in fields if name in _SETTINGS), b"")
    return ConfigChange(
        stamp=_stamp(line),
        second=line.second,
        op=(fields.get(b"op") or b"").decode(errors="replace"),
        filter_list=to_int(fields.get(b"list")),
        key=fields.get(b"key"),
        setting=_SETTINGS.get(setting, ""),
        value=_number(fields, setting, 0),
        done=fields.get(b"res") == b"1",
        auid=_number(fields, b"auid"),
        ses=_number(fields, b"ses"),
    )


def _actor_info(fields: Mapping[bytes, bytes | None]) -> ActorInfo:
    # A label is one word: other text must not become further fields.
    label = (fields.get(b"subj") or b"").decode("ascii", "replace")
    by = Actor(
        pid=_number(fields, b"pid", 0),
        uid=_number(fields, b"uid"),
        auid=_number(fields, b"auid"),
        ses=_number(fields, b"ses"),
        subj=label if label.isprintable() and label and " " not in label else "unconfined",
    )
    return ActorInfo(by, fields.get(b"comm"), fields.get(b"exe"), "call")


def _number(fields: Mapping[bytes, bytes | None], name: bytes, otherwise: int = UNSET) -> int:
    number = to_int(fields.get(name))
    return otherwise if number is None else number
