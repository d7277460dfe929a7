"""Blocks of a file system that this process may use: some are only for root (statvfs(3))."""

from __future__ import annotations

import os


def free_blocks(disk: os.statvfs_result) -> int:
    """Give the free blocks, without those that are kept for root if we are not."""
    return disk.f_bavail if os.geteuid() else disk.f_bfree


def used_percent(disk: os.statvfs_result) -> float:
    """Give the used part, in percent, of what this process may use; as df(1) has it."""
    used = disk.f_blocks - disk.f_bfree
    most = used + free_blocks(disk)
    return 100.0 * used / most if most else 0.0
