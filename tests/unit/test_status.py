"""What `status` reports to a monitoring system, from invented facts."""

from __future__ import annotations

import time

import pytest

from auditsvc.errors import StoreError
from auditsvc.status import report
from auditsvc.status.glance import glance
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


FULL = {
    "kernel": {"enabled": 1, "switch": "on", "rules": 2, "backlog": 3, "lost": 0}
    | {"backlog_limit": 64},
    "service": SERVICE
    | {"began": 1_750_000_000.0, "pid": 7, "decoder": "native", "records": 12345, "rate": 2.5}
    | {"kernel_lost": 1, "missing": 2, "dropped": 3, "spool_waiting": 2048, "tamper": 0}
    | {"coverage": {"at": 1_750_000_100.0, "covered": 3, "not_covered": 0, "unknown": 1}},
    "forwarder": {"enabled": True, "running": True, "sent": 9, "lag_seconds": 0.5},
    "store": {"stored": 1000, "received": 1200},
    "retention": {"held": "", "oldest": "2025-06-01 00:00:00", "bytes": 3 << 30, "keep": "90d"}
    | {"bytes_a_day": 5 << 20, "forecast": "full in 80 days", "full_in_days": 80.0},
}


def shown(facts, columns=80):
    """Give what a person sees."""
    return glance(facts, judge(facts), 1_750_000_200.0, columns)


def test_a_person_sees_the_verdict_first(monkeypatch):
    """Then a line for each part, in local time and short figures, and the next thing to do."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        lines = shown(FULL)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert lines[0] == "auditsvc is well"
    assert lines[-1] == "Next: nothing to do"
    parts = {line[:10].strip(): line[10:] for line in lines if line[:1].isalpha()}
    assert parts["kernel"] == "on, 2 rules, queue 3 of 64, lost 0 since boot"
    assert parts["service"] == "since 00:06, pid 7, netlink, native decoder"
    assert parts["records"] == "12,345 collected, 2.5 a second, 6 lost"
    assert parts["lag"] == "2.0 KiB of log wait to be stored"
    assert parts["coverage"] == "75% of 4 tasks: 0 not covered, 1 unknown (00:08)"
    assert parts["store"] == "1,000 records stored, 3.0 GiB, since 2025-06-01 09:00"
    assert parts["room"] == "grows 5.0 MiB a day; full in 80 days; keeps 90d"
    assert parts["journal"] == "9 events sent, 0.5 s behind"


def test_a_log_that_was_read_twice_is_no_loss():
    """Records that are no rows of their own are named; that ends of events are none is not."""
    ledger = {"received": 1444, "stored": 556, "duplicate": 556, "end": 332, "raw": 3, "open": 0}
    (line,) = [each for each in shown(FULL | {"store": ledger}, 200) if each.startswith("store")]
    assert "556 records stored; 556 read again (stored before); 3 kept as text only," in line


@pytest.mark.parametrize(
    ("part", "facts", "first", "last"),
    [
        ("service", {"running": False}, "auditsvc is not running", "systemctl start auditsvc"),
        ("service", {"store_trouble": "locked " * 30}, "auditsvc has a problem", "doctor"),
        ("service", {"tamper": 2}, "auditsvc is well", "FROM tamper"),
        ("retention", {"full_in_days": 3.0}, "auditsvc is well", "[retention]"),
        (
            "service",
            {"coverage": {"at": 0, "covered": 1, "not_covered": 1, "unknown": 0}},
            "auditsvc is well",
            "auditsvc coverage",
        ),
    ],
)
@pytest.mark.parametrize("columns", [60, 80])
def test_the_next_thing_to_do_is_the_most_important(part, facts, first, last, columns):
    """And no line is wider than the terminal, however long a reason is."""
    lines = shown(FULL | {part: FULL[part] | facts}, columns)
    assert lines[0] == first
    end = max(index for index, line in enumerate(lines) if line.startswith("Next: "))
    assert last in " ".join(line.strip() for line in lines[end:])
    assert max(map(len, lines)) <= columns


def test_what_cannot_be_read_has_no_line():
    """Its reason is among the problems."""
    refused = {"refused": "not permitted"}
    lines = shown(dict.fromkeys(FULL, refused) | {"service": {"running": False}})
    assert [line for line in lines if line[:1].isalpha()][1:-1] == []
    assert any("not permitted" in line for line in lines)


def test_a_store_that_does_not_answer_is_waited_for_once(monkeypatch):
    """Its parts have the same reason; one that is refused at once is asked again."""
    clock = [0.0]
    asked = []

    def question(seconds):
        asked.append(seconds)
        clock[0] += seconds
        raise StoreError("no answer")

    monkeypatch.setattr(report.time, "monotonic", lambda: clock[0])
    store = report._Asked()
    found = [store.facts(lambda: question(0.1)) for _ in range(2)]
    found += [store.facts(lambda: question(10.0)) for _ in range(3)]
    assert found == [{"refused": "no answer"}] * 5
    assert asked == [0.1, 0.1, 10.0]
