"""One command at a time changes rules or the switch."""

from __future__ import annotations

import os

from auditsvc.runtime.lock import alone, is_taken


def test_a_turn_is_seen_while_it_lasts(tmp_path):
    """Taken inside, free before and after, and the folder is made."""
    runtime = tmp_path / "run"
    assert not is_taken(runtime)
    with alone(runtime):
        assert is_taken(runtime)
    assert not is_taken(runtime)


def test_nobody_else_can_take_it(tmp_path):
    """What is locked is a file that only its owner may open, not the folder."""
    old = os.umask(0)
    try:
        with alone(tmp_path):
            (lock,) = tmp_path.iterdir()
            assert lock.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(old)
