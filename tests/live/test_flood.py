"""A user who floods the log fills a small spool: another user's events are still stored."""

from __future__ import annotations

import json

import pytest
from fixtures import commands
from fixtures.disk import small_disk
from fixtures.logs import balanced
from fixtures.waiting import until
from live.programs import fresh_auid, rules
from live.service import Service, as_json

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_lock")]

_FLOOD = "for i in $(seq 2000); do cd /tmp; done"


def test_a_flood_on_the_kernel_does_not_hide_others(programs, tmp_path):
    """An exec of another login user and the service's end are stored; who flooded is told."""
    attacker, other = fresh_auid(), fresh_auid()
    with small_disk(tmp_path / "small", 4096) as small:
        service = Service(tmp_path, rules(attacker) + rules(other))
        service.environment |= {
            "AUDITSVC_SPOOL__DIRECTORY": str(small / "spool"),
            "AUDITSVC_SPOOL__RESERVE_BYTES": str(1 << 20),
        }

        def state(name):
            done = commands.run("status", "--format", "json", environment=service.environment)
            return json.loads(done.stdout)["service"].get(name)

        with service:
            until(lambda: state("dropped") or programs.run(attacker, "/bin/sh", "-c", _FLOOD) == 1)
            programs.run(other, "/bin/true")
            until(lambda: str(attacker) in (state("flood") or ""))
            assert state("spool_trouble") == ""
    (row,) = service.query(
        f"SELECT count(*) AS n FROM syscalls WHERE auid = {other} AND syscall = 'execve'"
        " AND exe LIKE '%true' AND state = 'complete'"
    )
    assert row["n"] == 1
    told = service.query("SELECT fields FROM events WHERE type = 'DAEMON_ERR'")
    most = {as_json(each["fields"]).get("most_auid") for each in told}
    assert most == {str(attacker)}, told
    (row,) = service.query("SELECT count(*) AS n FROM events WHERE type = 'DAEMON_END'")
    assert row["n"] == 1
    assert service.ledger()["spool_lost"] > 0
    assert service.ledger()["kernel_lost"] == 0
    assert balanced(service.store)
