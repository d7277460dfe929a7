r"""A finding: what somebody else did to our cover, who it was, and what became of it.

It is written as one line, which the view `tamper` shows:

    type=DAEMON_CONFIG msg=audit(...): op=tamper what=rule_deleted list=exit key="k"
      detail="-a always,exit -S all -F key=k" restored=yes evidence=SEC.MMM:SERIAL known_by=call
      auid=1000 pid=77 uid=0 ses=3 comm="auditctl" exe="/usr/sbin/auditctl" subj=... res=success

comm, exe and key are spelled as the kernel spells strings that it does not trust. The
detail is quoted, with what could end the quotes or begin a field written as \xHH.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from auditsvc.guard.config_change import Culprit
from auditsvc.record.fields import UNSET
from auditsvc.record.line import untrusted

if TYPE_CHECKING:
    from auditsvc.guard.config_change import Deed
    from auditsvc.rule import Rule

What = Literal[
    "rule_deleted",
    "rule_moved",  # deleted and added again, so that it is asked later or earlier
    "never_added",  # a rule that takes cover away, where it stands
    "rule_added",  # one that does not
    "switched_off",
    "switched_on",
    "setting",
    "replaced",  # another process asked for the daemon's place, or has it
    "given_up",  # the kernel took the daemon's place from us
    "put_back",  # no tampering: what could not be put back at once is back now
]
Restored = Literal[
    "yes",
    "no",  # it is not asked for, or there is nothing to put back
    "undone",  # whoever did it had put it back before we looked
    "later",  # put back too often of late: it waits
    "failed",  # the kernel refused
]


@dataclass(slots=True)
class Finding:
    """One of them. `setting` and `value`: which of the kernel's settings became what."""

    what: What
    detail: str
    rule: Rule | None = None
    setting: str = ""
    value: int = 0
    restored: Restored = "no"
    refused: bool = False
    """The kernel did not let it happen."""
    who: Culprit = Culprit()  # noqa: RUF009 - frozen
    deed: Deed | None = None
    """The record that tells of it."""
    looks: int = 0
    """How often it was looked for who it was."""

    def fields(self) -> str:
        """Write the body of its line."""
        parts = [f"op=tamper what={self.what}"]
        if self.rule is not None:
            key = "\x01".join(self.rule.keys).encode(errors="surrogateescape")
            parts.append(f"list={self.rule.filter_list.name.lower()}")
            parts.append(f"key={untrusted(key) if key else '(null)'}")
        parts.append(f'detail="{quotable(self.detail)}" restored={self.restored}')
        if self.deed is not None:
            parts.append(f"evidence={self.deed.stamp}")
        if self.who.known_by:
            parts.append(f"known_by={self.who.known_by}")
        by = self.who.actor
        for name, value, unknown in (
            ("auid", by.auid, UNSET),
            ("pid", by.pid, 0),
            ("uid", by.uid, UNSET),
            ("ses", by.ses, UNSET),
        ):
            if value != unknown:
                parts.append(f"{name}={value}")
        for name, text in (("comm", self.who.comm), ("exe", self.who.exe)):
            if text is not None:
                parts.append(f"{name}={untrusted(text)}")
        parts.append(f"subj={by.subj} res={'failed' if self.refused else 'success'}")
        return " ".join(parts)

    def shown(self) -> dict[str, object]:
        """Say it for the service's log; what is not known is left out."""
        by = self.who.actor
        known = {
            "detail": self.detail,
            "restored": self.restored,
            "auid": None if by.auid == UNSET else by.auid,
            "pid": by.pid or None,
            "ses": None if by.ses == UNSET else by.ses,
            "comm": None if self.who.comm is None else quotable(self.who.comm),
            "exe": None if self.who.exe is None else quotable(self.who.exe),
            "evidence": None if self.deed is None else self.deed.stamp,
        }
        return {name: value for name, value in known.items() if value is not None}


def quotable(text: str | bytes) -> str:
    r"""Write text so that it can stand between double quotes: ASCII, quotes and others as \xHH."""
    data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
    return "".join(
        chr(byte) if 0x20 <= byte <= 0x7E and byte not in b"\"'" else f"\\x{byte:02X}"
        for byte in data
    )
