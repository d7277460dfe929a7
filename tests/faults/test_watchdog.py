"""The collector notifies the watchdog, not the part that waits for the store."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.logs import opening
from fixtures.waiting import until

AUDITSVC = str(Path(sys.executable).with_name("auditsvc"))


@pytest.fixture
def notified(tmp_path):
    """Give a socket that hears what the service tells systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(60)
        yield sock


def test_a_store_that_hangs_does_not_starve_it(tmp_path, notified):
    """With a writer that holds the store's lock, the service goes on and is not killed."""
    service = subprocess.Popen(
        [AUDITSVC, "run", "--source", "stdin", "--store", f"sqlite:///{tmp_path}/store.db"],
        env=os.environ
        | {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "AUDITSVC_STATE_DIRECTORY": str(tmp_path / "state"),
            "AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path / "run"),
        },
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        while b"READY=1" not in notified.recv(1000):
            pass
        holder = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        service.stdin.write(opening(1).encode())
        service.stdin.flush()
        spool = tmp_path / "state/spool/audit-000000000001.log"
        fed = 0
        until(lambda: b"type=SYSCALL" in spool.read_bytes())  # collected all the same
        while fed < 4:  # half a second lies between two
            fed += b"WATCHDOG=1" in notified.recv(1000)
        assert holder.execute("SELECT count(*) FROM syscall").fetchone() == (0,)
        holder.execute("ROLLBACK")
        holder.close()
        service.stdin.close()
        service.stdin = None
        _, errors = service.communicate(timeout=60)
        assert service.returncode == 0, errors
    finally:
        service.kill()
        service.wait()
    with sqlite3.connect(tmp_path / "store.db") as store:
        assert store.execute("SELECT count(*) FROM syscall").fetchone() == (1,)
