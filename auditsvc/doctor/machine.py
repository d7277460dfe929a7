"""The machine as files: /proc, /etc, /run under one root, which a test can replace.

A file that does not exist is None; one that may not be read is an OSError, which the
caller of a check turns into a finding: what could not be read must be reported.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ABSENT: Final = (FileNotFoundError, NotADirectoryError, ProcessLookupError)


@dataclass(frozen=True, slots=True)
class Machine:
    """`root` is / except in tests; paths are given without the leading slash."""

    root: Path = Path("/")

    def text(self, path: str) -> str | None:
        """Text of a file; None if it does not exist."""
        try:
            return (self.root / path).read_text(errors="surrogateescape")
        except _ABSENT:
            return None

    def link(self, path: str) -> str | None:
        """Target of a symbolic link; None if it does not exist or is no link."""
        try:
            return str((self.root / path).readlink())
        except PermissionError:
            raise
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        """Whether there is such a file, link or folder."""
        try:
            (self.root / path).lstat()
        except _ABSENT:
            return False
        return True

    def names(self, path: str) -> list[str]:
        """Names in a folder, sorted; [] if it does not exist."""
        try:
            return sorted(each.name for each in (self.root / path).iterdir())
        except _ABSENT:
            return []

    def parameters(self) -> list[tuple[str, str]]:
        """Name and value ("" if none) of each word on the kernel's command line, in order."""
        words = (self.text("proc/cmdline") or "").split()
        pairs = (word.partition("=") for word in words)
        return [(name.replace("-", "_"), value) for name, _, value in pairs]

    def parameter(self, name: str) -> str | None:
        """Value of a kernel parameter; the last one counts, None if it is not given."""
        found = [value for each, value in self.parameters() if each == name]
        return found[-1] if found else None

    def kernel_config(self) -> dict[str, str] | None:
        """Options that the kernel was built with; None if they are unknown."""
        text = self._config_text()
        if text is None:
            return None
        pairs = (line.partition("=") for line in text.splitlines() if line.startswith("CONFIG_"))
        return {name: value for name, _, value in pairs}

    def _config_text(self) -> str | None:
        try:
            return gzip.decompress((self.root / "proc/config.gz").read_bytes()).decode()
        except _ABSENT:
            release = (self.text("proc/sys/kernel/osrelease") or "").strip()
            for path in (f"boot/config-{release}", f"lib/modules/{release}/config"):
                if (text := self.text(path)) is not None:
                    return text
        return None

    def processes(self) -> Iterator[int]:
        """The pids in /proc."""
        return (int(name) for name in self.names("proc") if name.isdecimal())

    def program(self, pid: int) -> str:
        """Program of a process, or its short name if the program cannot be read."""
        try:
            if exe := self.link(f"proc/{pid}/exe"):
                return exe
        except PermissionError:
            pass  # everybody may read its short name
        return (self.text(f"proc/{pid}/comm") or "?").strip()

    def running(self, *names: str) -> list[int]:
        """Processes with one of these short names (15 characters at most)."""
        return [
            pid
            for pid in self.processes()
            if (self.text(f"proc/{pid}/comm") or "").strip() in names
        ]
