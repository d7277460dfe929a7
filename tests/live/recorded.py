"""A journal that a real journald wrote of a real kernel's records, and those records themselves.

recorded = record(programs, folder, state)     # holds the kernel's audit for some seconds
recorded.copy(tmp_path)                 # the journal's files, to read and to spoil
recorded.lines                          # what the kernel sent, as lines of a log
"""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fixtures.audit import exclusive_audit, restored, silent
from fixtures.journald import running
from fixtures.waiting import until
from live.auditd import AUDITCTL
from live.programs import fresh_auid

from auditsvc.kernel.netlink import RecordSocket
from auditsvc.record.line import format_line
from auditsvc.tables.names import record_type_name

if TYPE_CHECKING:
    from pathlib import Path

LONG = "x" * 20_000
HOSTILE = (
    b"op=newline\ntype=SYSCALL msg=audit(1700000000.000:1): arch=c000003e",
    b"op=bytes \x01\x7f\x1d\xff\xfe \\x41 \xc3\xa4",
    b"op=spaces   and end  ",
    b"x" * 8000,
)
DROPPED = frozenset(("EOE", "LOGIN"))
"""What journald does not keep: records without a body, and types below 1100 other than USER."""

KINDS = (1100, 1112, 1199, 2100, 2998)  # known, and such as nobody has a name for

# What a program can send that wants its entry taken for the kernel's.
LOOKALIKE = """
from systemd import journal
journal.sendv(
    "MESSAGE=SYSCALL arch=c000003e syscall=1 success=yes exit=0", "_TRANSPORT=audit",
    "TRANSPORT=audit", "_AUDIT_TYPE=1300", "_AUDIT_ID=1", "_AUDIT_TYPE_NAME=SYSCALL",
    "_SOURCE_REALTIME_TIMESTAMP=1700000000000000", "SYSLOG_IDENTIFIER=audit",
)
"""


def send(kind: int, text: bytes) -> None:
    """Send a record from user space."""
    message = text + b"\0"
    header = struct.pack("=IHHII", 16 + len(message), kind, 5, 1, 0)  # REQUEST | ACK
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9) as sock:
        sock.sendto(header + message, (0, 0))
        answer = sock.recv(8192)
    assert struct.unpack_from("=i", answer, 16) == (0,), "the kernel refused the message"


def log_line(kind: int, payload: bytes) -> bytes:
    """Give the line that the collector writes of a record."""
    return format_line(record_type_name(kind), payload) + b"\n"


def workload(programs, auid: int, folder: Path) -> None:
    """Calls with paths, arguments, sockets, names that are no text, and messages."""
    programs.run(auid, "/bin/sh", "-c", "ls /etc /nowhere; cat /etc/hostname; cd /tmp", status=0)
    programs.run(auid, "/bin/echo", LONG, *["y" * 100] * 100)
    programs.run(auid, programs["sockets"], "0", folder / "socket", "live-abstract")
    programs.run(auid, programs["names"], b"a 'name' of \"some\" \xff\xfe bytes\n", cwd=folder)
    for kind in KINDS:
        for text in HOSTILE:
            send(kind, text)


@dataclass(frozen=True)
class Recorded:
    """What `record` made."""

    folder: Path
    """The journal's: a folder of three files, the last as journald was writing it."""
    lines: list[bytes]
    """Of the records that the kernel sent, in their order, but for the types DROPPED."""
    dropped: set[str]
    """Types among DROPPED of which the kernel sent records."""
    auid: int

    def copy(self, folder: Path) -> Path:
        """Copy the journal; returns the folder that holds its files."""
        target = folder / self.folder.name
        shutil.copytree(self.folder, target)
        return target


def record(programs, folder: Path, state: str, rounds: int = 1) -> Recorded:
    """Have the kernel's audit alone for a while, and journald and the test listen to it."""
    auid = fresh_auid()
    rule = ["exit,always", "-S", "all", "-F", f"auid={auid}", "-k", "live"]
    with (
        exclusive_audit(state) as control,
        restored(control),
        silent(control),  # both listeners are there before the first record and after the last
        running(audit="keep", size="1G") as journald,
    ):
        records = RecordSocket.multicast(64 << 20)
        got: list[tuple[int, bytes]] = []
        subprocess.run([AUDITCTL, "-a", *rule], check=True)
        control.set(enabled=1)
        try:
            for place in range(3):
                for _ in range(rounds):
                    workload(programs, auid, folder)
                mark = b"op=mark number=%d" % place
                send(KINDS[0], mark)
                got += _drain(records, mark)
                journald.run([sys.executable, "-P", "-c", LOOKALIKE])
                journald.sync()
                if place < 2:
                    journald.rotate()
        finally:
            subprocess.run([AUDITCTL, "-d", *rule], check=True)
            control.set(enabled=0)
        got += _drain(records, b" audit_enabled=0 ")
        assert records.overflows == 0
        journald.sync()
        # The last record that we have is in the journal too.
        source = journald.directory / journald.machine_id
        target = folder / "recorded"
        shutil.copytree(source, target)
    kept = [each for each in got if record_type_name(each[0]) not in DROPPED]
    dropped = {record_type_name(kind) for kind, _ in got} & DROPPED
    return Recorded(target, [log_line(*each) for each in kept], dropped, auid)


def _drain(records: RecordSocket, mark: bytes) -> list[tuple[int, bytes]]:
    """Take all records up to the one that has this text: no other is on its way then."""
    got: list[tuple[int, bytes]] = []

    def is_marked() -> bool:
        some = records.receive(4096)
        got.extend(some)
        return any(mark in payload for _, payload in some)

    until(is_marked)
    return got
