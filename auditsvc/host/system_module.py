"""The distribution's Python module `audit`, and no other of that name.

libaudit's bindings are a system package tied to the system's interpreter (python3-audit). A
module of this name in the current directory, in PYTHONPATH, in the environment's own packages
(the one on package indexes is unrelated) or below /usr/local is not theirs: it would run with
our capabilities and give us names. So it is searched where the distribution puts its
modules, with its extension `_audit` from the same folder, in files that root alone may change.

Only the functions in `FUNCTIONS` are used: those that both libaudit 3 and libaudit 4 have. A
module without one of them is refused here, so that no call fails later.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditsvc.errors import KernelError, of_system
from auditsvc.host.files import check_exists

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_PARTS: Final = ("_audit", "audit")  # in the order in which they must be imported
FUNCTIONS: Final = ("audit_elf_to_machine", "audit_msg_type_to_name", "audit_syscall_to_name")
"""What auditsvc calls of the module."""

_SYSTEM: Final = Path("/usr")
_LOCAL: Final = Path("/usr/local")
_HINT: Final = "install the package python3-audit and run with the system's interpreter"

_loaded: dict[str, ModuleType] = {}


def audit_module() -> ModuleType:
    """Import the module; KernelError where the distribution's is not there, or others' to change.

    KernelError too if it has not all of `FUNCTIONS`.

    If it is hidden (None in sys.modules), none is given.
    """
    if "audit" in sys.modules and sys.modules["audit"] is None:
        raise KernelError("the Python module `audit` cannot be imported: it is hidden", _HINT)
    if "audit" not in _loaded:
        folders = system_folders()
        for name in _PARTS:
            _load(name, folders)
        _check_functions(_loaded["audit"])
    return _loaded["audit"]


def found_at() -> Path:
    """Where the module in use was found; KernelError as of `audit_module`."""
    return Path(str(audit_module().__file__))


def others() -> list[Path]:
    """Modules `audit` that a plain import would have taken before the distribution's."""
    before: list[str] = []
    system = system_folders()
    for entry in sys.path:
        if entry in system:
            break
        before.append(entry or os.getcwd())  # noqa: PTH109 - an entry of sys.path is text
    spec = PathFinder.find_spec("audit", before) if before else None
    return [] if spec is None or spec.origin is None else [Path(spec.origin)]


def system_folders() -> list[str]:
    """Entries of sys.path in which the distribution keeps modules."""
    named = {os.path.realpath(each) for each in os.environ.get("PYTHONPATH", "").split(":") if each}
    return [each for each in sys.path if each and _is_systems(os.path.realpath(each), named)]


def _is_systems(folder: str, named: set[str]) -> bool:
    path = Path(folder)
    own = sys.prefix != sys.base_prefix and path.is_relative_to(Path(sys.prefix).resolve())
    local = path.is_relative_to(_LOCAL) or folder in named
    return path.is_relative_to(_SYSTEM) and not own and not local


def _load(name: str, folders: list[str]) -> None:
    spec = PathFinder.find_spec(name, folders)
    if spec is None or spec.loader is None or spec.origin is None:
        raise KernelError(
            f"the Python module `{name}` is not among the distribution's modules", _HINT
        )
    _check(spec)
    module = module_from_spec(spec)
    sys.modules[name] = module  # `audit` imports `_audit` by its name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise KernelError(
            f"the Python module `{name}` cannot be imported ({error})", _HINT
        ) from error
    _loaded[name] = module


def _check_functions(module: ModuleType) -> None:
    """Refuse a module that lacks what we call; the next call is refused too."""
    missing = [name for name in FUNCTIONS if not callable(getattr(module, name, None))]
    if missing:
        del _loaded["audit"]
        raise KernelError(
            f"the Python module `audit` of {module.__file__} has no {', '.join(missing)}",
            "install the distribution's python3-audit, of libaudit 3 or 4",
        )


def _check(spec: ModuleSpec) -> None:
    try:
        check_exists(Path(str(spec.origin)), links=True)  # distributions link equal files
    except OSError as error:
        raise KernelError(
            f"the Python module `{spec.name}` is not used: {of_system(error)}"
        ) from error
