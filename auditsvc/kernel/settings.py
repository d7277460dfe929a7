"""The kernel's audit settings, and which changes of them can cost records."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from auditsvc.kernel.messages import LOGINUID_IMMUTABLE

if TYPE_CHECKING:
    from auditsvc.kernel.control import Control
    from auditsvc.kernel.messages import Status
    from auditsvc.rule.commands import Setting


class Settings(NamedTuple):
    """The members of struct audit_status that are settings, not counters."""

    enabled: int
    failure: int
    rate_limit: int
    backlog_limit: int
    backlog_wait_time: int

    def by_name(self) -> dict[Setting, int]:
        """Give the settings by the names that `auditsvc.rule.Set` uses."""
        return {
            "enabled": self.enabled,
            "failure": self.failure,
            "rate_limit": self.rate_limit,
            "backlog_limit": self.backlog_limit,
            "backlog_wait_time": self.backlog_wait_time,
        }

    @classmethod
    def from_status(cls, status: Status) -> Settings:
        """Take the settings from the answer to AUDIT_GET."""
        return cls(*(getattr(status, name) for name in cls._fields))


def read_settings(control: Control, *, features: bool = True) -> dict[Setting, int]:
    """Read the kernel's settings by name; with `features`, also loginuid_immutable."""
    found = Settings.from_status(control.status()).by_name()
    if features:
        found["loginuid_immutable"] = int(bool(control.features().on & LOGINUID_IMMUTABLE))
    return found


def is_harmful(name: str, old: int, new: int) -> bool:
    """Whether a change of a setting other than `enabled` can lose records or stop the machine."""
    if new == old:
        return False
    match name:
        case "failure":
            return True
        case "rate_limit" | "backlog_limit":  # 0 means no limit
            return new != 0 and (old == 0 or new < old)
        case _:
            return new < old


def change_text(name: str, old: int, new: int) -> str:
    """Describe a change of a setting in one line."""
    return f"{name} {old} -> {new}"
