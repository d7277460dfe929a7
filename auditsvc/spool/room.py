"""Room on the disk for the spool's next lines, and the reserve that is held behind them.

    room = Room(reserve=32 << 20, limit=None)
    room.fits(end)                    # may ordinary lines be appended up to this position?
    room.allocate(file, size, length, others)  # blocks for the lines and the reserve

What must hold:

* While `short` is false, blocks for `reserve` bytes behind the last line belong to the file
  already (fallocate(2) with FALLOC_FL_KEEP_SIZE: its size and content do not change). So no
  other program can take them by filling the disk.
* `short` becomes true when they cannot be held any more, or when the spool's own limit is
  nearer than the reserve. `left` is then what remains, and the caller decides who gets it.
* Nothing is done for each line: blocks are held in steps of half the reserve.

Where the file system cannot hold blocks in advance, its free space is compared instead.
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from typing import TYPE_CHECKING, Final

from auditsvc.host.disk import free_blocks

if TYPE_CHECKING:
    from collections.abc import Callable

_KEEP_SIZE: Final = 1  # linux/falloc.h: FALLOC_FL_KEEP_SIZE
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LEAST: Final = 4096
"""Bytes that are not worth a further attempt."""


class Room:
    """What one segment after the other may still take."""

    def __init__(self, reserve: int = 0, limit: int | None = None) -> None:
        """`reserve` 0: no reserve, and `short` stays false. `limit`: most bytes of the spool."""
        self.reserve = reserve
        self.short = False
        """Whether less than the reserve is left."""
        self.left = 0
        """Bytes that were left when `allocate` was called last."""
        self._limit = self._set_limit = limit
        self._held_to = 0  # position in the segment up to which it has blocks

    def freeze(self, size: int) -> None:
        """Have the spool, which has this size, take no more than the reserve from now on."""
        most = size + self.reserve - 1
        self._limit = most if self._set_limit is None else min(most, self._set_limit)

    def thaw(self) -> None:
        """Undo `freeze`."""
        self._limit = self._set_limit

    def fits(self, end: int) -> bool:
        """Whether the reserve stays if lines are appended up to this position."""
        return not self.reserve or end + self.reserve <= self._held_to

    def allocate(self, file: int, size: int, length: int, others: int) -> None:
        """Allocate blocks for `length` more bytes and the reserve; sets `short` and `left`.

        `size` is that of the segment, `others` that of all other segments. Blocks that are held
        already stay.
        """
        needed = length + self.reserve
        wanted = needed + self.reserve // 2
        most = wanted
        if self._limit is not None:
            most = max(0, min(wanted, self._limit - others - size))
        held = max(0, self._held_to - size)
        attempt = most
        while attempt > max(held, _LEAST):
            if _allocated(file, size, attempt):
                held = attempt
                break
            # First what is needed at least, then less and less.
            attempt = needed if attempt > needed else attempt // 2
        self._held_to = size + held
        self.left = min(held, most)
        self.short = self.left < needed

    def may_move(self, file: int) -> bool:
        """Whether the next segment can hold the reserve too, before this one gives it back."""
        return not self.reserve or (not self.short and _free(file) >= self.reserve)

    def move(self, old: int, size: int, new: int) -> None:
        """Hold the reserve in a new segment, and give back what the old one holds; OSError."""
        held, self._held_to = self._held_to, 0
        if self.reserve and _allocated(new, 0, self.reserve):
            self._held_to = self.reserve
        if held > size:
            os.ftruncate(old, size)

    def release(self, file: int, size: int) -> None:
        """Give back what is held behind the last segment, at the end; OSError."""
        if self._held_to > size:
            os.ftruncate(file, size)
        self.forget()

    def forget(self) -> None:
        """Note that nothing is held any more, as after a truncation."""
        self._held_to = 0


def _allocated(file: int, start: int, length: int) -> bool:
    """Allocate blocks from `start` on; gives whether the file has them."""
    if not _fallocate()(file, _KEEP_SIZE, start, length):
        return True
    if ctypes.get_errno() in _FULL:
        return False
    return _free(file) >= length


def _free(file: int) -> int:
    disk = os.fstatvfs(file)
    return free_blocks(disk) * disk.f_frsize


@cache
def _fallocate() -> Callable[[int, int, int, int], int]:
    function = ctypes.CDLL(None, use_errno=True).fallocate64
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    result: Callable[[int, int, int, int], int] = function
    return result
