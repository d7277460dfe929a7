"""Messages between `run` and its loader's process: a socket pair, length-prefixed JSON, bounded.

    channel = Channel(one_end)
    channel.send({"kind": "note", "what": "from-now"})
    for message in channel: ...          # until the other end is closed

A frame is four bytes (the length, big-endian), then JSON in UTF-8. A longer frame than MOST, or
one that is no JSON object, is a ProtocolError: the receiver ends the connection. One descriptor
can go with a frame (SCM_RIGHTS); who receives it closes it.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auditsvc.errors import AuditsvcError

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST: Final = 1 << 20
"""Bytes of a frame."""
_LENGTH: Final = struct.Struct(">I")
_PIECE: Final = 1 << 16


class ProtocolError(AuditsvcError):
    """The other process sent what it may not send."""


class Message(NamedTuple):
    """A frame that was received; `descriptor` is -1 without one."""

    content: bytes
    descriptor: int = -1


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Give the frames that are complete with these bytes; ProtocolError."""
        self._rest += data
        while len(self._rest) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._rest)
            if length > MOST:
                raise ProtocolError(f"a message of {length} bytes")
            end = _LENGTH.size + length
            if len(self._rest) < end:
                return
            frame = bytes(self._rest[_LENGTH.size : end])
            del self._rest[:end]
            yield frame

    @property
    def is_empty(self) -> bool:
        """Whether no bytes of a further frame are here."""
        return not self._rest


class Channel:
    """One end of a socket pair; any thread may send, one receives."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._lock = threading.Lock()
        self._frames = Frames()

    def fileno(self) -> int:
        """Give the descriptor."""
        return self._socket.fileno()

    def send(self, message: dict[str, Any], descriptor: int = -1) -> None:
        """Send a message, and wait while the other end has no room for it; OSError."""
        content = json.dumps(message, separators=(",", ":")).encode()
        data = _LENGTH.pack(len(content)) + content
        with self._lock:
            if descriptor >= 0:
                sent = socket.send_fds(self._socket, [data], [descriptor])
                data = data[sent:]
            self._socket.sendall(data)

    def __iter__(self) -> Iterator[Message]:
        """Give messages until the other end is closed; ProtocolError."""
        passed = -1
        try:
            while True:
                is_begun = passed >= 0  # the frame that it came with
                try:
                    data, numbers, _, _ = socket.recv_fds(
                        self._socket, _PIECE, 1, socket.MSG_CMSG_CLOEXEC
                    )
                except OSError:
                    return
                if numbers:
                    if passed >= 0:
                        os.close(numbers[0])
                        raise ProtocolError("a second descriptor before the first was used")
                    passed = numbers[0]
                if not data:
                    return
                # The kernel gives several frames at once to who is late, and none behind one with
                # a descriptor (unix_stream_read_generic): that is the last that begins here.
                for content in self._frames.feed(data):
                    given = -1
                    if is_begun or self._frames.is_empty:
                        given, passed = passed, -1
                    is_begun = False
                    yield Message(content, given)
        finally:
            close_passed(passed)

    def close(self) -> None:
        """End the connection, also for a thread that receives."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def close_passed(descriptor: int) -> None:
    """Close a descriptor that came with a message, if there was one."""
    if descriptor >= 0:
        os.close(descriptor)
