"""The sources beside the kernel's own socket, and auditd's log against ours."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess

import pytest
from fixtures.logs import login
from fixtures.waiting import until
from live.auditd import AUDITCTL, Auditd
from live.programs import finished, fresh_auid, rules
from live.service import AUDITSVC, Service, cli

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_changes")]


def workload(programs, auid, folder):
    """Programs with paths, arguments, sockets and errors."""
    programs.run(
        auid, "/bin/sh", "-c", "ls /etc /nowhere; cat /etc/hostname; cd /tmp; find /etc -name 'h*'"
    )
    programs.run(auid, programs["sockets"], "0", folder / "socket", "live-abstract")
    programs.run(auid, programs["names"], b"a 'name' of \"some\" \xff\xfe bytes\n")


class Rules:
    """Rules that auditctl holds for a while."""

    def __init__(self, auid):
        self._words = ["exit,always", "-S", "all", "-F", f"auid={auid}", "-k", "live"]

    def __enter__(self):
        subprocess.run([AUDITCTL, "-a", *self._words], check=True)
        subprocess.run([AUDITCTL, "-e", "1"], check=True, stdout=subprocess.DEVNULL)

    def __exit__(self, *_):
        subprocess.run([AUDITCTL, "-d", *self._words], check=True)


def contents(query, auid):
    """All rows of one auid's events, by view; named by serial, for ids are a store's own."""
    result = {}
    for view in ("syscalls", "paths", "sockaddrs", "records"):
        rows = query(
            f"SELECT v.*, s.serial AS event FROM {view} v JOIN syscalls s USING (event_id)"
            f" WHERE s.auid = {auid} AND s.state <> 'partial'"
        )
        for row in rows:  # a name is known to the service that recorded it
            row.update({name: None for name in row if name.endswith("_name")})
        result[view] = sorted(repr(row | {"event_id": row["event"]}) for row in rows)
    return result


def test_auditd_s_log_gives_the_rows_of_the_socket(programs, tmp_path):
    """The same events, once from the multicast group and once from the file auditd wrote."""
    auid = fresh_auid()
    (tmp_path / "auditd").mkdir()
    service = Service(tmp_path, rules(auid), source="multicast")
    with Auditd(tmp_path / "auditd") as auditd, Rules(auid), service:
        workload(programs, auid, tmp_path)
        programs.finish(auid)
        until(lambda: finished(auditd.log.read_bytes(), auid))
        until(lambda: finished(service.spooled(), auid))
    file_store = f"sqlite:///{tmp_path}/file.db"
    cli("ingest", str(auditd.log), "--store", file_store, environment=service.environment)
    reader = Service(tmp_path, "", store=file_store)
    ours, theirs = contents(service.query, auid), contents(reader.query, auid)
    assert ours == theirs
    assert {view: len(rows) > 10 for view, rows in ours.items()} == dict.fromkeys(ours, True)


@pytest.mark.parametrize("log_format", ["RAW", "ENRICHED"])
def test_both_logs_in_one_store_are_stored_once(programs, tmp_path, log_format):
    """What the socket gave already is known again in auditd's file: nothing is added."""
    auid = fresh_auid()
    (tmp_path / "auditd").mkdir()
    service = Service(tmp_path, rules(auid), source="multicast")
    with Auditd(tmp_path / "auditd", log_format=log_format) as auditd, Rules(auid), service:
        workload(programs, auid, tmp_path)
        programs.finish(auid)
        until(lambda: finished(auditd.log.read_bytes(), auid))
        until(lambda: finished(service.spooled(), auid))
    before = contents(service.query, auid)
    cli("ingest", str(auditd.log), "--store", service.store, environment=service.environment)
    assert contents(service.query, auid) == before
    assert service.ledger()["duplicate"] > 0


def test_plugin_of_auditd(programs, tmp_path):
    """Started by auditd as its plugin: its events are rows."""
    auid = fresh_auid()
    service = Service(tmp_path, "", source="stdin")
    plugin = tmp_path / "plugin"
    words = " ".join(
        f"{name}='{value}'"
        for name, value in service.environment.items()
        if name.startswith("AUDITSVC")
    )
    command = " ".join(service.command)
    plugin.write_text(f"#!/bin/sh\nexec env {words} {command} 2>{service.log}\n")
    plugin.chmod(0o750)
    (tmp_path / "auditd").mkdir()
    with Auditd(tmp_path / "auditd", plugin=plugin) as auditd, Rules(auid):
        until(lambda: service.log.exists() and "ready" in service.log.read_text())
        workload(programs, auid, tmp_path)
        programs.finish(auid)
        until(lambda: finished(service.spooled(), auid))
    until(lambda: "stopped" in service.log.read_text(), told=service.log.read_text)
    theirs = auditd.log.read_bytes().count(b"type=SYSCALL ")
    assert service.query("SELECT count(*) AS n FROM syscalls")[0]["n"] == theirs > 50


def test_a_file_is_followed_through_rotation(tmp_path):
    """Lines written before, between and after rotations are rows, each once."""
    log = tmp_path / "audit.log"

    def lines(first, last):
        return "".join(login(n, second=1_700_000_000 + n) for n in range(first, last))

    def stored():
        return service.query("SELECT count(*) AS n FROM events WHERE type = 'USER_LOGIN'")[0]["n"]

    log.write_text(lines(0, 100))
    with Service(tmp_path, "", source=str(log)) as service:
        until(lambda: stored() == 100)
        with log.open("a") as stream:
            stream.write(lines(100, 200))
        log.rename(tmp_path / "audit.log.1")
        log.write_text(lines(200, 300))
        until(lambda: stored() == 300)
    with log.open("a") as stream:
        stream.write(lines(300, 400))
    log.rename(tmp_path / "audit.log.1")
    log.write_text(lines(400, 500))
    with Service(tmp_path, "", source=str(log)) as service:
        until(lambda: stored() == 500)
    assert service.query("SELECT count(*) AS n, count(DISTINCT serial) AS serials FROM events") == [
        {"n": 500, "serials": 500}
    ]
    assert service.ledger().get("duplicate", 0) == 0


def test_files_are_private(programs, tmp_path):
    """Store, spool, state: nobody but the owner may read the evidence."""
    auid = fresh_auid()
    os.umask(0o022)
    made = f"sqlite:///{tmp_path}/auditsvc.db"  # by the service itself
    with Service(tmp_path, rules(auid), store=made) as service:
        workload(programs, auid, tmp_path)
        until((tmp_path / "run/state.json").exists)  # it is written once a second
        until(service.spooled)
        for path in [
            *tmp_path.glob("auditsvc.db*"),
            *(each for each in (tmp_path / "state/spool").rglob("*") if each.is_file()),
            *(tmp_path / "run").iterdir(),
        ]:
            # The socket of `auditsvc.access` is for all: who reads the store tells it there.
            mode = 0o666 if path.name == "access" else 0o600
            assert stat.S_IMODE(path.stat().st_mode) == mode, path
    assert shutil.which(str(AUDITSVC))
    assert service.ledger()["received"] > 0
