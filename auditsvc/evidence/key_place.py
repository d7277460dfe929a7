"""Where the signing keys are: in a folder of root's that the loader's process cannot enter.

    file, note = open_key_file(path)     # before privileges are dropped

The loader's process parses what attackers wrote, has the user of `run`, and no capability. So the
folder is root's, mode 0700, below folders of root's: who is not root passes only with a
capability. `run` has CAP_DAC_OVERRIDE until it has opened the file; then it keeps the descriptor,
which the loader's process has not. Where `run` remains root, so does that process, and root's
files are its own.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from auditsvc.errors import EvidenceError
from auditsvc.evidence.key_file import KeyFile
from auditsvc.host.files import make_folder, open_file

if TYPE_CHECKING:
    from pathlib import Path

_OTHERS: Final = 0o077


def open_key_file(path: Path) -> tuple[KeyFile | None, str]:
    """Open the keys' file, which is made if it is not there; before privileges are dropped.

    Gives None and why where no folder is closed: then the keys are beside the heads. Where it is
    there, perhaps, and cannot be opened, nothing is signed: other keys would look like forgery.
    """
    folder = path.parent
    if not os.geteuid():
        with suppress(OSError):  # told below
            make_folder(folder).chmod(stat.S_IRWXU)
    try:
        why = not_closed(folder)
        if why and not _is_there(path):
            return None, f"the loader's process can read the key that signs: {why}"
        descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        refused = EvidenceError(
            f"the key {path}: {error.strerror}", "start the service as root, or with its unit"
        )
        return KeyFile(path, refused=refused), ""
    return KeyFile(path, descriptor), why and f"the key that signs: {why}"


def not_closed(folder: Path) -> str:
    """Say why others than root could pass to what is in a folder; "" if they cannot. OSError."""
    try:
        info = folder.lstat()
    except FileNotFoundError:
        return f"there is no folder {folder}, which the service's unit makes"
    if not stat.S_ISDIR(info.st_mode):
        return f"{folder} is not a folder"
    for each in (folder, *folder.parents):
        if (owner := each.lstat().st_uid) != 0:
            return f"{each} belongs to uid {owner}, and not to root"
    if info.st_mode & _OTHERS:
        return f"{folder} is open to others: chmod 700 {folder}"
    return ""


def _is_there(path: Path) -> bool:
    """Whether the file is there; PermissionError if that cannot be seen."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True
