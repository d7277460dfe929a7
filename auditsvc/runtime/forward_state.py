"""What a running forwarder tells: one small JSON file, replaced whole.

It stands in the runtime directory, mode 0600, and is gone when the forwarder has stopped.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.host.files import read_file, replace_file
from auditsvc.host.processes import alive

if TYPE_CHECKING:
    from pathlib import Path

CONSUMER: Final = "journal"
"""The forwarder's name among the readers of the store's feed."""

_NAME: Final = "forward.json"


@dataclass(frozen=True, slots=True)
class ForwardState:
    """A moment of a running forwarder; `written` is in seconds since 1970."""

    pid: int
    written: float
    sent: int
    """Events that were sent and read back since it began."""
    trouble: str


def write_state(directory: Path, state: ForwardState) -> None:
    """Replace the file; OSError if that cannot be done."""
    replace_file(directory / _NAME, json.dumps(asdict(state)))


def read_state(directory: Path) -> ForwardState | None:
    """The state of the forwarder that runs now; None if none does, OSError if it is secret."""
    try:
        state = ForwardState(**json.loads(read_file(directory / _NAME)))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return state if alive(state.pid) else None  # one that was killed leaves its file


def remove_state(directory: Path) -> None:
    """The forwarder has stopped; OSError if the file cannot be removed."""
    (directory / _NAME).unlink(missing_ok=True)
