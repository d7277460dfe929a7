"""Log entries for journald, by its own protocol: each fact is a field.

    facts of structlog -> one datagram; if it cannot be sent at once, one JSON line on stderr

Nothing waits: a service that waits for its log would stop collecting. stderr is journald's too, so
if it does not take the line either, the entry is dropped, and the next one says how many were
(`entries_lost`). libsystemd is not used, as it waits with the interpreter's lock held
(auditsvc.forward.process).
"""

from __future__ import annotations

import re
import select
import socket
import sys
from typing import Any, Final

from auditsvc.forward.wire import joined
from auditsvc.host import journald
from auditsvc.host.terminal import visible
from auditsvc.value_text import to_json

_PRIORITIES: Final = {
    "critical": 2,
    "error": 3,
    "exception": 3,
    "warning": 4,
    "info": 6,
    "debug": 7,
}
"""Of syslog(3)."""
_NOT_NAME: Final = re.compile(r"[^A-Z0-9_]")
_OWN: Final = ("event", "level", "timestamp")
"""Facts that have a field of journald."""
_MOST: Final = 2000
"""Characters of a text on stderr: so a line fits into what is free of a stream socket that the
kernel calls writable, three quarters of its buffer (unix_writable, net/unix/af_unix.c)."""


class JournalLogger:
    """What structlog hands finished facts to; every level is a method."""

    def __init__(self, *_: object) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._lost = 0

    def __getattr__(self, name: str) -> Any:
        """Give the method of a level."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self._log

    def _log(self, **facts: Any) -> None:
        if self._lost:
            facts["entries_lost"] = self._lost
        try:
            self._socket.sendto(entry(facts), str(journald.SOCKET))
        except OSError:
            if not select.select((), (sys.stderr,), (), 0)[1]:
                self._lost += 1
                return
            short = {k: v[:_MOST] if isinstance(v, str) else v for k, v in facts.items()}
            sys.stderr.write(f"{to_json(short, ascii_only=True)}\n")
            sys.stderr.flush()
        self._lost = 0


def entry(facts: dict[str, Any]) -> bytes:
    """Make the datagram of an entry; a text of others stays one field, whatever is in it."""
    level = str(facts.get("level", "info"))
    said = [f"{name}={value}" for name, value in facts.items() if name not in _OWN]
    message = " ".join((str(facts.get("event", "")), *said))
    fields = [
        f"MESSAGE={visible(message)}",
        f"PRIORITY={_PRIORITIES.get(level, 6)}",
        "SYSLOG_IDENTIFIER=auditsvc",
        f"AUDITSVC_LOG={level}",
        f"AUDITSVC_LOG_EVENT={facts.get('event', '')}",
    ]
    fields += [
        f"AUDITSVC_LOG_{_NOT_NAME.sub('_', name.upper())}={value}"
        for name, value in facts.items()
        if name not in _OWN
    ]
    return joined(field.encode(errors="backslashreplace") for field in fields)
