"""In a journald's namespace: one run into the journal, with the time until all can be read.

    journal_driver.py forward URL           the forwarder; prints seconds, events, CPU seconds
    journal_driver.py send PROGRAM FILE N   a program's entries of the batch `bench`, the same

The time begins with the first entry and ends when the last one was read back.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from auditsvc.forward.fields import entry
from auditsvc.forward.forwarder import Forwarder
from auditsvc.forward.process import reduce_garbage_collection
from auditsvc.forward.readback import Readback
from auditsvc.host.users import Users
from auditsvc.store import open_store
from auditsvc.store.read.feed import Feed
from auditsvc.store.read.selection import Selection

EVERY = Selection(keyed=False, exclude_keys=(), types=("*",))


class _Alone:
    """A control that is never stopped."""

    sent = 0

    def ends(self) -> bool:
        return False

    def draining(self) -> bool:
        return True

    def tell(self, sent: int, trouble: str) -> None:
        assert not trouble, trouble
        self.sent = sent


def _forward(url: str) -> None:
    control = _Alone()
    reduce_garbage_collection()
    with open_store(url, create=False) as store:
        feed = Feed(store, "journal")
        one = feed.ids(EVERY, 1).ids
        entry(feed.fetch(one)[0], Users().name)  # tables of names are read once in a service's life
        forwarder = Forwarder(feed, lambda: EVERY, Readback(), control, host="bench", users=Users())
        begin, cpu = time.monotonic(), sum(os.times()[:2])
        forwarder.run()
        print(time.monotonic() - begin, control.sent, sum(os.times()[:2]) - cpu)


def _send(program: str, file: str, count: int) -> None:
    readback = Readback()
    with subprocess.Popen([program, file], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        begin = float(process.stdout.readline())
        readback.reopen()
        while readback.count("bench") < count:
            time.sleep(0.002)
        seconds = time.monotonic() - begin
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0
    print(seconds, count, used.ru_utime + used.ru_stime)


if sys.argv[1] == "forward":
    _forward(sys.argv[2])
else:
    _send(sys.argv[2], sys.argv[3], int(sys.argv[4]))
