"""State of a running service, for `auditsvc status`: one small JSON file.

It is in the runtime directory, mode 0600, and is replaced as a whole. The service deletes
it when it stops.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from auditsvc.errors import AuditsvcError, of_system
from auditsvc.host.files import read_file, replace_file
from auditsvc.host.processes import alive
from auditsvc.value_text import parse_json

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "state.json"


@dataclass(frozen=True, slots=True)
class ServiceState:
    """State of a running service at one moment; times are in seconds since 1970."""

    pid: int
    began: float
    written: float
    source: str
    store: str
    decoder: str
    rules: int
    """Rules that the service added."""
    records: int
    """Lines written to the spool since the service started."""
    missing: int
    """Records that the spool could not take and that no record in the log reports yet."""
    dropped: int
    """Records that were not written to keep the spool's reserve, since the service started."""
    kernel_lost: int
    """Records that the kernel lost since the service started."""
    tamper: int
    """Findings of the guard since the service started."""
    kernel_backlog: int
    spool_waiting: int
    """Bytes of log that are not in the store yet."""
    spool_trouble: str
    """The current error of the spool, or empty."""
    spool_room: str
    """What is done because the spool's room is short, or empty."""
    flood: str
    """Who made most records while it was short, now or the last time; or empty."""
    store_trouble: str
    """The current error of the store, or empty."""
    coverage: dict[str, float]
    """Tasks by state (`covered`, ...) at the last look, and when it was (`at`); or empty."""
    rate: float
    """Records a second that were collected, over the last minute."""
    store_hindrance: str
    """What keeps the store from being kept small: somebody reads for long."""
    space_used: float = 0.0
    """Percent of the room for the log that are in use."""
    space_stage: str = "enough"
    """enough, warn or act."""
    space_forecast: str = ""
    """When the second stage will be reached."""


def write_state(directory: Path, state: ServiceState) -> None:
    """Write the file, in place of an older one; OSError if that fails."""
    replace_file(directory / _NAME, json.dumps(asdict(state)))


def has_left(directory: Path) -> bool:
    """Whether a run ended without deleting its state: it was killed or crashed."""
    return (directory / _NAME).exists()


def read_state(directory: Path) -> ServiceState | None:
    """Read the state of the running service; None if none runs.

    AuditsvcError if the file may not be read.
    """
    try:
        values = parse_json(read_file(directory / _NAME))
        state = ServiceState(**values)
        is_alive = alive(state.pid)
    except (FileNotFoundError, ValueError, TypeError, OverflowError):
        return None
    except OSError as error:
        raise AuditsvcError(f"the service's state {of_system(error)}", "run as root") from error
    return state if is_alive else None


def remove_state(directory: Path) -> None:
    """Delete the file when the service stops."""
    (directory / _NAME).unlink(missing_ok=True)
