"""The kernel kills processes of the service for want of memory, under load: no record is lost."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest
from fixtures.loader import loader_of
from fixtures.memory_group import memory_group
from fixtures.waiting import until
from live.programs import fresh_auid
from live.service import Service
from live.test_takeover import BUSY, LARGE, all_there, load, rule, taken_over

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_lock")]


def score(pid):
    """Give how much sooner than others a process is killed."""
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


@pytest.fixture
def limited(tmp_path):
    """A service in a group of its own, and its login uid."""
    auid = fresh_auid()
    with memory_group() as group:
        service = Service(tmp_path, rule(auid))
        service.environment["AUDITSVC_KERNEL__RECEIVE_BUFFER"] = str(LARGE)
        service.command = group.inside(*service.command)
        yield service, group, auid
        if service.process.poll() is None:
            service.stop()


def test_the_service_is_killed_for_memory(limited, programs, kernel_lost):
    """The process that collects: the kernel goes on queuing, and the next run has every call."""
    service, group, auid = limited
    before = kernel_lost()
    service.begin()
    with load(programs, auid, BUSY) as made:
        Path(f"/proc/{service.process.pid}/oom_score_adj").write_text("1000")
        group.fill()
        assert service.process.wait(60) == -signal.SIGKILL
        service.begin()
        time.sleep(0.2)
    assert service.stop() == 0, service.log.read_text()
    all_there(service, auid, made.calls, kernel_lost=kernel_lost() - before)
    assert [state for _, state in taken_over(service)] == ["complete"]


@pytest.mark.long
def test_the_loader_is_killed_for_memory(limited, programs, kernel_lost):
    """It is the first that is killed; collecting goes on, and another one loads what waited."""
    service, group, auid = limited
    before = kernel_lost()
    service.begin()
    with load(programs, auid, BUSY) as made:
        loader = loader_of(service.process.pid)
        assert score(loader) > score(service.process.pid)
        Path(f"/proc/{loader}/oom_score_adj").write_text("1000")
        group.fill()
        until(lambda: "the loader's process ended" in service.log.read_text())
        time.sleep(0.2)
    assert service.process.poll() is None
    assert service.stop() == 0, service.log.read_text()
    assert re.search("ended.*SIGKILL|SIGKILL.*ended", service.log.read_text())
    all_there(service, auid, made.calls, kernel_lost=kernel_lost() - before)
    assert not taken_over(service)
