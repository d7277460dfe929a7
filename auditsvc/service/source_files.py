"""The files of a log that is followed, for a loader's process that may not open them itself.

    asked = AskedFiles(path, send); asked.take(answer, descriptor)    # there
    answer, descriptor = SourceFiles(path).answer(ask)                # in `run`

auditd's log is root's. `run` opens it, and its rotated names, by the capability that it has for
that, and passes the descriptor; it reads nothing of it. What can be asked for are names in the
log's folder that a rotation gives it (`name_of`), and no others.
"""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, Any, Final

from auditsvc.collect.log_files import OWN_FILES, Status
from auditsvc.collect.logfile import name_of
from auditsvc.service.loader_reports import Ask

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_ANSWER_SECONDS: Final = 30.0
_MOST_NAMES: Final = 1000


class SourceFiles:
    """Opens what is asked for, if it is the log's."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def answer(self, ask: Ask) -> tuple[dict[str, Any], int]:
        """Give the answer, and the descriptor that goes with it, or -1: the caller closes it."""
        folder, path = self._path.parent, self._path.parent / ask.name
        try:
            if ask.what == "names":
                found = [name for name in OWN_FILES.names(folder) if self._is_ours(folder / name)]
                return {"kind": "answer", "names": sorted(found)[:_MOST_NAMES]}, -1
            if "/" in ask.name or "\0" in ask.name or not self._is_ours(path):
                return {"kind": "answer", "errno": errno.EACCES}, -1
            if ask.what == "status":
                return {"kind": "answer", "status": list(OWN_FILES.status(path))}, -1
            return {"kind": "answer"}, OWN_FILES.open(path)
        except OSError as error:
            return {"kind": "answer", "errno": error.errno or errno.EIO}, -1

    def _is_ours(self, path: Path) -> bool:
        return path == self._path or name_of(path).base == name_of(self._path).base


class AskedFiles:
    """Implements `auditsvc.collect.log_files.LogFiles` by asking; for one thread."""

    def __init__(self, send: Callable[[Ask], None]) -> None:
        self._send = send
        self._answered = threading.Event()
        self._answer: dict[str, Any] = {}
        self._descriptor = -1

    def take(self, answer: dict[str, Any], descriptor: int) -> None:
        """Take the answer; the thread that receives."""
        self._answer, self._descriptor = answer, descriptor
        self._answered.set()

    def open(self, path: Path) -> int:
        """See `LogFiles`."""
        self._ask("open", path)
        return self._descriptor

    def status(self, path: Path) -> Status:
        """See `LogFiles`."""
        return Status(*self._ask("status", path)["status"])

    def names(self, folder: Path) -> list[str]:
        """See `LogFiles`."""
        return list(self._ask("names", folder, "")["names"])

    def _ask(self, what: str, path: Path, name: str | None = None) -> dict[str, Any]:
        self._answered.clear()
        self._send(Ask.model_validate({"what": what, "name": path.name if name is None else name}))
        if not self._answered.wait(_ANSWER_SECONDS):
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), str(path))
        if number := self._answer.get("errno", 0):
            raise OSError(number, os.strerror(number), str(path))
        return self._answer
