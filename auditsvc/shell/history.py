"""The history of the prompt: a file of the user's own, mode 0600.

SQL can hold names of people and of what they did, so nobody else may read it. A file that
others could change is not used: what is in it would be run again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prompt_toolkit.history import FileHistory, InMemoryHistory

from auditsvc.errors import of_system
from auditsvc.host.files import make_folder, open_file

if TYPE_CHECKING:
    from prompt_toolkit.history import History

_NAME: Final = "auditsvc/shell_history"


def history_file() -> Path:
    """Give the file: in XDG_STATE_HOME, or in ~/.local/state; RuntimeError without a home."""
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if state.startswith("/") else Path.home() / ".local/state"
    return folder / _NAME


def open_history() -> tuple[History, str]:
    """Give the history, and why it is not kept in a file ("" if it is)."""
    try:
        file = history_file()
        make_folder(file.parent)
        descriptor = open_file(file, os.O_RDWR | os.O_CREAT)
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)
    except RuntimeError:
        return InMemoryHistory(), "there is no home directory"
    except OSError as error:
        return InMemoryHistory(), of_system(error)
    return FileHistory(str(file)), ""
