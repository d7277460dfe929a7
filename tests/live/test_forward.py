"""Forwarding on the real kernel: it causes no loop, and `run` manages it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from fixtures.commands import AUDITSVC
from fixtures.forwarding import Forwarding, event_of
from fixtures.waiting import at_rest, until
from live.programs import fresh_auid
from live.service import Service

from auditsvc.rule import printing

pytestmark = pytest.mark.live

README = Path(__file__).parents[2] / "README.md"
KEYED = {"AUDITSVC_FORWARD__KEYED": "true", "AUDITSVC_FORWARD__TYPES": "[]"}
HOST = {"AUDITSVC_HOST": socket.gethostname()}


def calls_of(service, pid):
    """Count the calls of a process in the store."""
    (row,) = service.query(f"SELECT count(*) AS n FROM syscalls WHERE pid = {pid}")
    return row["n"]


def forwarding(journald, tmp_path, rules):
    """Give a service, not yet begun, that forwards into this journald."""
    service = Service(tmp_path, rules)
    service.command = [*journald.prefix, *service.command]
    service.environment |= {"AUDITSVC_FORWARD__ENABLED": "true"}
    return service


def test_a_forwarder_alone_does_not_feed_itself(audit_lock, programs, journald, tmp_path):
    """Each call of journald and of the forwarder is audited with a key that is forwarded."""
    assert audit_lock
    auid = fresh_auid()
    rules = (
        f"-a always,exit -S all -F auid={auid} -k watched\n"
        f"-a always,exit -S all -F pid={journald.process.pid} -k watched\n"
    )
    with Service(tmp_path, rules) as service:
        made = Forwarding(journald, service.store, tmp_path, **KEYED, **HOST)
        with (tmp_path / "forward.log").open("wb") as log:
            forwarder = journald.popen(
                [programs["as_auid"], str(auid), AUDITSVC, "forward"],
                env=made.environment,
                stderr=log,
            )
        until((tmp_path / "run/forward.json").exists)
        until(lambda: calls_of(service, forwarder.pid) > 100)
        programs.run(auid, "/bin/cat", "/etc/shadow")
        until(lambda: any(b"cat[" in each["MESSAGE"][0] for each in made.events()))
        until(lambda: calls_of(service, journald.process.pid) > 0)

        def rests():
            count = at_rest(lambda: len(made.ids()))
            time.sleep(2)
            return len(made.ids()) == count

        until(rests)  # what was on its way may have come late
        own = (calls_of(service, forwarder.pid), calls_of(service, journald.process.pid))
        forwarder.send_signal(signal.SIGTERM)
        assert forwarder.wait(120) == 0
    pids = {each["AUDIT_FIELD_PID"][0] for each in made.events()}
    assert str(journald.process.pid).encode() not in pids
    assert str(forwarder.pid).encode() not in pids
    assert min(own) > 0, "their calls are not in the store"


def test_run_forwards_what_it_collects(audit_lock, programs, journald, tmp_path):
    """`run` starts the forwarder, leaves it out of audit, starts it again, and lets it finish."""
    auid = fresh_auid()
    service = forwarding(
        journald, tmp_path, f"-a always,exit -S openat,kill -F auid={auid} -k watched\n"
    )
    made = Forwarding(journald, service.store, tmp_path, **HOST)
    state = tmp_path / "run/forward.json"
    with service:
        until(state.exists)
        first = made.state()["pid"]
        until(lambda: _excluded(audit_lock, first))
        os.kill(first, signal.SIGKILL)
        until(lambda: made.state().get("pid") not in (None, first))
        until(lambda: _excluded(audit_lock, made.state()["pid"]))
        until(lambda: not _excluded(audit_lock, first))
        programs.run(auid, "/bin/sh", "-c", "cat /etc/none; sleep 30 & kill $!", status=0)
        until(lambda: len(made.ids()) > 3)
        programs.run(auid, "/bin/cat", "/etc/hostname")
    assert not state.exists()
    assert not _excluded(audit_lock, made.state().get("pid", first))
    want = service.query("SELECT event_id FROM syscalls WHERE key = 'watched'")
    assert sorted(made.ids()) == sorted(row["event_id"] for row in want)
    failed = next(e for e in made.events() if b"/etc/none" in e.get("AUDIT_FIELD_NAME", ()))
    assert failed["MESSAGE"][0].endswith(b" openat /etc/none: ENOENT")
    assert failed["PRIORITY"] == [b"5"]
    killed = next(e for e in made.events() if e["AUDIT_FIELD_SYSCALL"] == [b"kill"])
    target = killed["AUDIT_FIELD_OPID"][0]
    assert killed["OBJECT_PID"] == [target]
    assert event_of(killed)["records"]


@pytest.mark.usefixtures("audit_lock")
def test_a_stopped_journald_slows_no_collection(programs, journald, kernel_lost, tmp_path):
    """With journald stopped and the forwarder stuck in it, every call of a burst is stored."""
    auid = fresh_auid()
    service = forwarding(journald, tmp_path, f"-a always,exit -S chdir -F auid={auid} -k watched\n")
    made = Forwarding(journald, service.store, tmp_path, **HOST)
    stored = "SELECT count(*) AS n FROM syscalls WHERE key = 'watched'"
    burst = ("/bin/sh", "-c", "for i in $(seq 5000); do cd /tmp; done")
    lost = kernel_lost()
    with service:
        until((tmp_path / "run/forward.json").exists)
        journald.stop()
        try:
            programs.run(auid, *burst)
            until(lambda: service.query(stored)[0]["n"] >= 5000)
            assert made.state()["pid"]
        finally:
            journald.cont()
    assert kernel_lost() == lost
    want = service.query("SELECT event_id FROM syscalls WHERE key = 'watched'")
    made.once()
    assert sorted(made.ids()) == sorted(row["event_id"] for row in want)
    assert service.ledger()["kernel_lost"] == 0


def _excluded(control, pid):
    rules = [printing.text(rule) for rule in control.rules()]
    return any("never" in rule and f"pid={pid}" in rule.split() for rule in rules)


def test_the_forwarder_dies_with_the_service(audit_changes, journald, tmp_path):
    """A service that is killed leaves no forwarder behind."""
    assert audit_changes
    service = forwarding(journald, tmp_path, "-a always,exit -S kexec_load -k watched\n")
    service.begin()
    try:
        until((tmp_path / "run/forward.json").exists)
        pid = json.loads((tmp_path / "run/forward.json").read_text())["pid"]
    finally:
        service.process.kill()
        service.process.wait()
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_what_the_readme_says(audit_changes, programs, journald, tmp_path):
    """The README's three lines switch it on, and its journalctl line finds a refused open."""
    audit_changes.delete_rules()  # a rule of others that comes first would give its own key
    readme = README.read_text()
    blocks = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    (lines,) = [block for block in blocks if "[forward]" in block]
    (ask,) = re.findall(r"^journalctl -t auditsvc .*$", readme, re.MULTILINE)
    auid = fresh_auid()
    folder = tmp_path / "rules.d"
    folder.mkdir()
    (folder / "10.rules").write_text(f"-a always,exit -S openat -F auid={auid} -k opens\n")
    (tmp_path / "auditsvc.toml").write_text(lines.replace("/etc/auditsvc/rules.d", str(folder)))
    service = Service(tmp_path, "")
    service.command = [
        *(*journald.prefix, str(AUDITSVC), "--config", str(tmp_path / "auditsvc.toml")),
        *("run", "--store", service.store),
    ]
    as_nobody = ("/usr/bin/setpriv", "--reuid=65534", "--clear-groups", "--")
    with service:
        programs.run(auid, *as_nobody, "/bin/cat", "/etc/shadow", status=1)
    found = journald.journalctl(*ask.split()[1:])
    assert len(found) == 1
    assert found[0]["MESSAGE"].endswith("openat /etc/shadow: EACCES")
    assert found[0]["AUDIT_FIELD_KEY"] == "opens"
