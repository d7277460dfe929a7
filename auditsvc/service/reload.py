"""Reload, on SIGHUP: the rules, and the settings that can change while the service runs.

    read everything again -> rules into the kernel -> use the settings

Invariant: if anything is wrong (a rule file, a setting, or the kernel refuses a rule), all old
rules and settings stay in use. Settings outside `LIVE` keep their value until a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from auditsvc.config import Settings
from auditsvc.rule import Add

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Read = Callable[[], tuple[Settings, list[Add], list[str]]]
"""Reads the settings, the rules, and notes on rules that are left out; AuditsvcError."""

LIVE: Final = (
    "rules",
    "spool.keep_bytes",
    "loader.patience",
    "retention.keep",
    "retention.max_bytes",
    "forward.keys",
    "forward.exclude_keys",
    "forward.keyed",
    "forward.syscalls",
    "forward.success",
    "forward.auids",
    "forward.programs",
    "forward.types",
    "forward.drain",
)
"""Settings that a reload changes."""


def changed(old: Settings, new: Settings) -> list[str]:
    """Name the settings that differ, in the file's notation: `spool.keep_bytes`."""
    return list(_changed(old.model_dump(), new.model_dump(), ""))


def _changed(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, value in old.items():
        if isinstance(value, dict):
            yield from _changed(value, new[name], f"{prefix}{name}.")
        elif value != new[name]:
            yield f"{prefix}{name}"


def merged(old: Settings, new: Settings) -> Settings:
    """Give the old settings with the new values of those that can change."""
    update: dict[str, Any] = {}
    for name in LIVE:
        section, dot, last = name.rpartition(".")
        if dot:
            part = update.get(section, getattr(old, section))
            value = getattr(getattr(new, section), last)
            update[section] = part.model_copy(update={last: value})
        else:
            update[name] = getattr(new, name)
    return old.model_copy(update=update)
