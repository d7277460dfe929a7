"""Which alerts are active, and which were not sent yet: files in the runtime directory.

The first one is for a restart and for who looks, the second one for a restart alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from auditsvc.config import Cause
from auditsvc.host.files import read_file, replace_file
from auditsvc.value_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NAME: Final = "alerts.json"
UNSENT: Final = "alerts-unsent.json"


def active_alerts(runtime_directory: Path) -> dict[Cause, str]:
    """Give the active alerts and their texts; OSError if this user may not read that.

    A file that is missing or that we did not write is none.
    """
    try:
        values = parse_json(read_file(runtime_directory / NAME))
        return {Cause(cause): str(text) for cause, text in values.items()}
    except (FileNotFoundError, ValueError, AttributeError):
        return {}


def unsent_alerts(runtime_directory: Path) -> list[dict[str, Any]]:
    """Give what an earlier run has not sent, as `remember_unsent` got it; OSError as above."""
    try:
        values = parse_json(read_file(runtime_directory / UNSENT))
    except (FileNotFoundError, ValueError):
        return []
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []


def remember_unsent(runtime_directory: Path, messages: Sequence[Mapping[str, Any]]) -> None:
    """Note what waits to be sent; OSError."""
    replace_file(runtime_directory / UNSENT, json.dumps([dict(each) for each in messages]))
