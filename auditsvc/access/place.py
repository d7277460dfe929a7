"""Where the service takes notes of accesses: a socket in its runtime directory."""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NAME: Final = "access"
MOST_BYTES: Final = 128 << 10
"""Of one message: room for the texts of `auditsvc.access.entry`, escapes included."""


def to_message(values: Mapping[str, Any]) -> bytes:
    """Write a message; json.loads reads it."""
    return json.dumps(values, ensure_ascii=False).encode(errors="surrogatepass")


def new_socket() -> socket.socket:
    """Make a socket that keeps messages apart, of which the kernel tells who connects."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)


@contextmanager
def address(directory: Path) -> Iterator[str]:
    """Give the socket's address, also where its path is longer than sun_path (unix(7))."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)
