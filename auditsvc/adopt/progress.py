"""How far a change-over is: a file that outlives a crash, so that running again finishes it.

It is `adopt/state.json` in the state directory, replaced as a whole and synced. A step is noted
before it is done where another run has to know that it may have been done, else after it.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from fcntl import LOCK_EX, LOCK_NB, flock
from os import O_CREAT, O_RDWR, close
from typing import TYPE_CHECKING, Final

from auditsvc.errors import AuditsvcError, of_system
from auditsvc.host.files import make_folder, open_file, read_file, replace_file
from auditsvc.value_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER: Final = "adopt"
ADOPT: Final = "adopt"
BACK: Final = "back"


@dataclass(slots=True)
class Bridge:
    """A copy of the records between two daemons."""

    folder: str
    began: float = 0.0
    stored: bool = False
    mark: str = ""
    """What stands in the record that showed that the new daemon receives; or empty."""
    problem: str = ""
    """Why it may not have every record; or empty."""


@dataclass(slots=True)
class Progress:
    """One change-over; times are in seconds since 1970, 0.0 for not yet."""

    direction: str = ""
    """Towards what: ADOPT or BACK; empty before the first."""
    done: bool = False
    boot: str = ""
    """The boot in which auditd was stopped."""
    manager: str = ""
    auditd: list[str] = field(default_factory=list)
    """auditd's program and its arguments, as it ran."""
    log: str = ""
    """auditd's log."""
    settings_written: bool = False
    aside: str = ""
    """The name that the earlier file of settings has now."""
    stopping: float = 0.0
    """When the old daemon was told to stop."""
    stopped: float = 0.0
    """When it was found to have stopped."""
    taken: float = 0.0
    """When the new daemon was found to be registered."""
    without_auditd: float = 0.0
    """Since when auditd gets nothing."""
    bridges: list[Bridge] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Why records between the daemons may be missing."""


def load(state: Path) -> Progress:
    """Read it from the state directory; AuditsvcError if it is damaged or may not be read."""
    path = state / FOLDER / "state.json"
    try:
        values = parse_json(read_file(path))
        bridges = [Bridge(**each) for each in values.pop("bridges")]
        return Progress(**values, bridges=bridges)
    except (FileNotFoundError, NotADirectoryError):
        return Progress()
    except OSError as error:
        raise AuditsvcError(f"{path}: {error.strerror}", "run as root") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AuditsvcError(f"{path} is damaged", "delete it: the change begins anew") from error


def save(state: Path, progress: Progress) -> None:
    """Write it; AuditsvcError if that fails."""
    path = state / FOLDER / "state.json"
    try:
        replace_file(path, json.dumps(asdict(progress), indent=1), sync=True)
    except OSError as error:
        raise AuditsvcError(f"{path}: {error.strerror}", "run as root, free disk space") from error


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """Be the only change-over; AuditsvcError if another one runs."""
    try:
        number = open_file(make_folder(state / FOLDER) / "lock", O_RDWR | O_CREAT)
    except OSError as error:
        raise AuditsvcError(of_system(error), "run as root") from error
    try:
        try:
            flock(number, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise AuditsvcError("another `auditsvc adopt` runs", "wait for its end") from error
        yield
    finally:
        close(number)
