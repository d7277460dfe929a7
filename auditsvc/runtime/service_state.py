"""What a running service tells `auditsvc status`: one small JSON file, replaced whole.

It stands in the runtime directory, mode 0600, and is gone when the service has stopped.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from auditsvc.errors import AuditsvcError
from auditsvc.host.files import read_file, replace_file
from auditsvc.host.processes import alive

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "state.json"


@dataclass(frozen=True, slots=True)
class State:
    """A moment of a running service; times are seconds since 1970."""

    pid: int
    began: float
    written: float
    source: str
    store: str
    decoder: str
    rules: int
    """Rules that the service added."""
    records: int
    """Lines put into the spool since it began."""
    missing: int
    """Records that the spool could not take and that the log does not yet say."""
    kernel_lost: int
    """Records that the kernel gave up since it began."""
    tamper: int
    """Findings of the guard since it began."""
    kernel_backlog: int
    spool_waiting: int
    """Bytes of log that are not in the store yet."""
    spool_trouble: str
    store_trouble: str
    store_hindrance: str
    """What keeps the store from being kept small: somebody reads for long."""


def write_state(directory: Path, state: State) -> None:
    """Replace the file; OSError if that cannot be done."""
    replace_file(directory / _NAME, json.dumps(asdict(state)))


def read_state(directory: Path) -> State | None:
    """The state of the service that runs now; None if none does, AuditsvcError if it is secret."""
    try:
        values = json.loads(read_file(directory / _NAME))
        state = State(**values)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    except OSError as error:
        raise AuditsvcError(
            f"the service's state {error.filename}: {error.strerror}", "ask as root"
        ) from error
    return state if alive(state.pid) else None


def remove_state(directory: Path) -> None:
    """The service has stopped."""
    (directory / _NAME).unlink(missing_ok=True)
