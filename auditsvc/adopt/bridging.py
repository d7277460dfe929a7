"""Starts and ends the process that copies the records between two daemons, and proves the copy.

    bridge = start(folder, settings)
    mark(...)            # a record of ours that must arrive
    found = end(folder)  # "" or why the copy may lack records

A mark is a USYS_CONFIG record with a random number, which the kernel stamps with who sent it. A
daemon whose log has a mark made after it registered has all later records: the queue keeps its
order.
"""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from auditsvc.adopt.bridge import FACTS
from auditsvc.errors import AuditsvcError, KernelError
from auditsvc.host.file_locks import is_flocked
from auditsvc.host.files import make_folder, read_file
from auditsvc.kernel.netlink import ControlSocket
from auditsvc.spool.segments import segment_path, segments
from auditsvc.value_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from auditsvc.config import Settings

_USYS_CONFIG: Final = 1111
_START_SECONDS: Final = 30.0
_END_SECONDS: Final = 60.0
_MARK_SECONDS: Final = 2.0
_TAIL: Final = 64 << 20


def new_folder(parent: Path) -> Path:
    """Give the name of a folder that is not there yet."""
    number = 1
    while (parent / f"between-{number}").exists():
        number += 1
    return parent / f"between-{number}"


def start(folder: Path, settings: Settings) -> None:
    """Start the process, and wait until it copies; AuditsvcError."""
    make_folder(folder)
    process = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "auditsvc.adopt.bridge"),
            *(str(folder), settings.decoder, str(settings.kernel.buffer)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    ends = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends:
        facts = _facts(folder)
        if facts.get("ended"):
            raise AuditsvcError(f"records cannot be copied: {facts.get('error')}", "run on a host")
        if "began" in facts:
            return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise AuditsvcError("the process that copies records does not start", "see `auditsvc doctor`")


def runs(folder: Path) -> bool:
    """Whether its process still copies: it holds the lock of its spool."""
    return is_flocked(folder / "lock")


def end(folder: Path) -> str:
    """End the process; gives "", or why the copy may lack records."""
    facts = _facts(folder)
    pid = facts.get("pid")
    if isinstance(pid, int) and runs(folder):
        _terminate(folder, pid)
        facts = _facts(folder)
    if facts.get("ended") != "signal":
        why = facts.get("error") or facts.get("ended") or "its process was killed"
        return f"the copy in {folder} ended early: {why}"
    if dropped := facts.get("dropped"):
        return f"the kernel dropped records for the copy in {folder} ({dropped})"
    return ""


def _terminate(folder: Path, pid: int) -> None:
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if not runs(folder):  # checked when the pid could no longer become another process's
            return
        signal.pidfd_send_signal(process, signal.SIGTERM)
        select.select([process], [], [], _END_SECONDS)
    finally:
        os.close(process)


def files_of(folder: Path) -> list[Path]:
    """Give the files of a copy, oldest first."""
    return [segment_path(folder, each) for each in segments(folder)] if folder.is_dir() else []


def _facts(folder: Path) -> dict[str, Any]:
    try:
        return dict(parse_json(read_file(folder / FACTS)))
    except (OSError, ValueError):
        return {}


class Growth:
    """What is written to some files from now on; files may be added or renamed."""

    def __init__(self, files: Callable[[], Iterable[Path]]) -> None:
        self._files = files
        self._from = {key: size for key, size, _ in self._all()}

    def has(self, text: bytes) -> bool:
        """Whether a text is in it; a text that was written long ago may not be found."""
        for key, size, path in self._all():
            begin = self._from.get(key, 0)
            try:
                with path.open("rb") as stream:
                    stream.seek(max(begin, size - _TAIL))
                    if text in stream.read(size - begin):
                        return True
            except FileNotFoundError:
                continue
        return False

    def _all(self) -> list[tuple[tuple[int, int], int, Path]]:
        found = []
        for path in self._files():
            try:
                info = path.stat()
            except FileNotFoundError:
                continue
            found.append(((info.st_dev, info.st_ino), info.st_size, path))
        return found


def mark(state: str, places: Iterable[Growth], seconds: float) -> str:
    """Make records until one is in all places, for so long; gives its text, "" if none was."""
    wanted = list(places)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        text = f"op=change-audit-daemon state={state} nonce={secrets.token_hex(12)} res=success"
        try:
            _send(text)
        except KernelError:
            return ""
        until = min(ends, time.monotonic() + _MARK_SECONDS)
        left = list(wanted)
        while left and time.monotonic() < until:
            left = [each for each in left if not each.has(text.encode())]
            time.sleep(0.02)
        if not left:
            return text
    return ""


def _send(text: str) -> None:
    with ControlSocket() as kernel:
        kernel.request(_USYS_CONFIG, text.encode() + b"\0", "writing an audit record")
