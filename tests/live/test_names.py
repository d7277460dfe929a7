"""Names of users at capture, held to getent."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from fixtures.waiting import until
from live.conftest import AUDITCTL
from live.programs import Programs, fresh_auid, rules
from live.service import Service

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live

NOBODY = 65534
AUSEARCH = AUDITCTL.with_name("ausearch")


def _getent(database: str, number: int) -> str | None:
    done = subprocess.run(["getent", database, str(number)], capture_output=True, check=False)
    return done.stdout.decode().partition(":")[0] or None


@pytest.mark.usefixtures("audit_lock")
def test_names_equal_getent(programs: Programs, tmp_path: Path) -> None:
    """Each id of the calls has its name in the rows, and in the log, which ausearch reads."""
    auid = fresh_auid()  # of nobody, and so without a name
    command = ["/usr/bin/setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    with Service(tmp_path, rules(auid)) as service:
        programs.run(auid, *command, "/bin/true")
        told = [
            b"op=name kind=%b id=%d " % (kind, number)
            for kind in (b"user", b"group")
            for number in (0, NOBODY)
        ]
        until(lambda: all(each in service.spooled() for each in told), told=service.spooled)
    rows = service.query(
        "SELECT DISTINCT uid, uid_name, gid, gid_name, euid, euid_name, auid_name FROM syscalls"
        f" WHERE auid = {auid}"
    )
    assert {row["uid"] for row in rows} == {0, NOBODY}
    for row in rows:
        assert row["uid_name"] == _getent("passwd", row["uid"])
        assert row["euid_name"] == _getent("passwd", row["euid"])
        assert row["gid_name"] == _getent("group", row["gid"])
        assert row["auid_name"] is None
    found = subprocess.run(
        [AUSEARCH, "-m", "DAEMON_CONFIG", "-i", "-if", next(tmp_path.glob("state/spool/*.log"))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "op=name" in found.stdout
