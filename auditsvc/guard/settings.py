"""What the kernel is set to, and which changes of it take cover away. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from auditsvc.kernel.messages import Status


class Settings(NamedTuple):
    """The members of struct audit_status that stay until somebody sets them."""

    enabled: int
    failure: int
    rate_limit: int
    backlog_limit: int
    backlog_wait_time: int

    @classmethod
    def of(cls, status: Status) -> Settings:
        """Take them out of what AUDIT_GET says."""
        return cls(*(getattr(status, name) for name in cls._fields))


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
