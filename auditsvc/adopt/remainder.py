"""What a copy of the records has and auditd's log has not: the lines to load beside that log.

auditd writes a record as it came, or with names behind it (log_format = ENRICHED), so a line of
the log and one of the copy are compared by what stands behind `msg=`, without these names: the
store would take the two for different events. EOE is not in auditd's log, and counts only where
other lines of its event are left.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from auditsvc.collect.logfile import open_log
from auditsvc.host.files import open_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from auditsvc.collect.unpack import UnpackedLog

_MESSAGE: Final = re.compile(rb" msg=(audit\((\d+)\.\d+:\d+\)[^\x1d\n]*)")
_EOE: Final = b"type=EOE "
_SLACK: Final = 60
"""Seconds: how long before the copy an event may have begun whose records are in it."""


def write_remainder(
    target: Path, copies: Iterable[Path], logs: Iterable[Path], since: float, mark: str
) -> int:
    """Write the lines of the copies that are in none of the logs; gives their number.

    `since`: when the copy began, in seconds since 1970. `mark`: the copy's lines behind the one
    with this text are left out, "" for none.
    """
    known = set(_messages(logs, since))
    kept = [line for line in _up_to(copies, mark.encode()) if _message(line) not in known]
    events = {_event(line) for line in kept if not line.startswith(_EOE)}
    kept = [line for line in kept if _event(line) in events]
    part = target.with_name(f".{target.name}.new")
    part.unlink(missing_ok=True)
    with os.fdopen(open_file(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as stream:
        stream.writelines(kept)
        stream.flush()
        os.fdatasync(stream.fileno())
    part.replace(target)
    return len(kept)


def _messages(logs: Iterable[Path], since: float) -> Iterator[bytes]:
    """Give what is behind `msg=` in the lines of this time."""
    first = int(since) - _SLACK
    for path in logs:
        if path.stat().st_mtime < first:
            continue
        with open_log(path) as stream:
            for line in _lines(stream):
                found = _MESSAGE.search(line)
                if found is not None and int(found[2]) >= first:
                    yield found[1]


def _up_to(copies: Iterable[Path], mark: bytes) -> Iterator[bytes]:
    for path in copies:
        with path.open("rb") as stream:
            for line in stream:
                yield line
                if mark and mark in line:
                    return


def _lines(stream: BinaryIO | UnpackedLog) -> Iterator[bytes]:
    rest = b""
    while data := stream.read(1 << 20):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _message(line: bytes) -> bytes:
    found = _MESSAGE.search(line)
    return found[1] if found is not None else line


def _event(line: bytes) -> bytes:
    return _message(line).partition(b")")[0]
