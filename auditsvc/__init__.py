"""See README.md; as a library: `auditsvc.library`, whose names are here too.

They are looked up when they are first used, so that a part of the program loads only what it
needs; `__init__.pyi` tells type checkers of them.
"""

from importlib import import_module

__version__ = "0.1.0"

__all__ = ["Answer", "Reader", "__version__", "open_store", "read_log"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module("auditsvc.library"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
