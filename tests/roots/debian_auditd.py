"""Debian's own auditd in a root whose systemd runs, with settings that hosts have.

`live/test_adopt.py` has it as a process of a test; here are the distribution's package and units,
with their ways: a manual stop is refused, augenrules loads the rules.
"""

from __future__ import annotations

from contextlib import contextmanager

from fixtures.waiting import until
from live.test_takeover import rule

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


END = "test ! -e /run/auditd.pid || kill -TERM $(cat /run/auditd.pid)"
"""A manager for a user does not end it, and its unit refuses a stop."""


@contextmanager
def auditd_of_debian(root, auid):
    """Install it with these settings, rules and a plugin; systemd runs it then. Ends it."""
    try:
        _install(root, auid)
        yield
    finally:
        root.run(END, status=None)
        until(lambda: root.run("test ! -e /run/auditd.pid", status=None).returncode == 0)


def _install(root, auid):
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
