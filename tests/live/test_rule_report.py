"""`auditsvc rules report` on the live kernel: the acts of three controls are counted."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from fixtures import commands
from live.programs import Programs, fresh_auid
from live.service import Service

if TYPE_CHECKING:
    from pathlib import Path

    from auditsvc.kernel import Control

pytestmark = pytest.mark.live


def controls(folder: Path, auid: int) -> str:
    """Write a set of four controls for one login uid."""
    return f"""\
#: TRIAL 1 | Who wrote into the watched folder
-a always,exit -F dir={folder}/watched -F perm=wa -F auid={auid} -k trial-1

#: TRIAL 2 | Programs that were run
-a always,exit -F arch=b64 -S execve -F auid={auid} -k trial-2
-a always,exit -F arch=b32 -S execve -F auid={auid} -k trial-2

#: TRIAL 3 | Opening what is not there
-a always,exit -F arch=b64 -S open,openat -F exit=-ENOENT -F auid={auid} -k trial-3

#: TRIAL 4 | Clocks that were set
-a always,exit -F arch=b64 -S settimeofday,clock_settime -F auid={auid} -k trial-4
"""


def act(programs: Programs, auid: int, folder: Path) -> None:
    """Write two files into the watched folder, and look for one that is not there."""
    for name in ("one", "two"):
        programs.run(auid, "/bin/touch", folder / "watched" / name)
    programs.run(auid, "/bin/cat", folder / "lacking", status=1)


def report(service: Service, *arguments: str, status: int) -> dict[str, Any]:
    """Run the report as JSON."""
    done = commands.run(
        *("rules", "report", *arguments, "--store", service.store, "--format", "json"),
        environment=service.environment,
        text=True,
    )
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def by_hand(service: Service, where: str) -> int:
    """Count by SQL over the views."""
    (row,) = service.query(f"SELECT count(*) AS n FROM syscalls WHERE {where}")
    return int(row["n"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with one in it that is watched."""
    (tmp_path / "watched").mkdir()
    return tmp_path


def test_the_acts_of_three_controls(audit_lock: Control, programs: Programs, folder: Path):
    """Each act is counted for its control while the rules are loaded, and by the same key after."""
    auid = fresh_auid()
    service = Service(folder, controls(folder, auid))
    rule_file = str(folder / "live.rules")
    with service:
        act(programs, auid, folder)
        loaded = report(service, rule_file, status=0)
    assert loaded["proven"] is True
    assert [each["state"] for each in loaded["controls"]] == ["loaded"] * 4

    after = report(service, rule_file, status=1)
    assert [each["state"] for each in after["controls"]] == ["missing"] * 4
    written, run, lacking, clocks = after["controls"]
    assert written["events"] == by_hand(service, "key = 'trial-1'") >= 2
    assert run["events"] == by_hand(service, "key = 'trial-2'") == 3
    assert lacking["events"] == by_hand(service, "key = 'trial-3'") >= 1
    assert (clocks["events"], clocks["last_seen"]) == (0, None)
    assert run["last_seen"] is not None
    # A rule of others that comes first may have taken an act of ours: then calls are counted.
    ways = {"key", "calls"} if audit_lock.rules() else {"key"}
    assert {each["counted_by"] for each in after["controls"]} <= ways


@pytest.mark.usefixtures("audit_lock")
def test_another_rule_logs_the_acts(programs: Programs, folder: Path):
    """Under a broader rule the acts are covered by it, and counted as its own."""
    auid = fresh_auid()
    wide = f"-a always,exit -S all -F auid={auid} -k everything"
    service = Service(folder, wide + "\n")
    wanted = folder / "wanted.rules"
    wanted.write_text(controls(folder, auid))
    with service:
        act(programs, auid, folder)
        os.sync()
    assert by_hand(service, "key LIKE 'trial%'") == 0
    with service:
        covered = report(service, str(wanted), status=0)
    assert [each["state"] for each in covered["controls"]] == ["covered"] * 4
    written, run, lacking, clocks = covered["controls"]
    assert {each["by"] for each in run["rules"]} == {
        f"-a always,exit -S all -F auid={auid} -F key=everything"
    }
    assert run["counted_by"] == "calls"
    assert run["events"] == by_hand(service, "syscall = 'execve'") == 3
    assert lacking["events"] == by_hand(service, "syscall = 'openat' AND exit = -2")
    named = f"SELECT event_id FROM paths WHERE name LIKE '{folder}/watched/%'"
    assert written["events"] == by_hand(
        service, f"syscall = 'openat' AND a2 <> '80000' AND event_id IN ({named})"
    )
    assert written["events"] == 2
    assert clocks["events"] == 0
