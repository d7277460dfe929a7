"""AF_NETLINK audit sockets: one kind receives records, the other sends requests.

A message begins with struct nlmsghdr (16 bytes: length, type, flags, seq, port).
One record is one datagram. In records the kernel sets the header's length to that of
the payload alone (audit_log_end), so the length that recv gives is used instead;
replies are ordinary netlink messages (RFC 3549).

Records and requests use different sockets, so that replies do not have to be separated
from records. Registering is the exception: the kernel sends records to the socket that
registered, so `RecordSocket.register` is here.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from array import array
from typing import TYPE_CHECKING, Final, Self

from auditsvc.config import RECEIVE_BUFFER
from auditsvc.errors import KernelError
from auditsvc.host.netlink_sockets import NETLINK_AUDIT
from auditsvc.kernel import messages
from auditsvc.kernel.messages import Status
from auditsvc.kernel.refusal import incumbent, refused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

Record = tuple[int, bytes]
"""A record's type and its payload, `audit(SEC.MMM:SERIAL): ...` without a newline."""

Instruction = tuple[int, int, int, int]
"""One instruction of a classic BPF program (struct sock_filter): code, jt, jf, k."""

HEADER: Final = struct.Struct("=IHHII")
_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP: Final = 1
_NO_ENOBUFS: Final = 5
_SO_RCVBUFFORCE: Final = 33
_SO_ATTACH_FILTER: Final = 26
_SO_DETACH_FILTER: Final = 27
_SO_MEMINFO: Final = 55
_RECORD: Final = 1 << 14
"""Memory of a long record: since Linux 6.16 a buffer is never filled above its size."""
_MEMINFO: Final = struct.Struct("=9I")  # SK_MEMINFO_*: used, size of the receive buffer, ...
_GROUP_READLOG: Final = 1
_DROPPED: Final = frozenset((errno.ENOBUFS, errno.EFAULT))
"""What tells that records are lost: the buffer was full; or a process that was killed for want
of memory had no place for one that it took (do_recvmmsg keeps that in sk_err, for the next)."""
_NOT_THE_KERNEL: Final = 1
"""A port that is not the kernel's, which has 0."""

_ERROR: Final = 2
_DONE: Final = 3
_REQUEST_ACK: Final = 1 | 4

# No record is longer: AUDIT_MESSAGE_TEXT_MAX is 8,560 bytes, paths are 4,096 in hex.
_LARGEST: Final = 1 << 16

_REGISTERING: Final = "registering as the audit daemon"

_ANSWER_WAIT: Final = 10.0  # seconds; the kernel answers at once or not at all


