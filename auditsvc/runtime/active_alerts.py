"""Which alerts are active: a file in the runtime directory, for a restart and for who looks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from auditsvc.config import Cause
from auditsvc.host.files import read_file

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "alerts.json"


def active_alerts(runtime_directory: Path) -> dict[Cause, str]:
    """Give the active alerts and their texts; OSError if this user may not read that.

    A file that is missing or that we did not write is none.
    """
    try:
        values = json.loads(read_file(runtime_directory / NAME))
        return {Cause(cause): str(text) for cause, text in values.items()}
    except (FileNotFoundError, ValueError, AttributeError):
        return {}
