"""What a run does for its loader's process, and what that does besides loading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Callable

    from auditsvc.config import RetentionSettings
    from auditsvc.enrich.cgroup_watch import Seen as SeenProcess
    from auditsvc.service.loader_reports import Sealed
    from auditsvc.service.remote_loader import RemoteLoader
    from auditsvc.service.source_files import SourceFiles


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What is done for the process; called by the thread that receives."""

    opened: Callable[[socket.socket | None, int], None]
    """A store was opened: the connection with its server, if it has one, and its word who it is."""
    note: Callable[[str], None]
    ids: Callable[[str, set[int]], None]
    """Takes ids of users or of groups."""
    processes: Callable[[list[SeenProcess]], None]
    newest: Callable[[], str]
    busy: Callable[[], bool]
    arrived: threading.Event
    sees: bool
    """Whether ids and processes are wanted."""
    files: SourceFiles | None = None
    """Of a log that is followed."""


class Problems(NamedTuple):
    """Why the store cannot be pruned, archived and shipped; "" if it can."""

    retention: str = ""
    archive: str = ""
    fleet: str = ""


class RemoteUpkeep:
    """Retention, which the process sees to."""

    def __init__(self, loader: RemoteLoader) -> None:
        self._loader = loader

    @property
    def problem(self) -> str:
        """Why the store cannot be pruned, "" if it can."""
        return self._loader.problems.retention

    @property
    def retention(self) -> RetentionSettings:
        """What is kept; may be replaced at any time."""
        return self._loader.retention

    @retention.setter
    def retention(self, retention: RetentionSettings) -> None:
        self._loader.change_retention(retention)


class RemotePasses:
    """The archive, or the fleet, which the process sees to: it begins and ends with the loader."""

    def __init__(self, problem: Callable[[], str]) -> None:
        self._problem = problem

    @property
    def problem(self) -> str:
        """Why nothing can be done, "" if it can."""
        return self._problem()

    def start(self) -> None:
        """Do nothing: see above."""

    def finish(self) -> None:
        """Do nothing: see above."""


class RemoteSealing:
    """Seals the rows of all segments up to one, by the loader's process."""

    def __init__(self, loader: RemoteLoader, last: int) -> None:
        self.last = last
        self._loader = loader
        self._turn = loader.turn

    def start(self) -> None:
        """Have it begin."""
        self._loader.seal(self.last)

    def is_alive(self) -> bool:
        """Whether it is still done."""
        return self._sealed is None and self._turn == self._loader.turn

    @property
    def _sealed(self) -> Sealed | None:
        sealed = self._loader.sealed
        return sealed if sealed is not None and sealed.last == self.last else None

    @property
    def digest(self) -> str:
        """Of the seal, "" if it was not made."""
        return self._sealed.digest if self._sealed is not None else ""

    @property
    def altered(self) -> list[str]:
        """What is not as the lines say."""
        return self._sealed.altered if self._sealed is not None else []

    @property
    def problem(self) -> str:
        """Why it was not made."""
        return self._sealed.problem if self._sealed is not None else "the loader's process ended"
