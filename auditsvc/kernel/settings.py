"""What the kernel is set to, and which changes of it take cover away."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from auditsvc.kernel.messages import LOGINUID_IMMUTABLE

if TYPE_CHECKING:
    from auditsvc.kernel.control import Control
    from auditsvc.kernel.messages import Status
    from auditsvc.rule.commands import Setting


class Settings(NamedTuple):
    """The members of struct audit_status that stay until somebody sets them."""

    enabled: int
    failure: int
    rate_limit: int
    backlog_limit: int
    backlog_wait_time: int

    def by_name(self) -> dict[Setting, int]:
        """Give them by the names of `auditsvc.rule.Set`."""
        return {
            "enabled": self.enabled,
            "failure": self.failure,
            "rate_limit": self.rate_limit,
            "backlog_limit": self.backlog_limit,
            "backlog_wait_time": self.backlog_wait_time,
        }

    @classmethod
    def of(cls, status: Status) -> Settings:
        """Take them out of what AUDIT_GET says."""
        return cls(*(getattr(status, name) for name in cls._fields))


def read_settings(control: Control, *, features: bool = True) -> dict[Setting, int]:
    """Ask the kernel for its settings by name; with `features`, for loginuid_immutable too."""
    found = Settings.of(control.status()).by_name()
    if features:
        found["loginuid_immutable"] = int(bool(control.features().on & LOGINUID_IMMUTABLE))
    return found


def is_harmful(name: str, old: int, new: int) -> bool:
    """Whether a change (of anything but `enabled`) can cost records, or the machine."""
    if new == old:
        return False
    match name:
        case "failure":
            return True
        case "rate_limit" | "backlog_limit":  # 0 is no limit
            return new != 0 and (old == 0 or new < old)
        case _:
            return new < old


def shown(name: str, old: int, new: int) -> str:
    """Say a change for people."""
    return f"{name} {old} -> {new}"
