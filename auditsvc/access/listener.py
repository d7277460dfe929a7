"""The service's side: takes notes of accesses, and writes them as records of ours.

    DAEMON_ACCEPT op=access id= command= data=OPTIONS cmd=SQL file=STORE acct=NAME auid= pid= ...
    DAEMON_CLOSE op=access id= rows= data=HOW_IT_ENDED auid= pid= ...

Who asks is the kernel's word (SO_PEERCRED, and /proc while the process still lives), so that
nobody can write a record for another. What is asked is the reader's own word. A connection is an
access: when it ends without a word, the access ended in a way that is not known.

Every local user may connect, and can only harm himself: each has a bound for open accesses and
for their rate, what is beyond it is counted, and the count is recorded. Writing a record is all
that is done for a connection; no record causes another.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import selectors
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from auditsvc.access.entry import UNKNOWN, Asked, Ended, user_name
from auditsvc.access.place import MOST_BYTES, NAME, address, new_socket, to_message
from auditsvc.host.files import make_folder
from auditsvc.record.daemon import Actor, actor
from auditsvc.record.line import untrusted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditsvc.record.daemon import DaemonRecords

_PEER: Final = struct.Struct("3i")
_SO_PEERPIDFD: Final = 77
"""include/uapi/asm-generic/socket.h, since Linux 6.5."""
_WAITING: Final = 128
_OPEN_OF_ONE: Final = 64
_OPEN: Final = 256
"""At one time, of one user and of all; root has room of its own."""
_BURST, _RATE = 100.0, 20.0
"""Of one user: accesses at once, and a second from then on."""
_REPORT_EVERY: Final = 10.0
_SILENT_SECONDS: Final = 5.0
"""How long who connects may take until it says what it asks."""
_PASSABLE: Final = 0o011
_PAUSE: Final = 0.05


@dataclass(slots=True)
class _Open:
    """A connection; `id` is "" until it has said what it asks."""

    connection: socket.socket
    who: Actor
    began: float
    id: str = ""


@dataclass(slots=True)
class _User:
    """What one user may still do."""

    tokens: float = _BURST
    at: float = field(default_factory=time.monotonic)
    open: int = 0
    refused: int = 0

    def refill(self, now: float) -> None:
        """Give back what time has earned."""
        self.tokens = min(_BURST, self.tokens + (now - self.at) * _RATE)
        self.at = now


class Listener(threading.Thread):
    """Takes notes until `finish`; makes the socket when it is made (OSError)."""

    def __init__(
        self, directory: Path, place: str, daemon: DaemonRecords, note: Callable[[bytes], None]
    ) -> None:
        """`directory` is the runtime directory, `place` the store's name; `note` writes a line."""
        super().__init__(name="access", daemon=True)
        self._directory = make_folder(directory)
        self._place = place
        self._daemon = daemon
        self._note = note
        self._users: dict[int, _User] = {}
        self._reported_at = 0.0
        self._wake, self._woken = socket.socketpair()
        self._socket = self._listen()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def _listen(self) -> socket.socket:
        # Its files are for their owner alone; others may pass through to the socket.
        mode = self._directory.stat().st_mode
        self._directory.chmod((mode & 0o7777) | _PASSABLE)
        (self._directory / NAME).unlink(missing_ok=True)
        made = new_socket()
        try:
            with address(self._directory) as name:
                made.bind(name)
            (self._directory / NAME).chmod(0o666)
            made.listen(_WAITING)
            made.setblocking(False)
        except BaseException:
            made.close()
            raise
        return made

    def finish(self) -> None:
        """End it: what has not ended yet, ends in a way that is not known."""
        self._wake.close()
        if self.is_alive():
            self.join()
        with suppress(OSError):
            (self._directory / NAME).unlink(missing_ok=True)

    def run(self) -> None:
        """Take notes."""
        while True:
            ready = self._selector.select(1.0)
            for key, _ in ready:
                if key.fileobj is self._woken:
                    self._end()
                    return
                if key.fileobj is self._socket:
                    self._accept()
                else:
                    self._read(key.data)
            now = time.monotonic()
            self._end_silent(now)
            self._report(now)

    def _opened(self) -> list[_Open]:
        return [key.data for key in self._selector.get_map().values() if key.data is not None]

    def _end(self) -> None:
        self._accept()
        for each in self._opened():
            self._read(each)
        for each in self._opened():
            self._close(each, Ended(None, UNKNOWN))
        self._report(float("inf"))
        self._selector.close()
        self._socket.close()
        self._woken.close()

    def _end_silent(self, now: float) -> None:
        for each in self._opened():
            if not each.id and now - each.began > _SILENT_SECONDS:
                self._close(each)

    # --- a connection ------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except BlockingIOError:
                return
            except OSError:  # there is no descriptor left for it
                time.sleep(_PAUSE)
                return
            connection.setblocking(False)
            who = _peer(connection)
            if not self._may(who.uid):
                self._answer(connection, taken=False)
                connection.close()
                continue
            self._users[who.uid].open += 1
            opened = _Open(connection, who, time.monotonic())
            self._selector.register(connection, selectors.EVENT_READ, opened)
            self._read(opened)

    def _may(self, uid: int) -> bool:
        """Whether this user may have one more access."""
        user = self._users.setdefault(uid, _User())
        user.refill(time.monotonic())
        if user.tokens < 1 or user.open >= _OPEN_OF_ONE or (uid and len(self._opened()) >= _OPEN):
            user.refused += 1
            return False
        user.tokens -= 1
        return True

    def _read(self, opened: _Open) -> None:
        try:
            data = opened.connection.recv(MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            given: dict[str, Any] = json.loads(data)
            if opened.id:
                self._close(opened, Ended.from_json(given))
                return
            asked = Asked.from_json(given)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            self._close(opened, Ended(None, UNKNOWN))
            return
        if _is_left(opened.connection):  # who waits no longer has it recorded elsewhere
            self._close(opened)
            return
        opened.id = secrets.token_hex(8)
        self._note(self._daemon.line("DAEMON_ACCEPT", _beginning(opened, asked)))
        self._answer(opened.connection, taken=True, own=asked.store == self._place)

    @staticmethod
    def _answer(connection: socket.socket, **words: bool) -> None:
        with suppress(OSError):
            connection.send(to_message(words))

    def _close(self, opened: _Open, ended: Ended | None = None) -> None:
        self._selector.unregister(opened.connection)
        opened.connection.close()
        self._users[opened.who.uid].open -= 1
        if opened.id and ended is not None:
            self._note(self._daemon.line("DAEMON_CLOSE", _end(opened, ended)))

    def _report(self, now: float) -> None:
        """Record how many accesses of a user were beyond the bound."""
        if now - self._reported_at < _REPORT_EVERY:
            return
        self._reported_at = now
        ourselves = actor(os.getpid())
        for uid, user in list(self._users.items()):
            if user.refused:
                what = f"of_uid={uid} accesses={user.refused}"
                self._note(self._daemon.config(ourselves, "access-unrecorded", what, success=False))
                user.refused = 0
            user.refill(now)
            # Who is forgotten begins anew: only who has everything back may be.
            if not user.open and user.tokens == _BURST:
                del self._users[uid]


def _peer(connection: socket.socket) -> Actor:
    """Tell who has connected: the kernel's word, and /proc if the process still lives then."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    pid, uid, _ = _PEER.unpack(raw)
    uid &= 0xFFFFFFFF
    known = actor(pid, uid)
    return known if pid and _lives(connection) else Actor(pid=pid, uid=uid)


def _lives(connection: socket.socket) -> bool:
    """Whether the process that connected has not ended yet, so that its pid is still its own."""
    try:
        descriptor = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError:  # an older kernel: whether the other end is open says about the same
        return not _is_left(connection)
    try:
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        return not ended.poll(0)
    finally:
        os.close(descriptor)


def _is_left(connection: socket.socket) -> bool:
    """Whether the other end is closed."""
    peeked = select.poll()
    peeked.register(connection, 0)  # POLLHUP is always told
    return bool(peeked.poll(0))


def _beginning(opened: _Open, asked: Asked) -> str:
    name = user_name(opened.who.uid)
    texts = {
        "data": asked.options,
        "cmd": asked.sql,
        "file": asked.store,
        "acct": name,
    }
    written = " ".join(f"{field}={_text(value)}" for field, value in texts.items())
    return (
        f"op=access id={opened.id} command={asked.command} {written}"
        f" {opened.who.fields()} res=success"
    )


def _end(opened: _Open, ended: Ended) -> str:
    rows = "" if ended.rows is None else f" rows={ended.rows}"
    return (
        f"op=access id={opened.id}{rows} data={_text(ended.how)} {opened.who.fields()} res=success"
    )


def _text(value: str | None) -> str:
    if value is None:
        return "(null)"
    try:
        return untrusted(value.encode(errors="surrogateescape"))
    except UnicodeEncodeError:  # half a character, which JSON can hold
        return untrusted(value.encode(errors="backslashreplace"))
