"""What processes of ours tell one another, and must know after a crash: small JSON files.

They stand in the runtime directory, mode 0600, and are good until the next boot. Rules
are kept as hex of their structs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from auditsvc.errors import AuditsvcError
from auditsvc.host.files import read_file, replace_file
from auditsvc.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

SESSION: Final = "found.json"
"""Of the running service: what it found, the rules that it needs (`holds`), and those of them
that it added (`added`)."""

LOADED: Final = "loaded.json"
"""Of `rules load`: the rules that are there because it added them (`rules`), and what its
files want (`wanted`, `settings`); `load` tells it from an earlier one."""

SWITCH: Final = "switch.json"
"""Of `on` and `off`: who asked for what (`requests`)."""

PROBES: Final = "probes.json"
"""Of `on` and `off`: the rules that they add for a moment (`rules`), by whom and when."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class DamagedError(AuditsvcError):
    """The file does not hold what it should."""


def remember(path: Path, values: dict[str, Any]) -> None:
    """Replace the file; AuditsvcError if that cannot be done."""
    try:
        replace_file(path, json.dumps({"boot": _boot()} | values))
    except OSError as error:
        raise AuditsvcError(
            f"{path} cannot be written: {error.strerror}",
            "run as root, make room, or set runtime_directory: there stands how to put the kernel "
            "back",
        ) from error


def recall(path: Path) -> dict[str, Any] | None:
    """What was remembered since this boot; None if nothing was.

    DamagedError if it cannot be understood, AuditsvcError if it cannot be read.
    """
    try:
        values = json.loads(read_file(path))
        boot = values.pop("boot")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise AuditsvcError(f"{path} cannot be read: {error.strerror}", "ask as root") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedError(f"{path} is damaged", "delete it") from error
    return values if boot == _boot() else None


def recall_rules(path: Path, name: str) -> frozenset[Rule]:
    """Rules that stand under `name` in what was remembered; empty if nothing was."""
    values = recall(path)
    if values is None:
        return frozenset()
    try:
        return frozenset(from_hex(values.get(name, [])))
    except (ValueError, TypeError, AuditsvcError) as error:
        raise DamagedError(f"{path} is damaged", "delete it") from error


def as_hex(rules: Iterable[Rule]) -> list[str]:
    """How rules are kept."""
    return [rule.to_bytes().hex() for rule in rules]


def from_hex(kept: Iterable[str]) -> list[Rule]:
    """Read them again."""
    return [Rule.from_bytes(bytes.fromhex(each)) for each in kept]


def _boot() -> str:
    return _BOOT_ID.read_text().strip()
