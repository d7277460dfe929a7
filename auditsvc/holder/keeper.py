"""Where the record socket is kept while no service runs, as the service uses it.

    keeper = open_keeper(choice, runtime_directory)
    keeper.found                  # descriptors that an earlier service left, by name
    keeper.keep(name, number)     # from now on it outlives this process
    keeper.drop(name)
    keeper.end()                  # nothing is kept after an orderly end

A keeper that cannot keep says why in `problem`; collecting goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from auditsvc.holder.client import HolderProcess
from auditsvc.holder.systemd import SystemdStore, runs_under_systemd

if TYPE_CHECKING:
    from pathlib import Path

    from auditsvc.config import HolderChoice


class Keeper(Protocol):
    """Keeps descriptors by name."""

    found: dict[str, int]
    """Descriptors that an earlier service left; the oldest is first."""
    outlives: bool
    """Whether what is kept stays open when this process ends."""
    problem: str
    """Why nothing is kept now, or empty."""

    def keep(self, name: str, number: int) -> None:
        """Keep a descriptor; a failure is in `problem`."""

    def drop(self, name: str) -> None:
        """Keep the descriptor of this name no longer."""

    def watch(self) -> None:
        """Start a holder that has ended again; called twice a second."""

    def end(self) -> None:
        """Keep nothing any more, and end the holder."""

    def leave(self) -> None:
        """End the connection; what is kept stays."""


class NoKeeper:
    """Keeps nothing: everything is closed when the service ends."""

    outlives = False
    problem = ""

    def __init__(self) -> None:
        self.found: dict[str, int] = {}

    def keep(self, name: str, number: int) -> None:
        """Do nothing."""

    def drop(self, name: str) -> None:
        """Do nothing."""

    def watch(self) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""

    def leave(self) -> None:
        """Do nothing."""


def open_keeper(choice: HolderChoice, runtime: Path) -> Keeper:
    """Find what an earlier service left; `auto`: systemd's store under systemd, else a holder."""
    if choice == "off":
        return NoKeeper()
    if choice == "systemd" or (choice == "auto" and runs_under_systemd()):
        return SystemdStore()
    return HolderProcess(runtime)
