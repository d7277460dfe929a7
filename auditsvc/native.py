"""The native core (`auditsvc._native`, built from native/), where it is there and wanted.

It is built with the package where cargo is; without it, everything runs on the
reference. The setting `decoder` (AUDITSVC_DECODER) chooses: `reference`, `native`,
or `auto` for native if it is there.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final, Literal

from auditsvc.errors import ConfigError

if TYPE_CHECKING:
    from types import ModuleType

Choice = Literal["auto", "reference", "native"]

_NAME: Final = "auditsvc._native"


def native_core(choice: Choice = "auto") -> ModuleType | None:
    """Give the native module, None for the reference; ConfigError where it must be and is not."""
    if choice == "reference":
        return None
    try:
        return importlib.import_module(_NAME)
    except ImportError as error:
        if choice == "auto" and isinstance(error, ModuleNotFoundError) and error.name == _NAME:
            return None
        raise ConfigError(
            f"the native core cannot be loaded: {error}",
            "build the package where cargo is, or set AUDITSVC_DECODER=reference",
        ) from error
