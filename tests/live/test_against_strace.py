"""Compares rows with what strace saw of the same processes.

Both trace at the same time, so this also shows that audit and ptrace work together. Known
differences are named in `live.compare`; all others fail.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from live.compare import BEFORE_LOGINUID, SECCOMP, Comparison, DisagreementError, compare
from live.programs import Programs, fresh_auid, rules
from live.service import Service, as_json

if TYPE_CHECKING:
    from pathlib import Path

    from live.programs import Argument
    from live.service import Row

pytestmark = pytest.mark.live

COLUMNS = "serial, pid, ppid, arch, nr, syscall, a0, a1, a2, a3, success, exit, state"
PYTHON = """
import json, os, subprocess, sys, threading
threads = [threading.Thread(target=os.listdir, args=("/usr",)) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
subprocess.run(["/bin/sh", "-c", "exit 3"])
print(json.dumps(sys.path))
"""


def workload(programs: Programs, folder: Path) -> dict[str, tuple[list[Argument], int]]:
    """Name, command and expected exit status of everything that is compared."""
    source = folder / "hello.c"
    source.write_text('#include <stdio.h>\nint main(void) { return puts("hello") < 0; }\n')
    (folder / "rings").mkdir()
    names: list[Argument] = ["plain", "two words", 'quo"te', "new\nline", "käse", b"\xff\xfe"]
    commands: dict[str, tuple[list[Argument], int]] = {
        "dense loop": ([programs["dense"], "300"], 0),
        "ls": (["/bin/ls", "-la", "/usr/bin"], 0),
        "find": (["/usr/bin/find", "/usr/include/linux", "-name", "*.h"], 0),
        "tar": (["/bin/tar", "-cf", folder / "out.tar", "-C", "/usr/include", "linux/can"], 0),
        "cat": (["/bin/cat", "/etc/passwd", "/nonexistent"], 1),
        "pipeline": (["/bin/sh", "-c", "ls /etc | sort -r | head -3 & wait; (exit 4) || :"], 0),
        "python": (["/usr/bin/python3", "-c", PYTHON], 0),
        "gcc": (["/usr/bin/gcc", "-O1", "-o", folder / "hello", source], 0),
        "32-bit program": ([programs["i386"], folder / "thirty-two"], 0),
        "forks": ([programs["forks"]], 0),
        "threads": ([programs["threads"], "50"], 0),
        "names": ([programs["names"], *names], 0),
        "sockets": ([programs["sockets"], "0", folder / "socket", "live-abstract"], 0),
        "thousand arguments": (["/bin/true", *("x" * 100 for _ in range(1000))], 0),
    }
    endings = {"exit": 3, "group": 4, "killed": 0, "siblings": 5}
    endings |= dict.fromkeys(("restart", "interrupt", "resume", "exec"), 0)
    endings["seccomp"] = -signal.SIGKILL
    for case, status in endings.items():
        commands[f"ending: {case}"] = ([programs["endings"], case], status)
    for mode in ("inline", "async", "sqpoll"):
        commands[f"io_uring: {mode}"] = ([programs["uring"], mode, folder / "rings"], 0)
    return commands


def in_order(rows: list[Row]) -> bool:
    """Whether rows in the order of event_id are, process by process, in that of serial."""
    serials: dict[int, list[int]] = {}
    for row in rows:
        serials.setdefault(row["pid"], []).append(row["serial"])
    return all(each == sorted(each) for each in serials.values())


@pytest.mark.usefixtures("audit_lock")
def test_rows_equal_strace(programs: Programs, tmp_path: Path) -> None:
    """Every call of every program has its row, equal in all that both show, in order."""
    auid = fresh_auid()
    logs = {}
    with Service(tmp_path, rules(auid)) as service:
        for number, (name, (command, status)) in enumerate(workload(programs, tmp_path).items()):
            trace = tmp_path / f"{number}.strace"
            logs[name] = programs.trace(auid, trace, *command, cwd=tmp_path, status=status)
    rows = service.query(f"SELECT {COLUMNS} FROM syscalls WHERE auid = {auid} ORDER BY event_id")
    seccomp = service.query(
        f"SELECT pid, fields FROM events WHERE type = 'SECCOMP' AND auid = {auid}"
    )
    refused = [(row["pid"], int(as_json(row["fields"])["syscall"])) for row in seccomp]

    total, wrong = Comparison(), []
    for name, log in logs.items():
        pids = set(log.tgids.values())
        mine = [row for row in rows if row["pid"] in pids]
        try:
            result = compare(log, mine, refused)
        except DisagreementError as disagreement:
            wrong.append(f"{name}: {disagreement}")
            continue
        if not result.threaded and not in_order(mine):
            wrong.append(f"{name}: event_id and serial order one task's calls differently")
        print(f"{result.compared:6} calls equal: {name}")
        total += result
    print(total)
    assert not wrong, "\n\n".join(wrong)
    assert total.compared == len(rows), "rows of processes that no program has"
    assert total.compared >= 10_000
    assert total.explained[SECCOMP] == len(refused) == 1
    assert total.explained[BEFORE_LOGINUID] < 50 * len(logs)
