"""The action `hold`: audited tasks wait for the service while the room for the log is short."""

from __future__ import annotations

import pytest
from fixtures.waiting import until
from live.programs import KEY, fresh_auid
from live.service import Service

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_lock")]

CALLS = 2500
"""Three records each: far more than the kernel's own queue takes, in which nobody waits."""

QUEUE = 2048


def test_tasks_wait_and_no_record_is_lost(programs, tmp_path, audit_changes):
    """Held, tasks wait for room in the kernel's queue, and not before or after; no call is lost."""
    auid = fresh_auid()
    rule = f"-a always,exit -F arch=b64 -S getppid -F auid={auid} -k {KEY}\n"
    service, free = Service(tmp_path, rule), Service(tmp_path, rule)
    for each in (service, free):
        each.environment["AUDITSVC_KERNEL__BACKLOG_LIMIT"] = str(QUEUE)
    service.environment |= {
        "AUDITSVC_SPACE__WARN": "0.001",  # percent: any disk has more in use
        "AUDITSVC_SPACE__WARN_ACTIONS": '["log", "hold"]',
    }

    def waited():
        """Make calls; gives whether a task waited, by the kernel's own count."""
        before = audit_changes.status().backlog_wait_time_actual
        programs.run(auid, programs["burst"], str(CALLS))
        return audit_changes.status().backlog_wait_time_actual != before

    if audit_changes.status().backlog_wait_time_actual is None:
        pytest.skip("live: this kernel does not count how long tasks wait")
    # A task may miss that the queue has room again (audit_log_start in the kernel): not for long.
    # Nor so briefly that a reader on a busy host is later than that: then a record is lost.
    audit_changes.set(backlog_limit=64, backlog_wait_time=2500)
    lost = audit_changes.status().lost
    with free:
        until(lambda: not waited())
    with service:
        until(lambda: "room for the log" in service.log.read_text())
        until(waited)  # nobody does until the reader has taken what its buffer had
    with free:
        until(lambda: not waited())
    assert audit_changes.status().lost == lost
    (row,) = free.query("SELECT count(*) AS n, count(DISTINCT serial) AS serials FROM syscalls")
    assert row["n"] == row["serials"]
    assert row["n"] >= 3 * CALLS
