"""The action `hold`: audited tasks wait for the service while the room for the log is short."""

from __future__ import annotations

import time

import pytest
from fixtures.waiting import until
from live.programs import KEY, fresh_auid
from live.service import Service

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_lock")]

CALLS = 2500
"""Three records each: far more than the kernel's own queue takes, in which nobody waits."""

QUEUE = 2048


def test_tasks_wait_and_no_record_is_lost(programs, tmp_path, audit_changes):
    """Held, the same calls take far longer than before and after; each of them is a row."""
    auid = fresh_auid()
    rule = f"-a always,exit -F arch=b64 -S getppid -F auid={auid} -k {KEY}\n"
    service, free = Service(tmp_path, rule), Service(tmp_path, rule)
    for each in (service, free):
        each.environment["AUDITSVC_KERNEL__BACKLOG_LIMIT"] = str(QUEUE)
    service.environment |= {
        "AUDITSVC_SPACE__WARN": "0.001",  # percent: any disk has more in use
        "AUDITSVC_SPACE__WARN_ACTIONS": '["log", "hold"]',
    }

    def seconds():
        began = time.monotonic()
        programs.run(auid, programs["burst"], str(CALLS))
        return time.monotonic() - began

    # A task may miss that the queue has room again (audit_log_start in the kernel): not for long.
    audit_changes.set(backlog_limit=64, backlog_wait_time=250)
    lost = audit_changes.status().lost
    with free:
        before = seconds()
    with service:
        until(lambda: "room for the log" in service.log.read_text())
        # Until the reader has taken what its buffer had, nobody waits.
        bursts: list[float] = []
        until(lambda: bursts.append(seconds()) or bursts[-1] > 3 * before)
        held = bursts[-1]
    with free:
        after = seconds()
    assert audit_changes.status().lost == lost
    (row,) = free.query("SELECT count(*) AS n, count(DISTINCT serial) AS serials FROM syscalls")
    assert row["n"] == row["serials"]
    assert row["n"] >= 3 * CALLS
    assert held > after
