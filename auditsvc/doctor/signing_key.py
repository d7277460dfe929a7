"""Whether the loader's process, which parses what attackers wrote, can read the key that signs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditsvc.doctor.finding import DoctorFinding, Level, ok
from auditsvc.evidence.folder import Folder
from auditsvc.evidence.key_place import not_closed
from auditsvc.evidence.keys import NAME as BESIDE
from auditsvc.runtime.service_state import read_state

if TYPE_CHECKING:
    from auditsvc.config import Settings

_NAME: Final = "signing key"
_MEANS: Final = (
    "a loader that an attacker has taken over can sign what he invents, from then on; `auditsvc "
    "verify` would not find it"
)


def signing_key(settings: Settings) -> DoctorFinding:
    """Look where it is, and who could pass there; OSError for who may not look."""
    path, beside = settings.key_path, Folder(settings.spool_directory).path / BESIDE
    is_apart = os.path.lexists(path.parent) and os.path.lexists(path)
    if not is_apart and not os.path.lexists(beside):
        return ok(_NAME, "nothing was signed yet")
    why = not_closed(path.parent)
    if not is_apart:
        found = f"{beside} is the loader's process's own file" + (f": {why}" if why else "")
        mend = "systemctl restart auditsvc, with the unit of this version; by hand, as root"
        return DoctorFinding(_NAME, Level.WARNING, found, _MEANS, mend)
    if why:
        mend = f"chown root:root {path.parent}; chmod 700 {path.parent}"
        return DoctorFinding(_NAME, Level.ERROR, why, _MEANS, mend)
    if os.path.lexists(beside):
        found = f"{beside} is there although {path} is in use: it is not used, and goes at a start"
        return DoctorFinding(_NAME, Level.NOTE, found, "somebody may have put it there")
    if _runs_as_root(settings):
        return DoctorFinding(
            _NAME,
            Level.NOTE,
            f"{path} is root's, and the service runs as root, its loader's process too",
            _MEANS,
            "see the service's log, which says why it stays root",
        )
    return ok(_NAME, f"{path}, which only root may read")


def _runs_as_root(settings: Settings) -> bool:
    state = read_state(settings.runtime_directory)
    try:
        return state is not None and "\nUid:\t0\t" in Path(f"/proc/{state.pid}/status").read_text()
    except FileNotFoundError:
        return False
