"""What `status` reports to a monitoring system, from invented facts."""

from __future__ import annotations

import pytest

from auditsvc.status.health import NOT_RUNNING, TROUBLE, WELL, judge

SERVICE = {
    "running": True,
    "age": 0.4,
    "source": "netlink",
    "spool_trouble": "",
    "store_trouble": "",
}
WELL_FACTS = {
    "kernel": {"enabled": 1, "switch": "on"},
    "service": SERVICE,
    "forwarder": {"enabled": False, "running": False},
    "store": {"records": 1},
    "retention": {"held": ""},
}


def test_all_is_well():
    """Status 0 and no problem."""
    assert judge(WELL_FACTS).status == WELL
    assert judge(WELL_FACTS).as_facts() == {"state": "well", "problems": ""}


@pytest.mark.parametrize(
    ("part", "facts", "says"),
    [
        ("kernel", {"refused": "not permitted"}, "kernel: not permitted"),
        ("service", {"refused": "Permission denied"}, "service: Permission denied"),
        ("store", {"refused": "it is locked"}, "store: it is locked"),
        ("service", SERVICE | {"age": 900.0}, "service: its state is 900 seconds old"),
        ("service", SERVICE | {"spool_trouble": "disk full"}, "spool: disk full"),
        ("service", SERVICE | {"store_trouble": "locked"}, "store: locked"),
        ("retention", {"held": "journal has not had it"}, "retention: journal has not had it"),
        ("kernel", {"enabled": 0, "switch": "on"}, "no `auditsvc off` requested it"),
        ("forwarder", {"enabled": True, "running": False}, "forwarder: it does not run"),
    ],
)
def test_each_problem_is_named(part, facts, says):
    """Status 1, and one line that says what it is."""
    found = judge(WELL_FACTS | {part: facts})
    assert found.status == TROUBLE
    assert len(found.problems) == 1
    assert says in found.problems[0]


def test_what_was_requested_is_no_problem():
    """Audit is off after `auditsvc off`, and where the service only listens."""
    assert judge(WELL_FACTS | {"kernel": {"enabled": 0, "switch": "off"}}).status == WELL
    listens = SERVICE | {"source": "multicast"}
    off = {"enabled": 0, "switch": "on"}
    assert judge(WELL_FACTS | {"kernel": off, "service": listens}).status == WELL


def test_a_service_that_does_not_run_is_status_3():
    """As `systemctl status` has it, whatever else is wrong; one reason is said once."""
    stopped = {"running": False, "decoder": "native"}
    assert judge(WELL_FACTS | {"service": stopped}).status == NOT_RUNNING
    refused = {"refused": "there is no store"}
    found = judge(WELL_FACTS | {"service": stopped, "store": refused, "forwarder": refused})
    assert found.as_facts() == {"state": "not running", "problems": "store: there is no store"}
