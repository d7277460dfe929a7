"""Small JSON files for other processes of the service, and for the next run after a crash.

They are in the runtime directory, mode 0600, and valid until the next boot. Rules are
kept as hex of their structs.
"""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from auditsvc.errors import AuditsvcError, of_system
from auditsvc.host.files import UnsafeError, read_file, replace_file
from auditsvc.rule import Rule
from auditsvc.value_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable

SESSION: Final = "found.json"
"""Of the running service: the kernel's state before it, the rules that it needs (`holds`), and
those of them that it added (`added`)."""

LOADED: Final = "loaded.json"
"""Of `rules load`: the loaded rules that it added (`rules`), and what its files want (`wanted`,
`settings`); `load` is the time of the load and identifies it."""

SWITCH: Final = "switch.json"
"""Of `on` and `off`: the requests, with who made them (`requests`)."""

PROBES: Final = "probes.json"
"""Of `on` and `off`: the rules of their probes, who adds them, and when (`notices`)."""

_MOST: Final = 1 << 26
"""Bytes; more rules than a kernel takes."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class DamagedError(AuditsvcError):
    """The content of the file is not valid."""


def remember(path: Path, values: dict[str, Any]) -> None:
    """Write the file, in place of an older one; AuditsvcError if that fails."""
    try:
        replace_file(path, json.dumps({"boot": boot_id()} | values))
    except OSError as error:
        raise AuditsvcError(
            f"{path} cannot be written: {error.strerror}",
            "run as root, free disk space, or set runtime_directory: this file is needed to "
            "restore the kernel's rules",
        ) from error


def recall(path: Path) -> dict[str, Any] | None:
    """Read a file that was written since this boot; None if there is none.

    DamagedError if its content is not valid, or it is no file of ours: who could put that there
    could as well have deleted it. AuditsvcError if it cannot be read.
    """
    try:
        values = parse_json(read_file(path, _MOST))
        boot = values.pop("boot")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnsafeError as error:
        raise DamagedError(of_system(error, path), "delete it") from error
    except OSError as error:
        if error.errno in {errno.EISDIR, errno.ENXIO}:
            raise DamagedError(f"{path} is no file", "delete it") from error
        raise AuditsvcError(f"{path} cannot be read: {error.strerror}", "run as root") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedError(f"{path} is damaged", "delete it") from error
    return values if boot == boot_id() else None


def recall_rules(path: Path, name: str) -> frozenset[Rule]:
    """Read the rules under `name`; empty if the file was not written since this boot."""
    values = recall(path)
    if values is None:
        return frozenset()
    try:
        return frozenset(from_hex(values.get(name, [])))
    except (ValueError, TypeError, AuditsvcError) as error:
        raise DamagedError(f"{path} is damaged", "delete it") from error


def as_hex(rules: Iterable[Rule]) -> list[str]:
    """Write rules as hex of their structs."""
    return [rule.to_bytes().hex() for rule in rules]


def from_hex(kept: Iterable[str]) -> list[Rule]:
    """Read what `as_hex` wrote."""
    return [Rule.from_bytes(bytes.fromhex(each)) for each in kept]


def boot_id() -> str:
    """Give what identifies this boot."""
    return _BOOT_ID.read_text().strip()
