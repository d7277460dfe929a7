"""The service's own records: DAEMON_START and others, in auditd's format.

Each action of the service that matters for the evidence (start, stop, rotation, changed
configuration, loss) is itself a record in the log. Each line says who did it: auid, pid,
uid, ses and subj as in the kernel's records. No program can send types 1200-1299 to the
kernel (audit_receive_msg in kernel/audit.c accepts 1100-1199 and 2100-2999), so a line of
these types in the spool was written by the service.
"""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from auditsvc import __version__
from auditsvc.record.fields import UNSET
from auditsvc.record.line import format_line, untrusted

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something; unknown values are `pid` 0 and ids UNSET."""

    pid: int = 0
    uid: int = UNSET
    auid: int = UNSET
    ses: int = UNSET
    subj: str = "unconfined"

    def fields(self) -> str:
        """Write the fields as the kernel's records have them."""
        return f"auid={self.auid} pid={self.pid} uid={self.uid} ses={self.ses} subj={self.subj}"


def actor(pid: int, uid: int | None = None) -> Actor:
    """Read the ids of a process from /proc; unset if the process has ended."""
    folder = Path("/proc") / str(pid)

    def number(name: str) -> int:
        try:
            return int((folder / name).read_text())
        except (OSError, ValueError):
            return UNSET

    if uid is None:
        try:
            uid = folder.stat().st_uid
        except OSError:
            uid = UNSET
    try:
        label = (folder / "attr/current").read_bytes().rstrip(b"\0\n")
    except OSError:
        label = b""
    # A label is one word; other content must not become further fields.
    word = label.decode("ascii", "replace")
    subj = word if word.isprintable() and word and " " not in word else "unconfined"
    return Actor(pid=pid, uid=uid, auid=number("loginuid"), ses=number("sessionid"), subj=subj)


class DaemonRecords:
    """Makes the lines. They have their own serials with a random start, as auditd's have."""

    def __init__(self) -> None:
        self._serials = count(secrets.randbelow(1 << 15))  # shared by threads

    def line(self, kind: str, fields: str) -> bytes:
        """Write one line with its newline; `kind` is for example DAEMON_START."""
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        stamp = f"audit({seconds}.{nanoseconds // 1_000_000:03}:{next(self._serials)}): "
        return format_line(kind.encode(), (stamp + fields).encode()) + b"\n"

    def start(self, who: Actor) -> bytes:
        """Record that the service has started to collect."""
        kernel = os.uname().release
        return self.line(
            "DAEMON_START",
            f"op=start ver=auditsvc-{__version__} format=raw kernel={kernel}"
            f" {who.fields()} res=success",
        )

    def end(self, who: Actor, op: str) -> bytes:
        """Record that the service has stopped; `op`: terminate, duration, end-of-input."""
        return self.line("DAEMON_END", f"op={op} {who.fields()} res=success")

    def abort(self, reason: str) -> bytes:
        """Record that the service stops because of an error."""
        word = "-".join(reason.split())
        return self.line(
            "DAEMON_ABORT", f"op=error reason={word} {actor(os.getpid()).fields()} res=failed"
        )

    def rotate(self) -> bytes:
        """Record that a segment was closed and the next one begun."""
        return self.line(
            "DAEMON_ROTATE", f"op=rotate-logs {actor(os.getpid()).fields()} res=success"
        )

    def config(self, who: Actor, op: str, what: str, *, success: bool = True) -> bytes:
        """Record a change of the configuration, the rules or the kernel's settings."""
        result = "success" if success else "failed"
        return self.line("DAEMON_CONFIG", f"op={op} {what} {who.fields()} res={result}")

    def coverage(
        self,
        pid: int,
        *,
        began: float,
        comm: bytes,
        exe: bytes | None,
        state: str,
        reason: str,
        threads: int,
        covered: int,
    ) -> bytes:
        """Record whether a process is covered; pid, uid, auid and ses are those of the process."""
        program = "(null)" if exe is None else untrusted(exe)
        return self.line(
            "DAEMON_CONFIG",
            f"op=coverage began={began:.3f} comm={untrusted(comm)} exe={program} state={state}"
            f" reason={reason} threads={threads} covered={covered} {actor(pid).fields()}"
            " res=success",
        )

    def coverage_look(self, what: str) -> bytes:
        """Record the result of a look at all processes."""
        return self.config(actor(os.getpid()), "coverage-look", what)

    def account(self, kind: str, number: int, name: bytes | None) -> bytes:
        """Record the name of an id as it is now; `kind`: user or group; None: it has none now."""
        known = "" if name is None else f" acct={untrusted(name)}"
        return self.config(actor(os.getpid()), "name", f"kind={kind} id={number}{known}")

    def cgroup(self, pid: int, path: bytes, told: Mapping[str, str | None]) -> bytes:
        """Record a process's control group; pid, uid, auid and ses are those of the process.

        `told`: what the path tells, words without spaces but for `name`.
        """
        words = "".join(
            f" {name}={untrusted(value.encode(errors='backslashreplace'))}"
            if name == "name"
            else f" {name}={value}"
            for name, value in told.items()
            if value is not None
        )
        return self.config(actor(pid), "cgroup", f"cgroup={untrusted(path)}{words}")

    def lost(
        self,
        *,
        kernel: int = 0,
        spool: int = 0,
        overflows: int = 0,
        torn: bytes = b"",
        cause: str = "",
    ) -> bytes:
        """Record that records were lost before this line.

        `kernel`: lost by the kernel's own count; `spool`: not written because the disk was
        full, or to keep the reserve; `overflows`: how often the multicast socket was full (the
        number of lost records is unknown); `torn`: an incomplete line that a crash left;
        `cause`: why the spool did not take them, with further fields, if not for a full disk.
        """
        text = f" text={torn.hex().upper()}" if torn else ""
        text += f" cause={cause}" if cause else ""
        return self.line(
            "DAEMON_ERR",
            f"op=lost kernel={kernel} spool={spool} overflows={overflows}{text}"
            f" {actor(os.getpid()).fields()} res=failed",
        )

    def forged(self, messages: int) -> bytes:
        """Record that messages arrived which the kernel had not sent; they were discarded."""
        who = actor(os.getpid()).fields()
        return self.line("DAEMON_ERR", f"op=forged messages={messages} {who} res=success")

    def replace(self, pid: int) -> bytes:
        """Record that another process tried to become the audit daemon (AUDIT_REPLACE)."""
        return self.line("DAEMON_ERR", f"op=replace {actor(pid).fields()} res=failed")
