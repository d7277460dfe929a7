"""Gives freed memory back to the kernel."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Give back what was freed: after very large blocks glibc keeps as much for the next ones.

    Source: mallopt(3), M_MMAP_THRESHOLD, which grows with each such block. Other C libraries
    have no malloc_trim(3), and nothing is done.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
