"""Which events the settings choose to forward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.store.read.selection import Selection

if TYPE_CHECKING:
    from auditsvc.config import ForwardSettings
    from auditsvc.store.read.selection import Process


def selection(settings: ForwardSettings, without: tuple[Process, ...] = ()) -> Selection:
    """Make the selection for the settings, without some processes."""
    return Selection(
        keys=settings.keys,
        exclude_keys=settings.exclude_keys,
        keyed=settings.keyed,
        syscalls=settings.syscalls,
        success=None if settings.success is None else int(settings.success),
        auids=settings.auids,
        programs=settings.programs,
        types=settings.types,
        exclude=without,
    )


def described(settings: ForwardSettings) -> str:
    """Describe in one line which events are sent."""
    if settings.keys:
        calls = f"calls with the key {' or '.join(settings.keys)}"
    elif settings.keyed and settings.exclude_keys:
        calls = f"calls with a rule key other than {' or '.join(settings.exclude_keys)}"
    else:
        calls = "calls with a rule key" if settings.keyed else "all calls"
    further = {
        "named": settings.syscalls,
        "of auid": settings.auids,
        "by": settings.programs,
    }
    calls += "".join(
        f", {word} {' or '.join(map(str, values))}" for word, values in further.items() if values
    )
    if settings.success is not None:
        calls += ", that succeeded" if settings.success else ", that failed"
    if not settings.types:
        return f"{calls}; no events without a call"
    if "*" in settings.types:
        return f"{calls}; and every event without a call"
    return f"{calls}; and of events without a call {', '.join(settings.types)}"
