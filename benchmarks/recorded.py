"""A log of real programs, recorded from this kernel by Debian's auditd: it has no EOE.

`mix.sh` has the programs. A recorded log has what a made one lacks: thousands of process
contexts, long paths, calls with four paths, failed calls, records of every length.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Final

from fixtures.audit import exclusive_audit, restored
from fixtures.long_logs import Log
from live.auditd import Auditd
from live.programs import Programs, fresh_auid
from readers import ruled

_MIX: Final = Path(__file__).with_name("mix.sh")
_RECORD: Final = 265
"""Bytes of a record of this mix, about."""


def make(records: int, path: Path) -> Log:
    """Record a log of about so many records."""
    auid = fresh_auid()
    with tempfile.TemporaryDirectory(dir=path.parent) as name:
        folder = Path(name)
        programs = Programs.build(folder)
        most = max(1, records * _RECORD >> 20)
        with exclusive_audit() as control, restored(control):
            log = folder / "auditd/audit.log"
            with Auditd(log.parent), ruled(control, auid):
                command = [programs["as_auid"], str(auid), _MIX, folder, str(most), log]
                subprocess.run(command, check=True)
        log.rename(path)
    return _counted(path)


def beginning(log: Log, records: int, path: Path) -> Log:
    """Copy the first records of a log, and the rest of their last event."""
    last = b""
    with log.path.open("rb") as stream, path.open("wb") as out:
        for number, line in enumerate(stream):
            if number >= records and _stamp(line) != last:
                break
            last = _stamp(line)
            out.write(line)
    return _counted(path)


def _counted(path: Path) -> Log:
    events, records, last = 0, 0, b""
    with path.open("rb") as stream:
        for line in stream:
            records += 1
            events += _stamp(line) != last
            last = _stamp(line)
    return Log("real", path, records, events, path.stat().st_size)


def _stamp(line: bytes) -> bytes:
    return line.partition(b"msg=")[2].partition(b")")[0]
