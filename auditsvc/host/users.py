"""Names of this host's users, for people to read.

Read from /etc/passwd and nowhere else: a directory server that is asked could be away,
and could make the forwarder wait for it.
"""

from __future__ import annotations

from pathlib import Path


class Users:
    """Names by uid; the file is read again when it has changed (`refresh`)."""

    def __init__(self, path: Path = Path("/etc/passwd")) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._names: dict[int, str] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read the file if it is another than before; without one nobody has a name."""
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_ino)
            if stamp == self._stamp:
                return
            lines = self._path.read_text(errors="replace").splitlines()
        except OSError:
            self._stamp, self._names = None, {}
            return
        names: dict[int, str] = {}
        for line in lines:
            words = line.split(":")
            if len(words) > 2 and words[2].isdecimal():
                names.setdefault(int(words[2]), words[0])
        self._stamp, self._names = stamp, names

    def name(self, uid: int) -> str | None:
        """Give a user's name."""
        return self._names.get(uid)
