"""Log entries for journald, by its own protocol: each fact is a field.

    facts of structlog -> one datagram; if it cannot be sent at once, one JSON line on stderr

The socket never waits: a service that waits for its log would stop collecting. libsystemd is not
used, as it waits with the interpreter's lock held (auditsvc.forward.process).
"""

from __future__ import annotations

import re
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


class JournalLogger:
    """What structlog hands finished facts to; every level is a method."""

    def __init__(self, *_: object) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def __getattr__(self, name: str) -> Any:
        """Give the method of a level."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self._log

    def _log(self, **facts: Any) -> None:
        try:
            self._socket.sendto(entry(facts), str(journald.SOCKET))
        except OSError:
            sys.stderr.write(f"{to_json(facts, ascii_only=True)}\n")
            sys.stderr.flush()


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
