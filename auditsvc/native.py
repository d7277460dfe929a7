"""Loads the native core (`auditsvc._native`, built from native/).

It is built with the package if cargo is installed; without it, everything runs in Python
(the reference). The setting `decoder` (AUDITSVC_DECODER) chooses: `reference`, `native`, or
`auto`, which means native if it was built.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Final, Literal

from auditsvc.errors import ConfigError

if TYPE_CHECKING:
    from types import ModuleType

Choice = Literal["auto", "reference", "native"]

_NAME: Final = "auditsvc._native"


BUILD_HINT: Final = (
    "install a wheel that has it: `make wheel` with cargo (Rust 1.85 or newer) makes one"
)
"""What to do where the native core is missing."""


def is_built() -> bool:
    """Whether the package contains the native core."""
    return importlib.util.find_spec(_NAME) is not None


def native_core(choice: Choice = "auto") -> ModuleType | None:
    """Give the native module, or None for the reference; ConfigError if it is needed and missing.

    A module that was built but cannot be loaded is an error for `auto` too: the service
    must not become ten times slower without notice.
    """
    if choice == "reference" or (choice == "auto" and not is_built()):
        return None
    try:
        return importlib.import_module(_NAME)
    except ImportError as error:
        raise ConfigError(
            f"the native core cannot be loaded: {error}",
            f"{BUILD_HINT}; or set AUDITSVC_DECODER=reference",
        ) from error
