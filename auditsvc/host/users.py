"""Names of this host's users, for messages.

They are read from /etc/passwd only: a directory server could be unreachable, and the
forwarder would have to wait for it.
"""

from __future__ import annotations

from pathlib import Path


def as_name(name: str) -> str:
    """Give a user's name for a place where ids stand, too: one of digits alone in quotes."""
    return f'"{name}"' if name.isascii() and name.isdigit() else name


class Users:
    """User names by uid; `refresh` reads the file again when it has changed."""

    def __init__(self, path: Path = Path("/etc/passwd")) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._names: dict[int, str] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read the file if it has changed; without a file no user has a name."""
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
        """Give the name of a user, or None."""
        return self._names.get(uid)
