"""The structs of control messages, and how netlink sockets handle messages."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import pytest

from auditsvc.errors import KernelError, LockedError
from auditsvc.kernel import Control, Features, RecordSocket, SignalInfo, Status, messages
from auditsvc.kernel.refusal import refused
from auditsvc.rule import parse

WHOLE = struct.pack("=11I", 0, 1, 2, 3, 4, 5, 6, 7, 0x7F, 9, 10)


def test_status_of_every_kernel():
    """Older kernels send a shorter struct: what is not there is 0 or None."""
    whole = Status.from_bytes(WHOLE)
    assert whole == Status(1, 2, 3, 4, 5, 6, 7, 0x7F, 9, 10)
    assert whole.has_feature("lost_reset")
    assert Status.from_bytes(WHOLE + b"later").backlog_wait_time_actual == 10
    older = Status.from_bytes(WHOLE[:40])
    assert (older.backlog_wait_time, older.backlog_wait_time_actual) == (9, None)
    oldest = Status.from_bytes(WHOLE[:32])
    assert (oldest.backlog, oldest.features, oldest.backlog_wait_time) == (7, 0, 0)
    assert not oldest.has_feature("lost_reset")


def test_changes_name_only_what_changes():
    """The mask has the bits of what is given, and nothing else is set."""
    assert struct.unpack("=11I", messages.change_status(enabled=1, backlog_limit=8192)) == (
        0x11, 1, 0, 0, 0, 8192, 0, 0, 0, 0, 0,
    )  # fmt: skip
    assert messages.change_status(lost=0)[:4] == struct.pack("=I", 0x40)
    values = {"enabled": 0, "failure": 1, "pid": 77, "backlog_wait_time": 5}
    assert messages.changes_of(messages.change_status(**values)) == values
    assert struct.unpack("=4I", messages.change_features(2, on=True, lock=False)) == (1, 2, 2, 0)


def test_other_structs():
    """Features, who sent a signal, and the two paths of make-equivalent."""
    assert Features.from_bytes(struct.pack("=4I", 1, 3, 2, 1)) == Features(on=2, locked=1)
    info = SignalInfo.from_bytes(struct.pack("=Ii", 1000, 42) + b"system_u:r:t\0")
    assert info == SignalInfo(1000, 42, "system_u:r:t")
    assert messages.equivalent("/a", "/bc") == struct.pack("=2I", 2, 3) + b"/a/bc"


class FakeSocket:
    """A socket that gives what it was made with: (port, bytes), or an exception."""

    def __init__(self, *messages):
        self._messages = list(messages)

    def recvfrom_into(self, buffer, _size, _flags):
        """Give the next message, as socket.recvfrom_into does."""
        if not self._messages:
            raise BlockingIOError
        message = self._messages.pop(0)
        if isinstance(message, Exception):
            raise message
        port, data = message
        buffer[: len(data)] = data
        return len(data), (port, 0)


def record(kind, payload, length=None):
    """Make a message as the kernel sends it; `length` is what its header says."""
    return 0, struct.pack("=IHHII", length or len(payload), kind, 0, 0, 0) + payload


def test_the_header_of_a_record_is_not_believed():
    """Records are as long as recv says, whatever length stands in the header."""
    sock = RecordSocket(FakeSocket(record(1300, b"one"), record(1320, b"three", 3)))
    assert sock.receive() == [(1300, b"one"), (1320, b"three")]
    assert sock.receive() == []


def test_receive_takes_no_more_than_asked():
    """What is over the limit stays for the next call."""
    sock = RecordSocket(FakeSocket(*(record(1300, b"%d" % count) for count in range(5))))
    assert [payload for _, payload in sock.receive(3)] == [b"0", b"1", b"2"]
    assert [payload for _, payload in sock.receive(3)] == [b"3", b"4"]


def test_drops_and_forgeries_are_counted():
    """ENOBUFS, EFAULT, messages of others are counted; replies are no records, LOGIN is one."""
    sock = RecordSocket(
        FakeSocket(
            record(1300, b"one"),
            OSError(errno.ENOBUFS, "No buffer space available"),
            OSError(errno.EFAULT, "Bad address"),
            (77, record(1300, b"forged")[1]),
            (0, b"short"),
            record(messages.REPLACE, struct.pack("=I", 4711)),
            record(3, b"done"),
            record(1000, b"reply"),
            record(1006, b"two"),
        )
    )
    assert sock.receive() == [
        (1300, b"one"),
        (messages.REPLACE, struct.pack("=I", 4711)),
        (1006, b"two"),
    ]
    assert (sock.overflows, sock.forged) == (2, 2)


def test_a_broken_socket_is_an_error():
    """Any other failure of recv is raised."""
    sock = RecordSocket(FakeSocket(OSError(errno.ENOTCONN, "x")))
    with pytest.raises(KernelError, match="receiving audit records"):
        sock.receive()


class LockedSocket:
    """A control socket of a kernel that is locked (`enabled` 2), or just not ours."""

    def __init__(self, enabled):
        self.enabled = enabled

    def request(self, _kind, _payload, action):
        """Refuse."""
        raise refused(action, errno.EPERM)

    def get(self, _kind, _action):
        """Give a status."""
        return messages.change_status(enabled=self.enabled)

    def close(self):
        """Do nothing."""


def test_locked_is_told_from_unprivileged():
    """EPERM with audit at 2 is the lock; otherwise it is the privilege that lacks."""
    (line,) = parse("-w /etc/passwd -p wa")
    control = Control.__new__(Control)
    control._socket = LockedSocket(2)
    with pytest.raises(LockedError, match=r"adding the rule `-w .*`: audit is locked .*reboot"):
        control.apply(line.command)
    control._socket = LockedSocket(1)
    with pytest.raises(KernelError, match="CAP_AUDIT_CONTROL") as caught:
        control.set(enabled=0)
    assert not isinstance(caught.value, LockedError)
    assert caught.value.errno == errno.EPERM


class RegisteringSocket(FakeSocket):
    """A kernel that answers AUDIT_SET with what it was made with."""

    def sendto(self, data, _address):
        """Take the request."""
        return len(data)

    def fileno(self):
        """Give a descriptor that is always ready."""
        return self.ready


@pytest.fixture(autouse=True)
def ready(monkeypatch):
    """Let fake sockets be polled: /dev/zero can always be read."""
    with Path("/dev/zero").open("rb", buffering=0) as file:
        monkeypatch.setattr(FakeSocket, "ready", file.fileno(), raising=False)
        yield


def acknowledgement(code):
    """Make the answer to the first request."""
    return 0, struct.pack("=IHHIIi", 36, 2, 0, 1, 0, code) + b"\0" * 16


def test_records_before_the_acknowledgement_are_kept():
    """What comes while we register is the first that receive gives, in its order."""
    sock = RecordSocket(
        RegisteringSocket(
            record(1300, b"early"),
            record(1320, b"end"),
            acknowledgement(0),
            record(1300, b"late"),
        )
    )
    sock.register()
    assert sock.receive(1) == [(1300, b"early")]
    assert sock.receive() == [(1320, b"end"), (1300, b"late")]


def test_a_refused_registration_is_an_error():
    """A negative code in the acknowledgement is raised, with its errno."""
    sock = RecordSocket(RegisteringSocket(acknowledgement(-errno.EPERM)))
    with pytest.raises(KernelError, match="registering as the audit daemon") as caught:
        sock.register()
    assert caught.value.errno == errno.EPERM


def test_a_closed_family_is_told_from_a_kernel_without_audit():
    """A filter of system calls (our own, or a unit's) is not the kernel's answer."""
    closed = refused("opening an audit socket", errno.EAFNOSUPPORT)
    assert "may make no netlink socket" in str(closed)
    assert "RestrictAddressFamilies=" in str(closed)
    assert "CONFIG_AUDIT" in str(refused("opening an audit socket", errno.EPROTONOSUPPORT))