class RecordSocket:
    """Receives audit records, as the registered daemon or as a member of the multicast group.

    `overflows` counts how often the kernel reported records dropped for this socket; only
    a multicast socket has this (the daemon's loss is in Status.lost). `forged` counts
    messages that did not come from the kernel; they are discarded.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._view = memoryview(bytearray(_LARGEST))
        self._seq = 0
        self._before_acknowledgement: list[Record] = []
        self.overflows = 0
        self.forged = 0

    @classmethod
    def unicast(cls, receive_buffer: int = RECEIVE_BUFFER) -> RecordSocket:
        """Open a socket that can be registered; `receive_buffer` in bytes."""
        sock = _open(receive_buffer)
        # Without it recv fails in a burst; the same loss is counted in Status.lost.
        sock.setsockopt(_SOL_NETLINK, _NO_ENOBUFS, 1)
        return cls(sock)

    @classmethod
    def left(cls, number: int) -> RecordSocket:
        """Use a socket of an earlier process; KernelError if it is not for audit records."""
        sock = socket.socket(fileno=number)
        if (sock.family, sock.proto) != (socket.AF_NETLINK, NETLINK_AUDIT):
            raise KernelError("a socket that was kept is not one for audit records")
        return cls(sock)

    @classmethod
    def multicast(cls, receive_buffer: int = RECEIVE_BUFFER) -> RecordSocket:
        """Open a socket that receives a copy of every record; needs CAP_AUDIT_READ."""
        sock = _open(receive_buffer)
        try:
            sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_READLOG)
        except OSError as error:
            sock.close()
            raise refused("listening to audit records", error.errno or 0) from error
        return cls(sock)

    def fileno(self) -> int:
        """Give the descriptor, for select and for the native core; this object closes it."""
        return self._socket.fileno()

    @property
    def receive_buffer(self) -> int:
        """Size of the receive buffer in bytes, as the kernel set it."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2

    @property
    def is_full(self) -> bool:
        """Whether the kernel waits with its next record (netlink_attachskb)."""
        info = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        used, size = _MEMINFO.unpack(info)[:2]
        return bool(used + _RECORD > size)

    @property
    def refused(self) -> bool:
        """Whether the kernel's records are refused."""
        port, _groups = self._socket.getpeername()
        return bool(port)

    def block(self) -> None:
        """Make the buffer so small that the kernel waits with its next records."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)

    def unblock(self, receive_buffer: int) -> None:
        """Undo `block`."""
        _set_buffer(self._socket, receive_buffer)

    def refuse(self) -> None:
        """Have the kernel's next records refused (ECONNREFUSED), as if this socket was closed.

        What was received can still be read. Needs CAP_NET_ADMIN (netlink_connect).
        """
        self._socket.connect((_NOT_THE_KERNEL, 0))

    def receive(self, limit: int = 256) -> list[Record]:
        """Give the records that have arrived, at most `limit`, without waiting.

        One type is not a record: REPLACE (1329), whose payload is the pid (i32) of a
        process that wants to register as the audit daemon in our place.
        """
        early = self._before_acknowledgement
        records, self._before_acknowledgement = early[:limit], early[limit:]
        while len(records) < limit:
            message = self._next()
            if message is None:
                break
            kind, _seq, payload = message
            if kind >= messages.FIRST_RECORD:
                records.append((kind, payload))
        return records

    def set_filter(self, program: Sequence[Instruction] | None) -> None:
        """Attach a BPF filter, so that the kernel drops the messages that it rejects.

        None removes the filter. It gets each message from its nlmsghdr on.
        """
        if program is None:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        else:
            attach_filter(self._socket, program)

    def register(self) -> None:
        """Become the audit daemon: the kernel sends records to this socket from now on.

        Records that arrive before the kernel's acknowledgement (newer kernels send that
        first) are the first that `receive` gives. IncumbentError if another living
        process is the daemon; KernelError for every other refusal.
        """
        self._seq += 1
        request = messages.change_status(pid=os.getpid())
        _send(self._socket, messages.SET, self._seq, request, _REGISTERING)
        deadline = time.monotonic() + _ANSWER_WAIT
        while _wait(self._socket, deadline):
            message = self._next()
            if message is None:
                continue
            kind, seq, payload = message
            if kind == _ERROR and seq == self._seq:
                code = _code(payload)
                if code == -errno.EEXIST:
                    with ControlSocket() as control:
                        status = Status.from_bytes(control.get(messages.GET, _REGISTERING))
                    raise incumbent(status.pid)
                if code < 0:
                    raise refused(_REGISTERING, -code)
                return
            if kind >= messages.FIRST_RECORD:
                self._before_acknowledgement.append((kind, payload))
        raise _no_answer(_REGISTERING)

    def request_registration(self) -> None:
        """Ask to be the audit daemon again, without waiting for the answer.

        `receive` ignores the answer; Status.pid shows whether it worked.
        """
        self._seq += 1
        request = messages.change_status(pid=os.getpid())
        _send(self._socket, messages.SET, self._seq, request, _REGISTERING)

    def close(self) -> None:
        """Close the socket; if it was registered, the kernel has no daemon from then on."""
        self._socket.close()

    def _next(self) -> tuple[int, int, bytes] | None:
        """Receive one message of the kernel: type, seq, payload; None if none has arrived."""
        while True:
            try:
                size, (port, _groups) = self._socket.recvfrom_into(
                    self._view, 0, socket.MSG_DONTWAIT
                )
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno not in _DROPPED:
                    raise refused("receiving audit records", error.errno or 0) from error
                self.overflows += 1
                continue
            if port != 0 or size < HEADER.size:
                self.forged += 1
                continue
            _length, kind, _flags, seq, _port = HEADER.unpack_from(self._view)
            return kind, seq, bytes(self._view[HEADER.size : size])


class ControlSocket:
    """Sends requests to the kernel's audit, one at a time."""

    def __init__(self) -> None:
        self._socket = _open(0)
        self._seq = 0

    def request(self, kind: int, payload: bytes, action: str) -> int:
        """Send a request that is only acknowledged; gives the code, 0 or a positive value.

        KernelError with `action` and the kernel's errno if it is refused.
        """
        return self._ask(kind, payload, action, answers=False, many=False)[0]

    def get(self, kind: int, action: str) -> bytes:
        """Send a request that is answered by one message; gives its payload."""
        return self._ask(kind, b"", action, answers=True, many=False)[1][0]

    def collect(self, kind: int, action: str) -> list[bytes]:
        """Send a request that is answered by messages and NLMSG_DONE; gives the payloads."""
        return self._ask(kind, b"", action, answers=True, many=True)[1]

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(
        self, kind: int, payload: bytes, action: str, *, answers: bool, many: bool
    ) -> tuple[int, list[bytes]]:
        self._seq += 1
        _send(self._socket, kind, self._seq, payload, action)
        acknowledged: int | None = None
        found: list[bytes] = []
        complete = not answers
        deadline = time.monotonic() + _ANSWER_WAIT
        while acknowledged is None or not complete:
            if not _wait(self._socket, deadline):
                raise _no_answer(action)
            data, (port, _groups) = self._socket.recvfrom(_LARGEST)
            if port != 0 or len(data) < HEADER.size:
                continue
            # Ignore a late answer to an earlier request that timed out.
            _length, answer, _flags, seq, _port = HEADER.unpack_from(data)
            if seq != self._seq:
                continue
            body = data[HEADER.size :]
            if answer == _ERROR:
                acknowledged = _code(body)
                if acknowledged < 0:
                    raise refused(action, -acknowledged)
            elif answer == _DONE:
                complete = True
            else:
                found.append(body)
                complete = complete or not many
        return acknowledged, found


