"""The service's own records: DAEMON_START and its kin, as auditd writes them.

What the service does to the evidence (start, stop, rotation, a changed
configuration, loss) stands in the evidence. Each line says who did it: auid,
pid, uid, ses and subj as the kernel's own records do. Types 1200-1299 cannot be
sent to the kernel by a program (audit_receive_msg in kernel/audit.c takes
1100-1199 and 2100-2999), so a line of these types in our spool is ours.
"""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from auditsvc import __version__
from auditsvc.record.fields import UNSET
from auditsvc.record.line import format_line, untrusted


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something: `pid` 0 and ids UNSET where it is not known."""

    pid: int = 0
    uid: int = UNSET
    auid: int = UNSET
    ses: int = UNSET
    subj: str = "unconfined"

    def fields(self) -> str:
        """Spell it as the kernel's records do."""
        return f"auid={self.auid} pid={self.pid} uid={self.uid} ses={self.ses} subj={self.subj}"


def actor(pid: int, uid: int | None = None) -> Actor:
    """Look a process up in /proc; what is not there any more stays unset."""
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
    # A label is a word; whatever else stands there must not become further fields.
    word = label.decode("ascii", "replace")
    subj = word if word.isprintable() and word and " " not in word else "unconfined"
    return Actor(pid=pid, uid=uid, auid=number("loginuid"), ses=number("sessionid"), subj=subj)


class DaemonRecords:
    """Makes the lines; serials are a count of its own with a random start, as auditd's are."""

    def __init__(self) -> None:
        self._serials = count(secrets.randbelow(1 << 15))  # threads share it

    def line(self, kind: str, fields: str) -> bytes:
        """One line with its newline; `kind` as in DAEMON_START."""
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        stamp = f"audit({seconds}.{nanoseconds // 1_000_000:03}:{next(self._serials)}): "
        return format_line(kind.encode(), (stamp + fields).encode()) + b"\n"

    def start(self, who: Actor) -> bytes:
        """Say that the service has begun to collect."""
        kernel = os.uname().release
        return self.line(
            "DAEMON_START",
            f"op=start ver=auditsvc-{__version__} format=raw kernel={kernel}"
            f" {who.fields()} res=success",
        )

    def end(self, who: Actor, op: str) -> bytes:
        """Say that the service has stopped collecting; `op`: terminate, duration, end-of-input."""
        return self.line("DAEMON_END", f"op={op} {who.fields()} res=success")

    def abort(self, reason: str) -> bytes:
        """Say that the service stops for an error."""
        word = "-".join(reason.split())
        return self.line(
            "DAEMON_ABORT", f"op=error reason={word} {actor(os.getpid()).fields()} res=failed"
        )

    def rotate(self) -> bytes:
        """Say that a segment was finished and the next begun."""
        return self.line(
            "DAEMON_ROTATE", f"op=rotate-logs {actor(os.getpid()).fields()} res=success"
        )

    def config(self, who: Actor, op: str, what: str) -> bytes:
        """Say that the service changed its configuration, the rules or the kernel's state."""
        return self.line("DAEMON_CONFIG", f"op={op} {what} {who.fields()} res=success")

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
        """Say whether a process is covered; pid, uid, auid and ses are that process's own."""
        program = "(null)" if exe is None else untrusted(exe)
        return self.line(
            "DAEMON_CONFIG",
            f"op=coverage began={began:.3f} comm={untrusted(comm)} exe={program} state={state}"
            f" reason={reason} threads={threads} covered={covered} {actor(pid).fields()}"
            " res=success",
        )

    def coverage_look(self, what: str) -> bytes:
        """Say what a look at all processes came to."""
        return self.config(actor(os.getpid()), "coverage-look", what)

    def lost(
        self, *, kernel: int = 0, spool: int = 0, overflows: int = 0, torn: bytes = b""
    ) -> bytes:
        """Say that records are missing from here on.

        `kernel`: by the kernel's own count; `spool`: not written for want of room;
        `overflows`: times the multicast socket was full (how many records is not
        known); `torn`: a line that a crash left unfinished, in hex.
        """
        text = f" text={torn.hex().upper()}" if torn else ""
        return self.line(
            "DAEMON_ERR",
            f"op=lost kernel={kernel} spool={spool} overflows={overflows}{text}"
            f" {actor(os.getpid()).fields()} res=failed",
        )

    def forged(self, messages: int) -> bytes:
        """Say that messages came which the kernel had not sent, and were thrown away."""
        who = actor(os.getpid()).fields()
        return self.line("DAEMON_ERR", f"op=forged messages={messages} {who} res=success")

    def replace(self, pid: int) -> bytes:
        """Say that another process tried to become the audit daemon (AUDIT_REPLACE)."""
        return self.line("DAEMON_ERR", f"op=replace {actor(pid).fields()} res=failed")
