"""State of a running forwarder, for `auditsvc status`: one small JSON file.

It is in the runtime directory, mode 0600, and is replaced as a whole. The forwarder
deletes it when it stops.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.host.files import read_file, replace_file
from auditsvc.host.processes import alive
from auditsvc.value_text import parse_json

if TYPE_CHECKING:
    from pathlib import Path

CONSUMER: Final = "journal"
"""The forwarder's name among the readers of the store's feed."""

_NAME: Final = "forward.json"


@dataclass(frozen=True, slots=True)
class ForwardState:
    """State of a running forwarder at one moment; `written` is in seconds since 1970."""

    pid: int
    written: float
    sent: int
    """Events that were sent and read back since it started."""
    trouble: str
    """The current error, or empty."""


def write_state(directory: Path, state: ForwardState) -> None:
    """Write the file, in place of an older one; OSError if that fails."""
    replace_file(directory / _NAME, json.dumps(asdict(state)))


def read_state(directory: Path) -> ForwardState | None:
    """Read the state of the running forwarder; None if none runs, OSError if not permitted."""
    try:
        state = ForwardState(**parse_json(read_file(directory / _NAME)))
        is_alive = alive(state.pid)  # a killed forwarder leaves its file
    except (FileNotFoundError, ValueError, TypeError, OverflowError):
        return None
    return state if is_alive else None


def remove_state(directory: Path) -> None:
    """Delete the file when the forwarder stops; OSError if that fails."""
    (directory / _NAME).unlink(missing_ok=True)
