"""The README's examples, unchanged: its SQL on both databases, ausearch on our spool."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from faults.test_service_faults import Run
from fixtures.logs import load, opening, rows

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SQL = re.findall(r"(?s)```sql\n(.*?)```", README)
PEERS = ROOT / "build/peers/sbin"
NOON = 1769860800  # 2026-01-31 12:00 UTC
HALF_PAST = NOON + 9000  # 14:30


def login(serial, result):
    """Give a record of a login."""
    return (
        f"type=USER_LOGIN msg=audit({NOON}.000:{serial}): pid=7 uid=0 auid=1000 ses=3 "
        f'msg=\'op=login acct="eve" exe="/usr/sbin/sshd" hostname=h addr=192.0.2.{serial} '
        f"terminal=ssh res={result}'\n"
    )


def test_a_field_is_read_from_json(url):
    """`fields ->> 'res'` chooses the failed logins, and gives the address as text."""
    load(url, login(1, "failed") + login(2, "success") + login(3, "failed"))
    found = rows(url, SQL[0])
    assert [(row["auid"], row["addr"]) for row in found] == [
        (1000, "192.0.2.1"),
        (1000, "192.0.2.3"),
    ]


def test_a_minute_is_asked_by_time(url):
    """The example takes the call at its beginning, and neither the one before nor at its end."""
    record = opening(1)
    (stamp,) = set(re.findall(r"audit\((\d+)\.", record))
    log = "".join(
        opening(serial).replace(f"audit({stamp}.123:", f"audit({second}.000:")
        for serial, second in enumerate((HALF_PAST - 1, HALF_PAST, HALF_PAST + 60), start=1)
    )
    load(url, log)
    (sql,) = re.findall(r'(?m)^auditsvc query "(SELECT time.*)"$', README)
    (found,) = rows(url, sql)
    assert found["syscall"] == "open"
    assert rows(url, "SELECT count(*) AS n FROM syscalls") == [{"n": 3}]


def test_ausearch_reads_a_segment(tmp_path):
    """The tool of auditd finds the calls in the first segment of our spool."""
    if not (PEERS / "ausearch").exists():
        pytest.skip("no ausearch: make peers")
    run = Run(tmp_path, f"sqlite:///{tmp_path}/store.db")
    run.feed(5)
    assert run.end()[0] == 0
    (line,) = re.findall(r"(?m)^ausearch .*", README)
    words = shlex.split(line.replace("/var/lib/auditsvc", str(tmp_path / "state")))
    done = subprocess.run(
        [PEERS / words[0], *words[1:]], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("type=SYSCALL") == 5
