"""One user's flood fills the spool's disk: records of others are still written; he is named."""

from __future__ import annotations

import re

from faults.test_service_faults import Run
from fixtures import commands
from fixtures.disk import small_disk
from fixtures.logs import balanced, ledger, login, opening, rows
from fixtures.waiting import until

from auditsvc.config import load_settings
from auditsvc.doctor import storage

ATTACKER, OTHER = 1000, 1001


def flood(run, times):
    """Write events of one user."""
    first, run.fed = run.fed, run.fed + times
    text = "".join(opening(n + 1, auid=ATTACKER) for n in range(first, run.fed))
    run.process.stdin.write(text.encode())
    run.process.stdin.flush()


def test_a_flood_does_not_hide_others(tmp_path):
    """A login and another's call are stored; who floods is in status, doctor and the evidence."""
    url = f"sqlite:///{tmp_path}/store.db"
    with small_disk(tmp_path / "small", 4096) as small:
        run = Run(
            tmp_path,
            url,
            AUDITSVC_SPOOL__DIRECTORY=str(small / "spool"),
            AUDITSVC_SPOOL__RESERVE_BYTES=str(1 << 20),
        )
        run.wait_ready()
        assert storage.flood(settings(run)).level.name == "OK"
        until(lambda: run.state("dropped") or flood(run, 500))
        others = login(900_001).replace("auid=1000", f"auid={OTHER}")
        others += opening(900_002, auid=OTHER)
        written = run.state("records")
        run.process.stdin.write(others.encode())
        run.process.stdin.flush()
        until(lambda: run.state("records") >= written + others.count("\n"))
        until(lambda: f"auid {ATTACKER}" in (run.state("flood") or ""))
        assert "ordinary records are dropped" in run.state("spool_room")
        assert run.state("spool_trouble") == ""  # the disk refused nothing
        finding = storage.flood(settings(run))
        assert finding.level.name == "ERROR"
        assert f"auid {ATTACKER}" in finding.found
        done = commands.run("doctor", environment=run.environment, text=True)
        assert "service: spool" in done.stdout
        status, said = run.end()
        assert status == 0, said
        assert "ordinary records are dropped" in said
        log = b"".join(path.read_bytes() for path in sorted((small / "spool").glob("*.log")))
    told = re.findall(rb"op=lost kernel=0 spool=([0-9]+) .*cause=spool-space most_auid=1000 ", log)
    counts = ledger(url)
    assert counts["spool_lost"] == sum(map(int, told)) > 0
    (own,) = rows(url, "SELECT count(*) AS n FROM events WHERE type LIKE 'DAEMON%'")
    fed = run.fed * 4 + others.count("\n")
    assert counts["received"] - own["n"] + counts["spool_lost"] == fed
    assert balanced(url)
    (seen,) = rows(url, f"SELECT count(*) AS n FROM syscalls WHERE auid = {OTHER}")
    assert seen["n"] == 1
    (logins,) = rows(url, "SELECT count(*) AS n FROM events WHERE type = 'USER_LOGIN'")
    assert logins["n"] == 1


def settings(run):
    """Give the settings with which `status` and `doctor` find the run."""
    return load_settings(runtime_directory=run.environment["AUDITSVC_RUNTIME_DIRECTORY"])
