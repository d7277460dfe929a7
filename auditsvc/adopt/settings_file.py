"""The file of settings that a change-over writes: readable, whole, and with what was there.

    text = merged(found, wanted, origins)     # what was set before stays
    write(path, text)                         # the earlier file is kept aside

Each setting has a comment that says where it is from.
"""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING, Any, Final

from auditsvc.adopt.plan_line import as_toml
from auditsvc.config import setting_names
from auditsvc.errors import AuditsvcError, ConfigError, of_system
from auditsvc.host.files import read_file, replace_file
from auditsvc.value_text import parse_toml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from auditsvc.adopt.plan_line import Value

_HEAD: Final = """\
# Settings of auditsvc. Written by `auditsvc adopt` from auditd's; change them as you like.
# `auditsvc config show` has every setting, with its meaning and default.
"""
_ALWAYS: Final = ("source", "rules", "store")
"""These are auditd's, whatever the file had: they are what the change is about; `store` is there
only if it was named."""


def found_settings(path: Path) -> dict[str, Any]:
    """Give the settings of a file, by full name; none if it is not there. ConfigError."""
    try:
        values = parse_toml(read_file(path))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"configuration {path}: {error.strerror}", "run as root") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {path}: {error}", "correct the TOML") from error
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= {f"{name}.{key}": each for key, each in value.items()}
        else:
            found[name] = value
    return found


def conflicts(found: Mapping[str, Any], wanted: Mapping[str, Value]) -> list[str]:
    """Name the settings that auditd's would change, and that stay as the file has them."""
    return [
        name
        for name, value in wanted.items()
        if name in found and name not in _ALWAYS and _plain(found[name]) != _plain(value)
    ]


def merged(
    found: Mapping[str, Any], wanted: Mapping[str, Value], origins: Mapping[str, str]
) -> str:
    """Write the file's text: the settings that were found, and auditd's where there was none."""
    lines: dict[str, list[str]] = {"": []}
    order = {name: place for place, name in enumerate(setting_names())}
    for name in sorted({*found, *wanted}, key=lambda each: order.get(each, len(order))):
        stays = name in found and not (name in _ALWAYS and name in wanted)
        value = found[name] if stays else wanted[name]
        section, _, key = name.rpartition(".")
        here = lines.setdefault(section, [])
        here.append(f"# {'as before' if stays else _comment(origins.get(name, 'auditd'))}")
        here.append(f"{key} = {as_toml(value)}")
    parts = [_HEAD + "\n" + "\n".join(lines.pop(""))]
    parts += [f"[{section}]\n" + "\n".join(each) for section, each in lines.items()]
    return "\n\n".join(parts) + "\n"


def write(path: Path, text: str) -> Path | None:
    """Put the file there as a whole, mode 0600; gives the name that the earlier one has now.

    Nothing is done if the file has this text already.
    """
    try:
        aside = _keep_aside(path, text)
        if aside is None and os.path.lexists(path):
            return None
        replace_file(path, text, sync=True)
    except OSError as error:
        raise AuditsvcError(of_system(error, path), "nothing was changed; run as root") from error
    return aside


def _keep_aside(path: Path, text: str) -> Path | None:
    """Copy the earlier file to a name of its own; None if there is none, or it has the text."""
    try:
        before = read_file(path)
    except FileNotFoundError:
        return None
    if before == text.encode():
        return None
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.before-adopt-{number}")):
        if read_file(aside) == before:
            return aside  # of a run that was interrupted
        number += 1
    replace_file(aside, before.decode(), sync=True)
    return aside


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
