"""One busy task at full speed: no record is lost and every call has its row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fixtures.repeats import times
from live.programs import KEY, Programs, fresh_auid
from live.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.live


@pytest.mark.parametrize("calls", times(100_000, 300_000))
@pytest.mark.usefixtures("audit_lock")
def test_burst_of_one_task(
    programs: Programs, tmp_path: Path, kernel_lost: Callable[[], int], calls: int
) -> None:
    """So many getppid calls of one task are as many rows, and the kernel lost none."""
    auid = fresh_auid()
    rule = f"-a always,exit -F arch=b64 -S getppid -F auid={auid} -k {KEY}\n"
    with Service(tmp_path, rule) as service:
        before = kernel_lost()
        programs.run(auid, programs["burst"], str(calls))
        assert kernel_lost() == before

    counts = service.query(
        "SELECT count(*) AS calls, count(DISTINCT serial) AS serials, "
        "count(DISTINCT event_id) AS ids, min(exit) = max(exit) AS same, "
        "count(DISTINCT pid) AS pids, "
        "sum(CASE WHEN state = 'complete' AND proctitle IS NOT NULL THEN 1 ELSE 0 END) AS whole "
        f"FROM syscalls WHERE auid = {auid} AND syscall = 'getppid'"
    )
    assert counts == [
        {"calls": calls, "serials": calls, "ids": calls, "same": 1, "pids": 1, "whole": calls}
    ]
    ledger = service.ledger()
    lost = {cause: ledger.get(cause, 0) for cause in ("kernel_lost", "spool_lost", "raw")}
    assert lost == dict.fromkeys(lost, 0)
