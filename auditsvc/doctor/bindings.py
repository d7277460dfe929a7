"""libaudit's Python bindings: whether they are the distribution's."""

from __future__ import annotations

from auditsvc.doctor.finding import DoctorFinding, Level, ok
from auditsvc.errors import AuditsvcError
from auditsvc.host import system_module


def bindings() -> DoctorFinding:
    """Which module `audit` is used, and whether another comes before it in the path."""
    name = "module audit"
    try:
        found = system_module.found_at()
    except AuditsvcError as error:
        return DoctorFinding(
            name, Level.ERROR, error.what, "commands that need the kernel do not work", error.hint
        )
    if others := system_module.others():
        return DoctorFinding(
            name,
            Level.WARNING,
            f"{others[0]} comes before {found}",
            "it is not used, but somebody may have put it there so that it would be",
            f"find out where it comes from, then remove {others[0]}",
        )
    return ok(name, f"the distribution's: {found}")
