"""What of a file system is used and free, for root and for others."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from auditsvc.host.disk import free_blocks, used_percent


@pytest.mark.parametrize(("uid", "free", "used"), [(0, 60, 40.0), (950, 40, 50.0)])
def test_what_is_kept_for_root_is_not_free_for_others(monkeypatch, uid, free, used):
    """Of 100 blocks 40 are used and 20 are kept for root."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    disk = SimpleNamespace(f_blocks=100, f_bfree=60, f_bavail=40)
    assert (free_blocks(disk), used_percent(disk)) == (free, used)
    assert used_percent(SimpleNamespace(f_blocks=0, f_bfree=0, f_bavail=0)) == 0.0
