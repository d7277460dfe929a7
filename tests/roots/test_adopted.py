"""From Debian's auditd to auditsvc and back under systemd, on bare roots: `make test-deb`.

`live/test_adopt.py` has the daemons as processes; here are the distribution's own packages, its
units with their ways (a manual stop is refused, augenrules after the start), settings that hosts
have, and the package's service with its user and confinement.
"""

from __future__ import annotations

import re

import pytest
from fixtures.waiting import at_rest, until
from live.conftest import kernel_lost, programs  # noqa: F401 - fixtures
from live.programs import fresh_auid
from live.test_takeover import LARGE, load, rule
from roots.test_deb import bare, build, gone, health, started  # noqa: F401 - fixtures

pytestmark = pytest.mark.timeout(3600)

PAUSE = 1_000_000
"""Nanoseconds between two calls."""
SETTINGS = {
    "log_format": "ENRICHED",
    "log_group": "root",
    "max_log_file": "8",
    "num_logs": "5",
    "max_log_file_action": "ROTATE",
    "name_format": "HOSTNAME",
    "flush": "INCREMENTAL_ASYNC",
    "freq": "50",
    "space_left": "75",
    "space_left_action": "EMAIL",
    "action_mail_acct": "root",
    "admin_space_left": "50",
    "admin_space_left_action": "SUSPEND",
    "disk_full_action": "SUSPEND",
    "disk_error_action": "SUSPEND",
    "tcp_listen_port": "60",
    "tcp_client_max_idle": "0",
    "verify_email": "no",
    "plugin_dir": "/etc/audit/plugins.d",
}
PLUGIN = """active = yes
direction = out
path = /usr/local/sbin/reader
type = always
format = string
"""
RULES = {
    "10-base.rules": "-D\n-b 8192\n--backlog_wait_time 60000\n-f 1\n",
    "30-calls.rules": "{rule}",
    "40-files.rules": "-a always,exit -F arch=b64 -F path=/etc/hosts -F perm=wa -F auid={auid}"
    " -k hosts\n",
}


def auditd_of_debian(root, auid):
    """Install it with these settings, rules and a plugin; systemd runs it then."""
    etc = root.folder / "etc/audit"
    for folder in ("rules.d", "plugins.d"):
        (etc / folder).mkdir(parents=True, exist_ok=True)
    files = {
        "auditd.conf": "".join(f"{name} = {value}\n" for name, value in SETTINGS.items()),
        "plugins.d/reader.conf": PLUGIN,
    }
    for name, text in RULES.items():
        files[f"rules.d/{name}"] = text.format(rule=rule(auid), auid=auid)
    for name, text in files.items():
        (etc / name).write_text(text)
        (etc / name).chmod(0o640)
    reader = root.folder / "usr/local/sbin/reader"
    reader.write_text("#!/bin/sh\nexec cat > /dev/null\n")
    reader.chmod(0o750)
    root.run("apt-get install -qq -o Dpkg::Options::=--force-confold auditd")
    root.run("systemctl start auditd")
    root.run("augenrules --load")
    assert f"auid={auid}" in root.run("auditctl -l").stdout


@pytest.mark.live
@pytest.mark.usefixtures("audit_changes")
def test_from_debian_s_auditd_and_back(started, programs, kernel_lost):  # noqa: F811
    """Each call made all along is one row, the log's names are the columns', units are set up."""
    auid, before = fresh_auid(), kernel_lost()
    log = started.folder / "var/log/audit/audit.log"
    started.set_up(f"Environment=AUDITSVC_KERNEL__RECEIVE_BUFFER={LARGE}")
    auditd_of_debian(started, auid)
    said = started.run("apt-get install -qq ./new.deb")
    assert "auditsvc was not started" in said.stdout + said.stderr
    plan = started.run("auditsvc adopt --format table").stdout
    for word in ("tcp_listen_port", "EMAIL", "reader", "ENRICHED", "30-calls.rules"):
        assert word in plan, plan
    with load(programs, auid, PAUSE) as made:
        until(lambda: log.read_bytes().count(b"type=SYSCALL") > 100)
        said = started.run("auditsvc adopt --apply").stdout
        assert "no record was lost" in said, said
        assert started.run("systemctl is-active auditsvc").stdout == "active\n"
        assert started.run("systemctl is-enabled auditsvc").stdout == "enabled\n"
        assert started.run("systemctl is-active auditd", status=None).stdout == "inactive\n"
        assert started.run("systemctl is-enabled auditd", status=None).stdout == "disabled\n"
        assert started.show("User") == "auditsvc"
        until(lambda: health(started)["state"] == "well", told=lambda: health(started))
        assert "60000" in started.run("auditctl -s").stdout
        said = started.run("auditsvc adopt --back --apply").stdout
        assert "no record was lost" in said, said
        written = log.stat().st_size
        until(lambda: log.stat().st_size > written)
    assert started.run("systemctl is-active auditd").stdout == "active\n"
    assert started.run("systemctl is-enabled auditd").stdout == "enabled\n"
    assert started.run("systemctl is-enabled auditsvc", status=None).stdout == "disabled\n"
    assert f"auid={auid}" in started.run("auditctl -l").stdout
    at_rest(lambda: log.stat().st_size, seconds=0.5)
    started.run("auditsvc ingest /var/log/audit/audit.log")
    found = started.run(
        'auditsvc query --format csv "SELECT count(*), count(DISTINCT serial) FROM syscalls'
        f" WHERE syscall = 'getppid' AND auid = {auid}\""
    ).stdout
    assert found.splitlines()[1] == f"{made.calls},{made.calls}"
    started.run("auditsvc check")
    assert kernel_lost() == before
    lines = log.read_bytes()
    assert re.search(rb"\x1dARCH=x86_64 SYSCALL=getppid", lines)  # it was ENRICHED
    started.run("kill -TERM $(cat /run/auditd.pid)")
    until(lambda: gone(started, "/run/auditd.pid"))
    started.run("apt-get purge -qq auditsvc")
    left = started.run("find /etc -name '*auditsvc*' | grep -v deb-systemd", status=None).stdout
    assert left == ""
