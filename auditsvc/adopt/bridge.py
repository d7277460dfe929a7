"""The process that keeps a copy of all records while one audit daemon ends and another begins.

    python3 -P -m auditsvc.adopt.bridge FOLDER CHOICE BUFFER     # until SIGTERM

auditd ends without reading what is in its socket, and while no daemon is registered the kernel
drops what it would send (without `audit=1`, uncounted). But it gives each record to the multicast
group first, whether there is a daemon or not, and once (kauditd_send_multicast_skb is the hook of
the main queue alone, kernel/audit.c). So a member of the group misses nothing; if its buffer were
full it would be told (ENOBUFS), which is counted.

The copy is a spool of its own in FOLDER, and `bridge.json` there says how it is. The process is
one of its own so that it goes on when `adopt` is killed; it ends by itself after an hour, or at
4 GiB.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

from auditsvc.collect.collector import make_collector
from auditsvc.errors import AuditsvcError
from auditsvc.host.files import replace_file
from auditsvc.host.signals import Signals
from auditsvc.kernel.netlink import RecordSocket
from auditsvc.record.daemon import DaemonRecords
from auditsvc.spool.segments import sizes
from auditsvc.spool.sink import Sink
from auditsvc.spool.writer import SpoolWriter

FACTS: Final = "bridge.json"
_SECONDS: Final = 3600.0
_BYTES: Final = 4 << 30
_SEGMENT: Final = 64 << 20


def main(folder: Path, choice: str, buffer: int) -> None:
    """Copy until a signal, an error or a limit."""
    signals = Signals((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    facts: dict[str, object] = {"pid": os.getpid(), "ended": "", "error": "", "dropped": 0}

    def note(**more: object) -> None:
        facts.update(more)
        replace_file(folder / FACTS, json.dumps(facts), sync=True)

    try:
        records = RecordSocket.multicast(buffer)
        writer = SpoolWriter(folder, segment_bytes=_SEGMENT, fsync="second")
    except AuditsvcError as error:
        note(ended="error", error=str(error))
        return
    sink = Sink(writer, DaemonRecords())
    decoder = None if choice == "auto" else choice
    collector = make_collector(decoder, records, sink)  # type: ignore[arg-type]
    collector.start()
    note(began=time.time())
    ends, reason = time.monotonic() + _SECONDS, ""
    while not reason:
        if signals.wait(0.5) is not None:
            reason = "signal"
        elif collector.error is not None or sink.lost:
            reason = "error"
        elif time.monotonic() > ends or sum(sizes(folder).values()) > _BYTES:
            reason = "limit"
        sink.sync()
    if collector.is_alive():
        collector.stop()
    why = str(collector.error or "") or sink.refused
    sink.close()
    note(ended=reason, error=why, dropped=records.overflows + sink.lost, records=sink.records)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
