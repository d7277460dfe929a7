"""The control groups of processes, held to /proc, which is read while they run."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fixtures.waiting import until
from live.programs import Programs, fresh_auid, rules
from live.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.live

CONTAINER = "0123456789abcdef" * 4
PLACES = (
    Path("/sys/fs/cgroup/cgroup.procs"),  # cgroup v2 alone
    Path("/sys/fs/cgroup/systemd/cgroup.procs"),
    Path("/sys/fs/cgroup/unified/cgroup.procs"),
)


@contextmanager
def group(name: str) -> Iterator[Path]:
    """Make a control group of this test's own; it is removed when its processes have ended."""
    top = next((path.parent for path in PLACES if path.exists()), None)
    if top is None:
        pytest.skip("no control group can be made here")
    parent = top / f"auditsvc-test-{os.getpid()}"
    made = parent / name
    try:
        made.mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield made
    finally:
        until(lambda: not (made / "cgroup.procs").read_text())
        made.rmdir()
        parent.rmdir()


def shown(pid: int, name: str) -> str | None:
    """Give the path of the group `name` in a process's /proc/PID/cgroup."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    paths = [line.split(":", 2)[2] for line in lines]
    return next((path for path in paths if path.endswith(name)), None)


def told(service: Service) -> list[bytes]:
    """Give the records of control groups in the service's spool."""
    return [line for line in service.spooled().splitlines() if b" op=cgroup " in line]


@pytest.mark.usefixtures("audit_lock")
def test_groups_equal_proc(programs: Programs, tmp_path: Path) -> None:
    """Who is moved and runs is read; a hundred children that are gone at once are its parent's."""
    auid = fresh_auid()
    name = f"docker-{CONTAINER}.scope"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with group(name) as made, Service(tmp_path, rules(auid)) as service:
        # As a container's runtime does it: the process is moved, and then runs its program.
        inner = "for n in $(seq 100); do (exit 3); done; cat /dev/null; exit 4"
        script = f"echo $$ > {made}/cgroup.procs; exec sh -c 'read x < {fifo}; {inner}'"
        running = subprocess.Popen(
            [programs["as_auid"], str(auid), "/bin/sh", "-c", script], stdin=subprocess.DEVNULL
        )
        try:
            until(lambda: shown(running.pid, name) is not None)
            path = shown(running.pid, name)
            # Its own group's record: the name alone stands in the paths of its calls, too, before.
            until(lambda: any(name.encode() in line for line in told(service)))
            with fifo.open("w") as out:
                out.write("x\n")
            assert running.wait(60) == 4
        finally:
            running.kill()
            running.wait()
        programs.finish(auid)
    columns = "pid, ppid, cgroup, unit, container, cgroup_known_by"
    rows = service.query(f"SELECT {columns} FROM processes WHERE auid = {auid}")
    (own,) = (row for row in rows if row["pid"] == running.pid)
    assert (own["cgroup"], own["unit"], own["container"]) == (path, name, CONTAINER)
    assert own["cgroup_known_by"] == "read"
    children = [row for row in rows if row["ppid"] == running.pid]
    assert len(children) >= 101
    assert {row["container"] for row in children} == {CONTAINER}
    assert sum(row["cgroup_known_by"] == "parent" for row in children) >= 100
    # Who never was in the group is not said to be: the last program.
    others = [row for row in rows if row["pid"] != running.pid and row not in children]
    assert others
    assert {row["container"] for row in others} == {None}
    calls = service.query(
        f"SELECT DISTINCT container FROM syscalls WHERE auid = {auid} AND ppid = {running.pid}"
    )
    assert calls == [{"container": CONTAINER}]
    assert len(told(service)) < 20, "a child in its parent's group has a record"
