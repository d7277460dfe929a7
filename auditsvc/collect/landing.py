"""A file in memory where records land before they are in the spool; it outlives this process.

    landing = Landing.new()            # have its descriptor kept, then give it to a collector
    recover(landing, core, sink)       # what a crash left in it goes into the spool, once

The native core receives datagrams into it and formats their lines there, and forgets them when
they were written (native/src/collect/drain.rs). So a crash at any moment leaves each record in
the socket, in the landing or in the spool; which lines are in both is found by comparison.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from typing import TYPE_CHECKING, Final

from auditsvc.errors import SpoolError
from auditsvc.kernel.messages import FIRST_RECORD, REPLACE
from auditsvc.spool.reader import SpoolReader
from auditsvc.spool.segments import Place
from auditsvc.tables import names

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from auditsvc._native import Drain
    from auditsvc.spool.sink import Sink

SIZE: Final = 256 << 20
"""Bytes, of which only those in use take memory: usually less than 16 MiB."""
_LAST_RECORD: Final = 2999  # linux/audit.h: AUDIT_LAST_USER_MSG2
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_PIECE: Final = 8 << 20


class Landing:
    """The file."""

    def __init__(self, number: int) -> None:
        self.number = number
        """Its descriptor, which stays open as long as this process."""

    @classmethod
    def new(cls) -> Landing:
        """Make an empty one; OSError."""
        number = os.memfd_create("auditsvc-landing", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(number, SIZE)
        fcntl.fcntl(number, fcntl.F_ADD_SEALS, _SEALS)
        return cls(number)

    @classmethod
    def left(cls, number: int) -> Landing | None:
        """Use the one of an earlier process; None if it is another kind of file."""
        try:
            sealed = fcntl.fcntl(number, fcntl.F_GET_SEALS) & _SEALS == _SEALS
            is_right = sealed and os.fstat(number).st_size == SIZE
        except OSError:
            is_right = False
        return cls(number) if is_right else None


def make_drain(core: ModuleType, source: int, landing: Landing | None) -> Drain:
    """Make the native core's reader of a record socket."""
    prefixes = {
        kind: b"type=%b msg=" % names.record_type_name(kind).encode()
        for kind in range(FIRST_RECORD, _LAST_RECORD + 1)
        if kind != REPLACE
    }
    drain: Drain
    if landing is None:
        drain = core.Drain(source, prefixes)
    else:
        drain = core.Drain(source, prefixes, landing=landing.number, room=SIZE)
    return drain


def recover(landing: Landing, core: ModuleType, sink: Sink) -> list[bytes]:
    """Write the lines that are in the landing and not in the spool; gives them."""
    drain = make_drain(core, -1, landing)
    pending = drain.pending()
    lines = pending.splitlines(keepends=True)
    if lines:
        lines = _missing(lines, sink.directory, Place(*drain.place))
        sink.put(b"".join(lines), len(lines))
    drain.taken()
    return lines


def _missing(lines: list[bytes], directory: Path, place: Place) -> list[bytes]:
    """Give the lines that the spool does not have from this place on; segment 0: from nowhere."""
    if not place.segment:
        return lines
    there: Counter[bytes] = Counter()
    try:
        with SpoolReader(directory, place) as reader:
            while data := reader.read(_PIECE):
                there.update(data.splitlines(keepends=True))
    except SpoolError:
        return lines
    missing = []
    for line in lines:
        if there[line]:
            there[line] -= 1
        else:
            missing.append(line)
    return missing
