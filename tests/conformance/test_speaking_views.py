"""The views of connections, denials and logins say what the log says, on both databases."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from fixtures.logs import SECOND, call, end, load, record, rows

AULAST = Path(__file__).parents[2] / "build/peers/usr/bin/aulast"
INET = "02000050C00002070000000000000000"
BIG_ENDIAN = "00020050C0000207"


CONNECT = {"x86_64": (42, "c000003e", INET), "i386": (102, "40000003", INET)}
"""Number, architecture and address; i386 and s390x have socketcall."""
CONNECT["s390x"] = (102, "80000016", BIG_ENDIAN)
RESULTS = {0: ("success", None), -115: ("in progress", "EINPROGRESS")}
RESULTS[-111] = ("failed", "ECONNREFUSED")


@pytest.mark.parametrize("machine", CONNECT)
def test_a_connect_that_goes_on_has_not_failed(url, machine):
    """Also in socketcall, whose first argument says which call it is."""
    nr, arch, saddr = CONNECT[machine]
    for serial, result in enumerate(RESULTS, start=1):
        success = "no" if result else "yes"
        line = call(serial, nr=nr, arch=arch, a0="3", success=success, exit=result)
        log = line + record("SOCKADDR", serial, f"saddr={saddr}") + end(serial)
        load(url, log, name=str(serial))
    shown = "action, address, port, outcome, errno, syscall"
    found = rows(url, f"SELECT {shown} FROM connections ORDER BY event_id")
    assert [list(row.values()) for row in found] == [
        ["connect", "192.0.2.7", 80, outcome, errno, "connect"]
        for outcome, errno in RESULTS.values()
    ]


def session(serial, second, *, pid=700, ses=5, ended=True):
    """Give a login, from the first record to the end."""
    lines = [
        record("LOGIN", serial, f"pid={pid} uid=0 old-auid=4294967295 auid=0 tty=(none)"
               f" old-ses=4294967295 ses={ses} res=1", second=second),
        record("USER_LOGIN", serial + 1, f"pid={pid} uid=0 auid=0 ses={ses} msg='op=login id=0"
               ' exe="/usr/sbin/sshd" hostname=client.example addr=192.0.2.9 terminal=ssh'
               " res=success'", second=second + 1),
    ]  # fmt: skip
    if ended:
        said = 'op=PAM:session_close acct="root" exe="/usr/sbin/sshd" terminal=ssh res=success'
        head = f"pid={pid} uid=0 auid=0 ses={ses}"
        lines.append(record("USER_END", serial + 2, f"{head} msg='{said}'", second=second + 60))
    return "".join(lines)


@pytest.mark.skipif(not AULAST.exists(), reason="no aulast: make peers")
def test_logins_are_those_of_aulast(url, tmp_path):
    """The same sessions, with the same proof: closed, opened again without a logout, open."""
    log = session(10, SECOND) + session(20, SECOND + 100, pid=701, ses=6, ended=False)
    log += session(30, SECOND + 200, pid=702, ses=6) + session(40, SECOND + 300, ses=8, ended=False)
    (tmp_path / "log").write_text(log)
    done = subprocess.run(
        [AULAST, "-f", tmp_path / "log", "--proof"], capture_output=True, text=True, check=True
    )
    proofs = re.findall(r"proof serial numbers?: ([\d, ]+)", done.stdout)
    theirs = sorted(tuple(map(int, each.split(","))) for each in proofs)
    load(url, log)
    columns = ("event_id", "user_login_event_id", "end_event_id")
    serials = {row["event_id"]: row["serial"] for row in rows(url, "SELECT * FROM events")}
    found = rows(url, "SELECT * FROM logins ORDER BY event_id")
    assert [row["how_ended"] for row in found] == ["logout", "gone", "logout", None]
    for row in found:  # what aulast does not name as a proof
        row["end_event_id"] = row["end_event_id"] if row["how_ended"] == "logout" else None
    ours = [tuple(serials.get(row[column], 0) for column in columns) for row in found]
    assert ours == theirs
