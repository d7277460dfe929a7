r"""The holder: keeps the service's descriptors for the next service. Standard library only.

    python3 -I -S process.py LISTENER     # LISTENER: a bound socket's descriptor (SOCK_SEQPACKET)

One service is connected at a time. Its messages, each answered by `ok`, `busy` or `wrong`:

    FDSTORE=1\nFDNAME=NAME        with descriptors: keep them under this name
    FDSTOREREMOVE=1\nFDNAME=NAME  close those of this name
    LISTEN=1                      answered by the names, one a line, with the descriptors
    STOPPING=1                    the service ends orderly: close everything and end

What must hold:

* It cannot fail: its memory is locked, the kernel does not choose it when memory is short,
  signals to its group do not reach it or are ignored, and no message ends it but STOPPING=1.
* It needs no rule that exempts it. While a service is connected it sleeps, and makes no call
  that could be audited; without one it makes two calls a second, which nothing multiplies.
* It never blocks the host. Without a service the socket fills, and audited tasks then wait
  for the kernel. If a socket was full for `FULL_SECONDS`, or no service came for
  `ALONE_SECONDS`, the kernel is made to stop sending to it, and may have another daemon.
  What has been received stays there for the next service.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress

FULL_SECONDS = 10.0
"""Seconds that a socket may be full while no service is connected."""

ALONE_SECONDS = 600.0
"""Seconds without a service after which another audit daemon may begin."""

_LOOK = 1.0
_FIRST_SECONDS = 60.0
"""Seconds to wait for a first service."""
_MESSAGE = 4096
_MOST = 16
"""Descriptors kept, at most."""
_MCL_CURRENT, _MCL_FUTURE = 1, 2  # include/uapi/asm-generic/mman.h
_SO_MEMINFO = 55
_RECORD = 1 << 14
"""Memory of a long record: since Linux 6.16 a buffer is never filled above its size."""
_NOT_THE_KERNEL = 1
_AUDIT, _AUDIT_USER, _REQUEST = 9, 1005, 1  # include/uapi/linux/netlink.h, audit.h
_RELEASED = b"op=release res=success\0"
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Holder:
    """Keeps named descriptors."""

    def __init__(self, listener: socket.socket) -> None:
        self.kept: dict[str, int] = {}
        self.ended = False
        self._listener = listener
        self._client: socket.socket | None = None
        self._had_client = False
        self._full_since: dict[str, float] = {}
        self._refused: set[str] = set()
        self._since: float | None = None

    def step(self) -> None:
        """Wait for the next message, connection or look, and act on it."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        if self._client is not None:
            poll.register(self._client, select.POLLIN)
        alone = self._client is None and bool(self.kept)
        waits = _LOOK if alone else None if self._had_client else _FIRST_SECONDS
        ready = {number for number, _ in poll.poll(waits and waits * 1000)}
        # All that it has sent: of a service that was killed, its last message comes before its end.
        while self._client is not None and _is_ready(self._client):
            self._serve(self._client)
        if self._listener.fileno() in ready:
            self._accept()
        if self._client is None and not self.kept:
            self.ended = self._had_client or not ready  # nothing is left to do
        elif self._client is None:
            self._look(time.monotonic())

    def _accept(self) -> None:
        """Take a service, if none is connected and it runs as our user, or root."""
        other, _ = self._listener.accept()
        try:
            credentials = other.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            _pid, uid, _gid = _CREDENTIALS.unpack(credentials)
            if self._client is None and uid in (0, os.geteuid()):
                self._client = other
                self._had_client = True
                self._full_since.clear()
                self._since = None
                return
            other.send(b"busy", socket.MSG_DONTWAIT)
        except OSError:
            pass
        other.close()

    def _serve(self, client: socket.socket) -> None:
        """Answer one message; a client that ended or broke is forgotten."""
        try:
            text, numbers, _, _ = socket.recv_fds(client, _MESSAGE, _MOST)
            if text:
                self._act(client, text, numbers)
                return
        except (OSError, ValueError):
            pass
        self._client = None
        client.close()

    def _act(self, client: socket.socket, text: bytes, given: list[int]) -> None:
        lines = text.decode(errors="replace").splitlines()
        name = next((line[7:] for line in lines if line.startswith("FDNAME=")), "")
        answer = b"ok"
        if "FDSTORE=1" in lines and name and len(given) == 1 and len(self.kept) < _MOST:
            self._close(name)
            self.kept[name] = given.pop()
        elif "FDSTOREREMOVE=1" in lines:
            self._close(name)
        elif "LISTEN=1" in lines:
            names = "\n".join(self.kept).encode() or b"\n"
            socket.send_fds(client, [names], list(self.kept.values()))
            return
        elif "STOPPING=1" in lines:
            self.ended = True
        else:
            answer = b"wrong"
        for number in given:
            os.close(number)
        client.send(answer, socket.MSG_DONTWAIT)

    def _close(self, name: str) -> None:
        if name in self.kept:
            os.close(self.kept.pop(name))
            self._refused.discard(name)

    def _look(self, now: float) -> None:
        """Make the kernel stop sending to a socket that was full, or alone, for too long."""
        self._since = now if self._since is None else self._since
        for name, each in self.kept.items():
            if not _is_full(each):
                self._full_since.pop(name, None)
                full = 0.0
            else:
                full = now - self._full_since.setdefault(name, now)
            if full < FULL_SECONDS and now - self._since < ALONE_SECONDS:
                continue
            # Connected to another, it refuses the kernel (netlink_getsockbyportid).
            with suppress(OSError), socket.socket(fileno=os.dup(each)) as again:
                if name not in self._refused:
                    self._refused.add(name)
                    again.connect((_NOT_THE_KERNEL, 0))
                    _wake_kernel()


def _wake_kernel() -> None:
    """Have the kernel log a record, so that it sees at once that it is refused.

    A task in audit_log_start sleeps for up to `backlog_wait_time` if kauditd emptied the queue
    between the task's look at it and its sleep; only the next record wakes it.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _AUDIT) as kernel:
        head = struct.pack("=IHHII", 16 + len(_RELEASED), _AUDIT_USER, _REQUEST, 1, 0)
        kernel.send(head + _RELEASED, socket.MSG_DONTWAIT)


def _is_ready(each: socket.socket) -> bool:
    """Whether there is a message, or the end."""
    poll = select.poll()
    poll.register(each, select.POLLIN)
    return bool(poll.poll(0))


def _is_full(each: int) -> bool:
    """Whether it is a socket at which the kernel waits with its next record (netlink_attachskb)."""
    try:
        with socket.socket(fileno=os.dup(each)) as again:
            info = again.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36)
    except OSError:
        return False
    used, size = struct.unpack_from("=2I", info)
    return bool(used + _RECORD > size)


def _prepare() -> None:
    """Make this process hard to end; what is not permitted is left out."""
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
        with suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        os.setsid()
    for value in ("-1000", "-999"):  # a lower value than now needs CAP_SYS_RESOURCE
        with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 - no pathlib here
            file.write(value)
            break
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mlockall(_MCL_CURRENT | _MCL_FUTURE)
    with suppress(OSError):
        os.chdir("/")


def main(listener: int) -> None:
    """Keep descriptors until a service says that it ends."""
    _prepare()
    with socket.socket(fileno=listener) as bound:
        bound.listen(4)  # by this process: SO_PEERCRED tells its pid
        holder = Holder(bound)
        while not holder.ended:
            try:
                holder.step()
            except Exception:  # noqa: BLE001 - it must not end; the pause keeps it from spinning
                time.sleep(_LOOK)


if __name__ == "__main__":
    main(int(sys.argv[1]))
