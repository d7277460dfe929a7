"""Who changed rules and settings: read back from the spool, where the kernel's word stands.

A change of rules or settings is a CONFIG_CHANGE record (audit_log_rule_change in
kernel/auditfilter.c, audit_log_config_change in kernel/audit.c) with login, session
and what was done. Pid and program stand in the SYSCALL of the same event, which is
there if the task is covered and no `never` of its own making hides that call; for then,
the last process of that login session which opened an audit socket is a good witness.

Only what was written since the last look but one is read, and only when there is reason
to: CONFIG_CHANGE records are counted as they pass (`RecordCollector.config_changes`).
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from auditsvc.guard.config_change import Culprit, Deed
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
"""What a process may take from opening its audit socket to its deed, for us to name it."""

# Searched by bytes.find, which passes over a GB a second.
_CHANGED: Final = b"type=CONFIG_CHANGE msg=audit("
_CALL: Final = b"type=SYSCALL msg=audit("
# socket(AF_NETLINK, ..., NETLINK_AUDIT), in hex
_NETLINK: Final = b" a0=10 a1="
_AUDIT: Final = re.compile(rb" a0=10 a1=[0-9a-f]+ a2=9 ")
_CALL_PIECES: Final = 2
"""Pieces in which the SYSCALL of a deed is looked for: it follows within microseconds, unless
the kernel's queue is full, which holds fewer bytes than a piece has."""
_SETTINGS: Final = {f"audit_{name}".encode(): name for name in (*Settings._fields, "pid")}


class Trail:
    """Reads the spool of a running service."""

    def __init__(self, directory: Path, place: Callable[[], Place]) -> None:
        """`place` tells where the next line will be written."""
        self._directory = directory
        self._place = place
        now = place()
        self._marks = deque((now, now), maxlen=2)
        self._at = now
        self._openers: dict[tuple[int, int], tuple[int, Culprit]] = {}

    def mark(self) -> None:
        """Say that a look is over."""
        self._marks.append(self._place())
        self._at = max(self._at, self._marks[0])

    def read(self, waiting: Iterable[Deed]) -> list[Deed]:
        """Give the deeds that are new, and `waiting` ones their calls; SpoolError if it fails."""
        deeds: list[Deed] = []
        callless = [(deed, _CALL_PIECES) for deed in waiting if deed.call is None]
        with SpoolReader(self._directory, self._at) as reader:
            while data := reader.read(_PIECE):
                self._at = reader.place
                callless = [
                    (deed, pieces - 1)
                    for deed, pieces in callless
                    if pieces and not _find_call(data, 0, deed)
                ]
                for at in _starts(data, _CHANGED):
                    if (line := _line_at(data, at)) is None:
                        continue
                    deed = _deed(line)
                    deeds.append(deed)
                    if not _find_call(data, at, deed):
                        callless.append((deed, _CALL_PIECES - 1))
                self._note_openers(data)
        return deeds

    def opener(self, deed: Deed) -> Culprit | None:
        """Who of the deed's login session had opened an audit socket shortly before."""
        second, who = self._openers.get((deed.auid, deed.ses), (0, None))
        return who if 0 <= deed.second - second <= _SOCKET_SECONDS else None

    def _note_openers(self, data: bytes) -> None:
        """Remember who opened an audit socket, by login and session."""
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
            who = replace(_culprit(fields), known_by="socket")
            if len(self._openers) >= _MOST_OPENERS:
                self._openers.clear()
            self._openers[who.actor.auid, who.actor.ses] = (line.second, who)


def _each(data: bytes, text: bytes, start: int = 0) -> Iterator[int]:
    """Give where a text stands."""
    while (start := data.find(text, start)) >= 0:
        yield start
        start += len(text)


def _starts(data: bytes, text: bytes, start: int = 0) -> Iterator[int]:
    """Give where lines begin with a text; inside a line it is only what somebody sent."""
    return (at for at in _each(data, text, start) if not at or data[at - 1] == _NEWLINE)


def _line_at(data: bytes, start: int) -> Line | None:
    """Take the line apart that begins there; None if it is no record after all."""
    line = parse_line(data[start : data.find(b"\n", start)])
    return line if isinstance(line, Line) else None


def _find_call(data: bytes, start: int, deed: Deed) -> bool:
    """Look for the SYSCALL of a deed."""
    at = next(_starts(data, b"%b%b)" % (_CALL, deed.stamp.encode()), start), None)
    if at is None:
        return False
    if (line := _line_at(data, at)) is not None:
        deed.call = _culprit(_fields(SYSCALL, line))
    return True


def _stamp(line: Line) -> str:
    return f"{line.second}.{line.ms:03}:{line.serial}"


def _fields(record_type: int, line: Line) -> dict[bytes, bytes | None]:
    """Give the fields by name; of a name that comes again the first."""
    return {field.name: field.value for field in parse_fields(record_type, line.body)[::-1]}


def _deed(line: Line) -> Deed:
    fields = _fields(CONFIG_CHANGE, line)
    setting = next((name for name in fields if name in _SETTINGS), b"")
    return Deed(
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


def _culprit(fields: Mapping[bytes, bytes | None]) -> Culprit:
    # A label is a word: whatever else stands there must not become further fields.
    label = (fields.get(b"subj") or b"").decode("ascii", "replace")
    by = Actor(
        pid=_number(fields, b"pid", 0),
        uid=_number(fields, b"uid"),
        auid=_number(fields, b"auid"),
        ses=_number(fields, b"ses"),
        subj=label if label.isprintable() and label and " " not in label else "unconfined",
    )
    return Culprit(by, fields.get(b"comm"), fields.get(b"exe"), "call")


def _number(fields: Mapping[bytes, bytes | None], name: bytes, otherwise: int = UNSET) -> int:
    number = to_int(fields.get(name))
    return otherwise if number is None else number
