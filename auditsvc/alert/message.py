"""One alert as it is sent: the same facts to every channel."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST: Final = 500
"""Characters of a text; it may hold what another program has said."""


@dataclass(frozen=True, slots=True)
class Message:
    """An alert. `state` is begin or over, `at` seconds since 1970."""

    cause: str
    state: str
    text: str
    host: str
    at: float

    @classmethod
    def from_facts(cls, facts: Mapping[str, object]) -> Message | None:
        """Make it from the facts of `asdict`; None if these are of something else."""
        cause, state, text, host = (
            str(facts.get(name, "")) for name in ("cause", "state", "text", "host")
        )
        at = facts.get("at")
        if not (cause and state and isinstance(at, int | float)):
            return None
        return cls(cause, state, text, host, at)

    @property
    def line(self) -> str:
        """Give it as one line without control characters."""
        what = f"auditsvc on {self.host}: {self.cause} {self.state}: {self.text}"
        return "".join(c if c.isprintable() else " " for c in what)[:_MOST]

    def as_json(self) -> bytes:
        """Give it as one JSON object, for a program or an HTTP endpoint."""
        return json.dumps(asdict(self) | {"text": self.text[:_MOST]}).encode() + b"\n"

    def as_variables(self) -> dict[str, str]:
        """Give it as environment variables; they cannot hold a NUL."""
        values = {"CAUSE": self.cause, "STATE": self.state, "HOST": self.host, "TEXT": self.line}
        return {f"AUDITSVC_ALERT_{name}": value for name, value in values.items()}

    def as_mail(self, recipients: Sequence[str]) -> bytes:
        """Give it as a mail; sendmail(8) adds sender and date."""
        mail = EmailMessage()
        mail["To"] = ", ".join(recipients)
        mail["Subject"] = self.line[:200]
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(f"{self.line}\n")
        return mail.as_bytes()

    def as_journal(self) -> list[bytes]:
        """Give it as fields of a journal entry; priorities as in syslog(3)."""
        priority = 2 if self.state == "begin" else 5
        return [
            f"MESSAGE={self.line}".encode(),
            f"PRIORITY={priority}".encode(),
            b"SYSLOG_IDENTIFIER=auditsvc",
            f"AUDITSVC_ALERT={self.cause}".encode(),
            f"AUDITSVC_STATE={self.state}".encode(),
        ]
