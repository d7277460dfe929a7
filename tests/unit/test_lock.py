"""One command at a time changes rules or the switch."""

from __future__ import annotations

import os

from auditsvc.runtime.lock import exclusive_lock, is_locked


def test_the_lock_is_held_inside_the_block_only(tmp_path):
    """It is free before and after, and a missing folder is made."""
    runtime = tmp_path / "run"
    assert not is_locked(runtime)
    with exclusive_lock(runtime):
        assert is_locked(runtime)
    assert not is_locked(runtime)


def test_other_users_cannot_take_the_lock(tmp_path):
    """The lock is on a file that only its owner may open, not on the folder."""
    old = os.umask(0)
    try:
        with exclusive_lock(tmp_path):
            (lock,) = tmp_path.iterdir()
            assert lock.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(old)
