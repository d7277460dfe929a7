"""The view `processes` and `auditsvc tree`, held to strace and ps of the same processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from fixtures.waiting import until
from live.programs import Programs, fresh_auid, rules
from live.service import Service, cli

if TYPE_CHECKING:
    from pathlib import Path

    from live.service import Row
    from live.strace_log import Log

pytestmark = pytest.mark.live

MAKEFILE = """
all: one two three
%: %.c
\t@gcc -O1 -o $@ $< && ./$@
"""
SCRIPT = """
make -s -j3
(exit 4); sh -c 'kill -SEGV $$'
ls / | sort | head -2
( sh -c 'true; exit 5' & ) ; wait
exit 0
"""


def _pids(log: Log) -> set[int]:
    """Give the processes of strace's log: tasks that are no threads, and made a call."""
    return {call.tid for call in log.calls if log.tgids[call.tid] == call.tid}


def _outcome(end: str) -> tuple[int | None, int | None]:
    """Give the exit code and the signal of strace's words."""
    words = end.split()
    if words[0] == "exited":
        return int(words[-1]), None
    return None, int(signal.Signals[words[2]])


@pytest.mark.usefixtures("audit_lock")
def test_lives_equal_strace(programs: Programs, tmp_path: Path) -> None:
    """Of a build and of programs that fork in each way: each process, its parent and its end."""
    auid = fresh_auid()
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.c").write_text("int main(void) { return 0; }\n")
    (tmp_path / "Makefile").write_text(MAKEFILE)
    logs = []
    with Service(tmp_path, rules(auid)) as service:
        for number, command in enumerate(
            (
                *(["/bin/sh", "-c", SCRIPT], [programs["forks"]], [programs["threads"], "20"]),
                [programs["orphan"]],
            )
        ):
            trace = tmp_path / f"{number}.strace"
            logs.append(programs.trace(auid, trace, *command, cwd=tmp_path))
    rows = service.query(f"SELECT * FROM processes WHERE auid = {auid} ORDER BY began")
    told = service.query(
        f"SELECT pid, ppid FROM syscalls WHERE auid = {auid} ORDER BY time DESC, serial DESC"
    )
    calls = {row["pid"]: row["ppid"] for row in told}  # the first call's parent stands last
    by_pid = {row["pid"]: row for row in rows}
    assert len(by_pid) == len(rows), "a pid stands for two processes"
    assert set(by_pid) == set().union(*map(_pids, logs))
    orphans = set()
    for log in logs:
        for pid in _pids(log):
            row = by_pid[pid]
            if pid in log.parents:
                parent = log.tgids[log.parents[pid]]
                assert row["ppid"] == parent, row
                assert row["parent_id"] == by_pid[parent]["process_id"]
                # An orphan's first call names who took it, not who made it.
                is_orphan = calls[pid] != parent
                assert row["known_by"] == ("inferred" if is_orphan else "clone"), row
                orphans |= {pid} if is_orphan else set()
            code, number = _outcome(log.ends[pid])
            assert row["exit_code"] == code, (row, log.ends[pid])
            # A core dump alone has a record.
            assert row["signal"] in (number, None)
            assert (row["ended"] is None) == (row["signal"] is None and code is None)
            execs = [c for c in log.calls if c.tid == pid and c.name == "execve" and c.result == 0]
            assert len(row["execs"]) in (len(execs), len(execs) - 1)  # before its auid was set
    assert orphans & _pids(logs[-1])
    programs_of = {str(row["exe"]).rpartition("/")[2] for row in rows}
    assert {"make", "cc1", "one", "two", "three"} <= programs_of
    assert any(row["signal"] == signal.SIGSEGV for row in rows)
    _tree_has_all(service, logs[0], by_pid)


def _tree_has_all(service: Service, log: Log, by_pid: dict[int, Row]) -> None:
    """The tree of the first process has all others of its log."""
    (first,) = _pids(log) - log.parents.keys()
    words = ("tree", str(first), "--store", service.store, "--format", "json")
    (tree,) = json.loads(cli(*words, environment=service.environment))
    assert {each["pid"] for each in tree["processes"]} == _pids(log)
    assert len(by_pid) >= len(tree["processes"])


@pytest.mark.usefixtures("audit_lock")
def test_lives_in_a_pid_namespace_equal_ps(programs: Programs, tmp_path: Path) -> None:
    """A clone's result there is another number than the pid of the host, which is shown."""
    auid = fresh_auid()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    inner = f"sh -c 'sh -c \"read x < {fifo}; exit 6\"; exit 7'; exit 8"
    command = ["/usr/bin/unshare", "--pid", "--fork", "/bin/sh", "-c", inner]
    with Service(tmp_path, rules(auid)) as service:
        running = subprocess.Popen(
            [programs["as_auid"], str(auid), *command], stdin=subprocess.DEVNULL
        )
        try:
            until(lambda: len(_ps(running.pid)) == 4)
            seen = _ps(running.pid)
            with fifo.open("w") as out:
                out.write("x\n")
            assert running.wait(60) == 8
        finally:
            running.kill()
            running.wait()
    rows = service.query(f"SELECT * FROM processes WHERE auid = {auid}")
    assert {row["pid"]: row["ppid"] for row in rows} == seen
    by_pid = {row["pid"]: row for row in rows}
    chain = sorted(seen)  # each made by the one before
    assert [by_pid[pid]["exit_code"] for pid in chain] == [8, 8, 7, 6]
    for child, parent in zip(chain[1:], chain[:-1], strict=True):
        assert by_pid[child]["parent_id"] == by_pid[parent]["process_id"]
    # unshare itself is in the host's namespace, the others are not.
    assert [by_pid[pid]["known_by"] for pid in chain[1:]] == ["clone", "inferred", "inferred"]


def _ps(root: int) -> dict[int, int]:
    """Give a process and its descendants as ps shows them: pid and parent."""
    done = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [tuple(map(int, re.findall(r"\d+", line))) for line in done.stdout.splitlines()]
    found = {pid: ppid for pid, ppid in pairs if pid == root}
    while more := {pid: p for pid, p in pairs if p in found and pid not in found}:
        found |= more
    return found
