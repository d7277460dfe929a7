"""Records the control group of processes when they are first seen, for unit and container.

The loader hands over the processes of a batch (`seen`); a thread of its own reads
/proc/PID/cgroup, as the kernel may let it wait for its lock on groups. What it finds goes into the
spool as DAEMON_CONFIG records

    op=cgroup cgroup=PATH [unit=] [session=] [container=ID runtime= [name=] [image=]] pid=PID

so that the spool alone tells it. A process is in its parent's group unless it is moved: only one
that is in another than its parent has a record. A process that ended before it was read has none
either, and counts as its parent (`auditsvc.store.views.cgroups` goes from a process to its parents
in the same way). A parent that no call told of is read and recorded too, once for all its
children; if it has ended, each child is recorded.

Invariants:

* A record says where its pid's process was at the record's own time, so a pid that was used
  again in between makes no record wrong.
* A process that has a record has another for each program, parent and session with which it is
  seen, for these can be taken for another life (`auditsvc.store.process_lives`).
* On each day (UTC) the records of processes that still run are written again, for a log is kept
  and deleted by days.
* At most MOST pids are kept in mind; of one that was forgotten there is one record more.
* At most MOST_WAITING wait to be read; one that comes while so many wait is not read, counts as
  its parent, and the log says how many were left out.
"""

from __future__ import annotations

import os
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from auditsvc.enrich.cgroups import place_of
from auditsvc.enrich.containers import Known, look_up
from auditsvc.enrich.looker import DAY, Looker

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.decode.batch import Batch
    from auditsvc.enrich.cgroups import Place

    Read = Callable[[int], bytes | None]
    """The text of a process's /proc/PID/cgroup; None if it has ended."""
    Record = Callable[[int, Place, Known], None]

log = structlog.get_logger()

MOST: Final = 50_000
MOST_WAITING: Final = 20_000
_LOOK: Final = 60.0
_MOST_TEXT: Final = 1 << 16
# Columns of the table `context`, by their place in its rows.
_PPID, _PID, _SES, _EXE = 3, 4, 15, 17


class Seen(NamedTuple):
    """A process as a call's record shows it; `exe` is an id of a text."""

    pid: int
    ppid: int | None
    ses: int | None
    exe: int | None


def processes_of(batch: Batch) -> list[Seen]:
    """Give the processes in the contexts that are new in a batch, in the order of its rows."""
    rows = batch.dimensions.get("context", ())
    found = dict.fromkeys(
        tuple(_number(row[column]) for column in (_PID, _PPID, _SES, _EXE)) for row in rows
    )
    return [Seen(pid, *rest) for pid, *rest in found if pid is not None and pid > 0]


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def read_cgroup(pid: int) -> bytes | None:
    """Read a process's groups; None if it has ended."""
    try:
        file = os.open(f"/proc/{pid}/cgroup", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(file, _MOST_TEXT) or None
    except OSError:
        return None
    finally:
        os.close(file)


def words_of(place: Place, known: Known) -> tuple[bytes, dict[str, str | None]]:
    """Give the path, and the further words of the record."""
    return place.path, {
        "unit": place.unit,
        "session": place.session,
        "container": place.container,
        "runtime": place.runtime,
        "name": known.name,
        "image": known.image,
    }


class CgroupWatch(Looker):
    """Reads and records until `finish` is called."""

    def __init__(
        self,
        record: Record,
        *,
        read: Read = read_cgroup,
        known: Callable[[str, str], Known] = look_up,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`record` writes a pid, its place, and what the runtime tells, into the log."""
        super().__init__("cgroups", _LOOK)
        self._record = record
        self._read = read
        self._known_container = known
        self._now = now
        self._new: dict[Seen, None] = {}
        self._left_out = 0
        self._texts: dict[int, bytes] = {}
        """Groups of a pid's process, as it was last read, or counts by its parent."""
        self._recorded: dict[int, tuple[bytes, Seen]] = {}
        self._place = lru_cache(4096)(place_of)
        self._day = self._now() // DAY

    def seen(self, batch: Batch) -> None:
        """Take the processes of a batch; the loader's thread."""
        self.take(processes_of(batch))

    def take(self, found: list[Seen]) -> None:
        """Take processes, in the order of their rows."""
        if found:
            with self._lock:
                room = MOST_WAITING - len(self._new)
                self._new.update(dict.fromkeys(found[:room]))
                self._left_out += len(found[room:])
            self._wake.set()

    def look(self) -> None:
        """Read what is new, parents before their children; once a day, record again."""
        with self._lock:
            new, self._new = self._new, {}
            left_out, self._left_out = self._left_out, 0
        if left_out:
            log.warning("control groups were not read: too many processes began", count=left_out)
        by_pid: dict[int, list[Seen]] = {}
        for each in new:
            by_pid.setdefault(each.pid, []).append(each)
        while by_pid:
            pid = next(iter(by_pid))
            chain = [pid]
            while (parent := by_pid[pid][0].ppid) in by_pid and parent not in chain:
                assert parent is not None
                pid = parent
                chain.append(pid)
            for pid in reversed(chain):
                text = self._read(pid)  # once: most are seen with several programs
                for each in by_pid.pop(pid):
                    self._take(each, text)
        if self._now() // DAY != self._day:
            self._day = self._now() // DAY
            self._record_again()

    def _take(self, seen: Seen, text: bytes | None) -> None:
        parents = self._parents(seen.ppid)
        if parents is None and seen.ppid:
            parents = self._read_parent(seen.ppid)
        if text is None:  # too short-lived
            self._recorded.pop(seen.pid, None)
            before = self._texts.pop(seen.pid, None)
            # Whether it was the process that was read before is not known: then nothing is.
            if parents is not None and before in (None, parents):
                self._keep(seen.pid, parents)
            return
        self._keep(seen.pid, text)
        if seen.pid in self._recorded:
            if self._recorded[seen.pid] != (text, seen):
                self._write(text, seen)
        elif text != parents:
            self._write(text, seen)

    def _parents(self, ppid: int | None) -> bytes | None:
        return None if ppid is None else self._texts.get(ppid)

    def _read_parent(self, ppid: int) -> bytes | None:
        """Read a parent that no call told of, and record it."""
        text = self._read(ppid)
        if text is not None:
            self._keep(ppid, text)
            self._write(text, Seen(ppid, None, None, None))
        return text

    def _keep(self, pid: int, text: bytes) -> None:
        self._texts.pop(pid, None)
        self._texts[pid] = text
        if len(self._texts) > MOST:
            oldest = next(iter(self._texts))
            del self._texts[oldest]
            self._recorded.pop(oldest, None)

    def _write(self, text: bytes, seen: Seen) -> None:
        place = self._place(text)
        if place is None:
            return
        self._recorded[seen.pid] = text, seen
        known = Known()
        if place.container is not None and place.runtime is not None:
            known = self._known_container(place.container, place.runtime)
        self._record(seen.pid, place, known)

    def _record_again(self) -> None:
        for pid, (_, seen) in list(self._recorded.items()):
            text = self._read(pid)
            if text is None:
                del self._recorded[pid]
            else:
                self._keep(pid, text)
                self._write(text, seen)
