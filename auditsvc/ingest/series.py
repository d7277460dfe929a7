"""The files of one log in the store, oldest first, and the position of a file among them.

A series is a source of kind `series` whose `pending` names its files (sources of kind `file`)
in order. It has no counts. Files are identified by their content, not by their names; the
names that they have on disk now show which is older, else their first records do.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditsvc.collect import logfile
from auditsvc.errors import SpoolError
from auditsvc.ingest.ended_file import EndedFile
from auditsvc.ingest.part import HEAD, LOOK, Part, decode_part, first_stamp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditsvc.store import Source, Store

KIND: Final = "series"
FILE: Final = "file"


class Heads:
    """The first bytes of files on disk; each is read once."""

    def __init__(self) -> None:
        self._known: dict[Path, bytes] = {}

    def of(self, path: Path) -> bytes:
        """Give the first bytes; b"" of a file that cannot be read."""
        if path not in self._known:
            with suppress(SpoolError, OSError):
                self._known[path] = read_head(path, LOOK)
        return self._known.get(path, b"")


def read_head(path: Path, size: int = HEAD) -> bytes:
    """Give the first bytes of a log; SpoolError, OSError if not even one can be read."""
    head = b""
    with logfile.open_log(path) as stream:
        try:
            while len(head) < size and (data := stream.read(size - len(head))):
                head += data
        except (SpoolError, OSError):
            if not head:
                raise
    return head


def series_of(host: str, path: Path) -> str:
    """Name the series that a file belongs to by its name."""
    base = logfile.name_of(path.absolute()).base
    return blake2b(f"{host}\0{base}".encode(errors="surrogateescape"), digest_size=16).hexdigest()


def choose_series(store: Store, host: str, path: Path, heads: Heads) -> str:
    """Name the series of a file: its own if it is known, else that of its neighbours."""
    own = series_of(host, path)
    head = heads.of(path)
    if (known := _series_known(store, head)) is not None:
        return known
    if store.find(KIND, own) is None:
        for each in siblings(path):
            if each != path.absolute() and (known := _series_known(store, heads.of(each))):
                return known
    return own


def _series_known(store: Store, head: bytes) -> str | None:
    name = logfile.fingerprint(head)
    source = store.find(FILE, name) if name else None
    if source is None:
        return None
    part = decode_part(source.pending)
    return part.series if part.series and part.begins(head) else None


def siblings(path: Path) -> list[Path]:
    """Give the files on disk that are of the same log by their names, oldest first."""
    path = path.absolute()
    base = logfile.name_of(path).base
    found = {path}
    with suppress(OSError):
        found.update(each for each in path.parent.iterdir() if logfile.name_of(each).base == base)
    return logfile.in_order(sorted(found))


class Series:
    """The files of one log, as recorded in the store."""

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self.source = store.find(KIND, name)
        pending = self.source.pending.decode() if self.source else ""
        self.names = pending.split("\n") if pending else []
        self.sources = store.find_all(FILE, self.names)
        self.parts = {each: decode_part(source.pending) for each, source in self.sources.items()}
        self.names = [each for each in self.names if each in self.parts]

    def moved(self, names: Iterable[str]) -> Source:
        """Give its new source; the position counts the changes."""
        assert self.source is not None
        return replace(
            self.source, pending="\n".join(names).encode(), position=self.source.position + 1
        )

    def place_of(self, path: Path, head: bytes, heads: Heads) -> int:
        """Give the position for a file that is not among them yet."""
        path = path.absolute()
        if not self.names:
            return 0
        disk = siblings(path)
        where = self._where(disk, path, heads)
        mine = disk.index(path)
        older = [self.names.index(name) for each in disk[:mine] if (name := where.get(each))]
        newer = [self.names.index(name) for each in disk[mine + 1 :] if (name := where.get(each))]
        low = max(older, default=-1) + 1
        high = max(low, min(newer, default=len(self.names)))
        stamp = first_stamp(head)
        for position in range(low, high):  # those that are no longer on disk
            other = self.parts[self.names[position]].stamp
            if stamp and other and other > stamp:
                return position
        return high

    def _where(self, disk: Iterable[Path], but: Path, heads: Heads) -> dict[Path, str]:
        """Give the names on disk of the files that are among them."""
        heads_of = {path: heads.of(path) for path in disk if path != but}
        found: dict[Path, str] = {}
        left = dict.fromkeys(self.names)
        for must_be_named in (True, False):  # where they were when they were read; or elsewhere
            for path, head in heads_of.items():
                fits = [
                    name
                    for name in left
                    if path not in found
                    and self.parts[name].begins(head)
                    and (not must_be_named or self.parts[name].path == str(path))
                ]
                if fits:
                    found[path] = max(fits, key=lambda name: self.parts[name].size)
                    del left[found[path]]
        return found

    def look_for(self, path: Path, head: bytes) -> tuple[str, EndedFile] | None:
        """Find a file among them, and open it where it was left."""
        path = path.absolute()
        fits = [name for name in self.names if self.parts[name].begins(head)]
        fits.sort(key=lambda name: self.parts[name].size, reverse=True)
        fits.sort(key=lambda name: self.parts[name].path != str(path))
        for name in fits:
            part = self.parts[name]
            if part.path != str(path) and part.stamp is None and self._is_there(part):
                continue  # another file that begins alike, with a piece of a line
            if log := _open_at(path, self.sources[name]):
                return name, log
        return None

    @staticmethod
    def _is_there(part: Part) -> bool:
        """Whether a file still has the name under which it was read."""
        with suppress(SpoolError, OSError):
            return part.begins(read_head(Path(part.path), LOOK))
        return False


def _open_at(path: Path, source: Source) -> EndedFile | None:
    log = EndedFile(path, source.segment, source.position)
    if log.position == source.position:
        return log
    log.close()
    return None


def find_file(store: Store, path: Path, head: bytes, series: Series) -> tuple[str, EndedFile]:
    """Give the name of a file's source, and the file, opened where reading continues."""
    if found := series.look_for(path, head):
        return found
    base = logfile.fingerprint(head)
    if not base:
        text = f"{series.name}\0{path.absolute()}\0".encode(errors="surrogateescape") + head
        base = "part-" + blake2b(text, digest_size=13).hexdigest()
    attempt = 0
    while True:
        name = f"{base}-{attempt}" if attempt else base
        source = store.find(FILE, name)
        if source is None:
            return name, EndedFile(path, "", 0)
        known = series.parts.get(name)  # with a head it was looked for
        if not (known and known.size) and (log := _open_at(path, source)):
            return name, log
        attempt += 1
