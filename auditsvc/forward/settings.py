"""Which events the settings choose to forward."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

from auditsvc.store.read.selection import EVERY_TYPE, Selection
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.config import ForwardSettings
    from auditsvc.store.read.selection import Process


_UNKNOWN: Final = re.compile(r"UNKNOWN\[[0-9]+\]")


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


def unknown_names(settings: ForwardSettings) -> Iterator[tuple[str, str, str]]:
    """Give the names that no system call or record type has: setting, name, and what is like it.

    An event with such a name is never forwarded: mostly it is a slip.
    """
    calls = {name for arch in names.arches() for name in names.syscalls(arch).values()}
    types = set(names.record_types().values())
    for setting, given, known in (
        ("forward.syscalls", settings.syscalls, calls),
        ("forward.types", settings.types, types | {EVERY_TYPE}),
    ):
        for name in given:
            if name not in known and _UNKNOWN.fullmatch(name) is None:
                near = difflib.get_close_matches(name, known, 1)
                yield setting, name, near[0] if near else ""


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
