"""The keys of an S3 service: in a file that only its owner can read, or a systemd credential."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from auditsvc.errors import ConfigError
from auditsvc.host.files import open_file
from auditsvc.value_text import parse_toml

_KEYS: Final = {"access_key": True, "secret_key": True, "session_token": False}
_MOST: Final = 1 << 14


def keys_of(path: Path | None, credential: str, setting: str) -> dict[str, str]:
    """Give the keys of the file or else of the systemd credential; none: the host's own."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if path is None and folder and (Path(folder) / credential).exists():
        text = (Path(folder) / credential).read_bytes()
        shown = f"the credential {credential}"
    elif path is None:
        return {}
    else:
        text, shown = _private(path, setting), str(path)
    try:
        found = parse_toml(text)
    except ValueError as error:
        raise ConfigError(f"{shown} is not TOML", _form()) from error
    missing = [name for name, needed in _KEYS.items() if needed and name not in found]
    if missing or not all(name in _KEYS and isinstance(found[name], str) for name in found):
        raise ConfigError(f"{shown} has not just the keys that it needs", _form())
    return {str(name): str(value) for name, value in found.items()}


def _form() -> str:
    return 'write access_key = "..." and secret_key = "..." into it'


def _private(path: Path, setting: str) -> bytes:
    try:
        descriptor = open_file(path)
        try:
            if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
                raise ConfigError(f"{path} can be read by others", f"chmod 600 {path}")
            return os.read(descriptor, _MOST)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigError(
            f"{setting} {path}: {error.strerror}", "give a file of mode 0600"
        ) from error
