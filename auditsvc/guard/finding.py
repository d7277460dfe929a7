r"""A finding: a change of rules or settings by somebody else, who it was, what was restored.

It is written as one line, which the view `tamper` shows:

    type=DAEMON_CONFIG msg=audit(...): op=tamper what=rule_deleted list=exit key="k"
      detail="-a always,exit -S all -F key=k" restored=yes evidence=SEC.MMM:SERIAL known_by=call
      auid=1000 pid=77 uid=0 ses=3 comm="auditctl" exe="/usr/sbin/auditctl" subj=... res=success

comm, exe and key are written as the kernel writes untrusted strings. The detail is
quoted; characters that could end the quotes or begin a field are written as \xHH.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from auditsvc.guard.config_change import ActorInfo
from auditsvc.record.fields import UNSET
from auditsvc.record.line import untrusted

if TYPE_CHECKING:
    from auditsvc.guard.config_change import ConfigChange
    from auditsvc.rule import Rule

What = Literal[
    "rule_deleted",
    "rule_moved",  # deleted and added again at another position
    "never_added",  # a rule that reduces coverage at its position
    "rule_added",  # a rule that does not
    "switched_off",
    "switched_on",
    "setting",
    "replaced",  # another process asked to be the audit daemon, or is it now
    "given_up",  # the kernel ended our registration as audit daemon
    "put_back",  # no tampering: what could not be restored at once is restored now
]
Restored = Literal[
    "yes",
    "no",  # not set so, or there is nothing to restore
    "undone",  # it was undone before we looked
    "later",  # restored too often recently: it waits
    "failed",  # the kernel refused
]


@dataclass(slots=True)
class GuardFinding:
    """One finding. `setting` and `value`: the changed setting and its new value."""

    what: What
    detail: str
    rule: Rule | None = None
    setting: str = ""
    value: int = 0
    restored: Restored = "no"
    refused: bool = False
    """Whether the kernel refused it."""
    who: ActorInfo = ActorInfo()  # noqa: RUF009 - frozen
    change: ConfigChange | None = None
    """The record of the change."""
    attempts: int = 0
    """How often the actor was searched."""

    def fields(self) -> str:
        """Write the body of its line."""
        parts = [f"op=tamper what={self.what}"]
        if self.rule is not None:
            key = "\x01".join(self.rule.keys).encode(errors="surrogateescape")
            parts.append(f"list={self.rule.filter_list.name.lower()}")
            parts.append(f"key={untrusted(key) if key else '(null)'}")
        parts.append(f'detail="{quotable(self.detail)}" restored={self.restored}')
        if self.change is not None:
            parts.append(f"evidence={self.change.stamp}")
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
        """Give it for the service's log, without unknown values."""
        by = self.who.actor
        known = {
            "detail": self.detail,
            "restored": self.restored,
            "auid": None if by.auid == UNSET else by.auid,
            "pid": by.pid or None,
            "ses": None if by.ses == UNSET else by.ses,
            "comm": None if self.who.comm is None else quotable(self.who.comm),
            "exe": None if self.who.exe is None else quotable(self.who.exe),
            "evidence": None if self.change is None else self.change.stamp,
        }
        return {name: value for name, value in known.items() if value is not None}


def quotable(text: str | bytes) -> str:
    r"""Write text for use between double quotes: ASCII, quotes and others as \xHH."""
    data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
    return "".join(
        chr(byte) if 0x20 <= byte <= 0x7E and byte not in b"\"'" else f"\\x{byte:02X}"
        for byte in data
    )
