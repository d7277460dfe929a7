"""Where journald of this host takes entries (systemd.journal-fields(7), its native protocol)."""

from __future__ import annotations

from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")


def is_here() -> bool:
    """Whether this host has journald, if only to be started yet: its folder is made at boot."""
    return SOCKET.parent.is_dir()
