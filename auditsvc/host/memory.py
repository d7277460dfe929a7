"""Memory of this process: how much it is, and what was freed given back to the kernel."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path
from typing import Final

_MMAP_THRESHOLD: Final = -3
"""M_MMAP_THRESHOLD of malloc.h."""
_APART: Final = 128 << 10
"""Bytes of a block that has pages of its own: where glibc begins."""


def resident() -> int:
    """Give the bytes that are in memory; 0 where the kernel does not say."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0


def keep_apart() -> None:
    """Have each large block in pages of its own for ever, which go when it is freed.

    Else glibc has them among the small ones once one of their size was freed (mallopt(3)); rows
    that one thread makes and another frees then leave gaps, which grow with the log. But the
    kernel clears the pages of each such block: an ordinary log would take a quarter longer.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _APART)


def give_back() -> None:
    """Give back what was freed: after very large blocks glibc keeps as much for the next ones.

    Source: mallopt(3), M_MMAP_THRESHOLD, which grows with each such block. Other C libraries
    have no malloc_trim(3), and nothing is done.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
