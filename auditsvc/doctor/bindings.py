"""libaudit's Python bindings: whether they are the distribution's."""

from __future__ import annotations

from auditsvc.doctor.finding import DoctorFinding, Level, ok
from auditsvc.errors import AuditsvcError
from auditsvc.host import system_module


def bindings() -> DoctorFinding:
    """Which module `audit` is used, and whether another stands before it."""
    name = "module audit"
    try:
        found = system_module.found_at()
    except AuditsvcError as error:
        return DoctorFinding(
            name, Level.ERROR, error.what, "nothing that asks the kernel works", error.hint
        )
    if others := system_module.others():
        return DoctorFinding(
            name,
            Level.WARNING,
            f"{others[0]} stands before {found}",
            "it is not used; who put it there may have meant it to be",
            f"see whose it is, then take {others[0]} away",
        )
    return ok(name, f"the distribution's: {found}")
