"""Records the names of users and groups as they are now, when an id is first seen or changes.

A thread of its own, as a directory server may let it wait: neither the collector nor the loader
does. The loader hands over the ids of a batch (`seen`), which costs it a set; the names go into
the spool as DAEMON_CONFIG records

    op=name kind=user|group id=N acct=NAME

so that the spool alone tells them. They are looked up

* when an id is first seen,
* when /etc/passwd or /etc/group has changed, and once an hour for directory servers: a name that
  is another now, or gone, is recorded,
* and recorded once more on each day (UTC), for a log is kept and deleted by days.

An id that never had a name is not recorded. At most MOST ids are known: the users of a namespace
can be many, and have no names.
"""

from __future__ import annotations

import grp
import pwd
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditsvc.enrich.looker import DAY, Looker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from auditsvc.decode.batch import Batch

    Lookup = Callable[[int], bytes | None]
    """The name of an id now; None if it has none. It may take long."""

USER: Final = "user"
GROUP: Final = "group"
MOST: Final = 10_000
_FILES: Final = (Path("/etc/passwd"), Path("/etc/group"))
_LOOK: Final = 10.0
"""Seconds between two looks at the files."""
_HOUR: Final = 3600
# Columns of the table `context`, by their place in its rows.
_COLUMNS: Final = {USER: (5, 6, 8, 9, 10), GROUP: (7, 11, 12, 13)}


def ids_of(batch: Batch) -> dict[str, set[int]]:
    """Give the ids of users and groups in the contexts that are new in a batch."""
    if "context" not in batch.dimensions:
        return {}
    found: dict[str, set[int]] = {}
    for kind, columns in _COLUMNS.items():
        if batch.packed:
            sets = [batch.packed.integers("context", column) for column in columns]
            found[kind] = set().union(*sets)
        else:
            rows = batch.dimensions["context"]
            values = {row[column] for row in rows for column in columns}
            found[kind] = {value for value in values if isinstance(value, int)}
    return found


def user_name(number: int) -> bytes | None:
    """Give the name of a uid, of all sources of names that this host asks."""
    try:
        return pwd.getpwuid(number).pw_name.encode(errors="surrogateescape")
    except (KeyError, OSError, OverflowError):
        return None


def group_name(number: int) -> bytes | None:
    """Give the name of a gid."""
    try:
        return grp.getgrgid(number).gr_name.encode(errors="surrogateescape")
    except (KeyError, OSError, OverflowError):
        return None


LOOKUPS: Final[Mapping[str, Lookup]] = {USER: user_name, GROUP: group_name}


class NameWatch(Looker):
    """Looks names up until `finish` is called."""

    def __init__(
        self,
        record: Callable[[str, int, bytes | None], None],
        *,
        lookups: Mapping[str, Lookup] = LOOKUPS,
        files: Iterable[Path] = _FILES,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`record` writes a kind, an id and its name into the log."""
        super().__init__("names", _LOOK)
        self._record = record
        self._lookups = lookups
        self._files = tuple(files)
        self._now = now
        self._new: set[tuple[str, int]] = set()
        self._known: dict[tuple[str, int], bytes | None] = {}
        """All ids that were seen, and the name that was recorded last."""
        self._asked: set[tuple[str, int]] = set()
        """The same ids, for the loader."""
        self._stamps = self._read_stamps()
        self._looked = self._now()

    def seen(self, batch: Batch) -> None:
        """Take the ids of a batch; the loader's thread."""
        for kind, numbers in ids_of(batch).items():
            self.take(kind, numbers)

    def take(self, kind: str, numbers: Collection[int]) -> None:
        """Take ids; one thread at a time."""
        new = {(kind, number) for number in numbers} - self._asked
        if new and len(self._asked) < MOST:
            some = sorted(new)[: MOST - len(self._asked)]
            self._asked.update(some)
            with self._lock:
                self._new.update(some)
            self._wake.set()

    def look(self) -> None:
        """Record names of new ids, and what has changed since the last look."""
        with self._lock:
            new, self._new = self._new, set()
        for kind, number in sorted(new):
            name = self._lookups[kind](number)
            self._known[kind, number] = name
            if name is not None:
                self._record(kind, number, name)
        now, stamps = self._now(), self._read_stamps()
        is_new_day = now // DAY != self._looked // DAY
        if stamps == self._stamps and now - self._looked < _HOUR and not is_new_day:
            return
        self._stamps, self._looked = stamps, now
        for (kind, number), before in list(self._known.items()):
            name = self._lookups[kind](number)
            self._known[kind, number] = name
            if name != before or (is_new_day and name is not None and (kind, number) not in new):
                self._record(kind, number, name)

    def _read_stamps(self) -> list[tuple[int, int] | None]:
        return [_stamp(path) for path in self._files]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