def attach_filter(sock: socket.socket, program: Sequence[Instruction]) -> None:
    """Attach a classic BPF filter to a socket."""
    code = array("B", b"".join(struct.pack("=HBBI", *each) for each in program))
    address, _length = code.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), address))


def _open(buffer: int) -> socket.socket:
    try:
        sock = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_AUDIT
        )
    except OSError as error:
        raise refused("opening an audit socket", error.errno or 0) from error
    try:
        if buffer:
            _set_buffer(sock, buffer)
        sock.bind((0, 0))
    except OSError as error:
        sock.close()
        raise refused("opening an audit socket", error.errno or 0) from error
    return sock


def _set_buffer(sock: socket.socket, size: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except PermissionError:
        # Without CAP_NET_ADMIN the system's limit (net.core.rmem_max) applies.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def _send(sock: socket.socket, kind: int, seq: int, payload: bytes, action: str) -> None:
    header = HEADER.pack(HEADER.size + len(payload), kind, _REQUEST_ACK, seq, 0)
    try:
        sock.sendto(header + payload, (0, 0))
    except OSError as error:
        raise refused(action, error.errno or 0) from error


def _wait(sock: socket.socket, deadline: float) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _code(payload: bytes) -> int:
    """Give the code of struct nlmsgerr: 0, a negative errno, or a request's result."""
    return int(struct.unpack_from("=i", payload)[0])


def _no_answer(action: str) -> KernelError:
    return KernelError(
        f"{action}: the kernel gave no answer for {_ANSWER_WAIT:.0f} s", "", errno.ETIMEDOUT
    )
