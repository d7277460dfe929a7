"""The native core (`auditsvc._native`, built from native/), where it is there and wanted.

It is built with the package where cargo is; without it, everything runs on the
reference. The setting `decoder` (AUDITSVC_DECODER) chooses: `reference`, `native`,
or `auto` for native if it is there.
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


def is_built() -> bool:
    """Tell whether the package came with its native core."""
    return importlib.util.find_spec(_NAME) is not None


def native_core(choice: Choice = "auto") -> ModuleType | None:
    """Give the native module, None for the reference; ConfigError where it must be and is not.

    One that is there and does not load is an error for `auto` too: a service that is
    ten times slower than it was must not come about in silence.
    """
    if choice == "reference" or (choice == "auto" and not is_built()):
        return None
    try:
        return importlib.import_module(_NAME)
    except ImportError as error:
        raise ConfigError(
            f"the native core cannot be loaded: {error}",
            "build the package where cargo is, or set AUDITSVC_DECODER=reference",
        ) from error
