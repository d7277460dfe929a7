"""Rows of special cases: each test reads the rows of one program, most of them of workload/.

One service records all these programs, each under a login uid of its own; for each is said, in
RUNS, what is run.
"""

from __future__ import annotations

import errno
import re
import signal
import socket
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fixtures.audit import RefusedError, exclusive_audit
from live.programs import KEY, Programs, fresh_auid, rules
from live.service import Row, Service, as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from live.programs import Argument

pytestmark = pytest.mark.live

NAMES = (
    b"plain",
    b"two words",
    b'quo"te',
    b"'single'",
    b"new\nline",
    b"tab\there",
    "käse-日本".encode(),
    b"\xff\xfe\xc3",
    b"\x01\x1d\x1f\x7f",
    b"back\\slash",
    b"\xaa",
    b"\\xAA",
    b"3005",
    b"DEADBEEF",
    b"(null)",
    b"?",
    b"-rf",
    b"type=SYSCALL msg=audit(1.1:1): pid=1",
    b"n" * 255,
)


SPECIAL = [b"", b"two words", b'quo"te', b"\xff\xfe", b"new\nline", b"(null)", b"3005"]
LONG_ARGUMENTS = [
    SPECIAL[n // 700] if n % 700 == 0 and n // 700 < len(SPECIAL) else b"%05d-" % n + b"x" * 190
    for n in range(5000)
]
FILLERS = {"quoted": b"x", "hex": b"\xe9 "}
HUGE = {
    name: b"begin" + filler * (120_000 // len(filler)) + b"end" for name, filler in FILLERS.items()
}


@dataclass(frozen=True)
class Program:
    """What is run, by a program of workload/ or a path; a "." is replaced by its own folder."""

    command: Sequence[Argument]
    status: int = 0
    uring: bool = False
    only: str = ""
    """Calls that are audited; else all."""

    def rules(self, auid: int) -> str:
        """Give the rules for a login uid."""
        if self.only:
            return f"-a always,exit -S {self.only} -F auid={auid} -k {KEY}\n"
        return rules(auid, uring=self.uring)


RUNS = {
    "names": Program(["names", *NAMES]),
    "long arguments": Program(["/bin/true", *LONG_ARGUMENTS]),
    **{
        f"huge {name}": Program(["/bin/true", b"before", huge, b"after"])
        for name, huge in HUGE.items()
    },
    "titles": Program(["/bin/sh", "-c", f"/bin/true first {'x' * 200}; :"], only="exit_group"),
    "i386": Program(["i386", "./thirty-two"]),
    "exit": Program(["endings", "exit"], status=3),
    "group": Program(["endings", "group"], status=4),
    "killed": Program(["endings", "killed"]),
    "seccomp": Program(["endings", "seccomp"], status=-signal.SIGKILL),
    "siblings": Program(["endings", "siblings"], status=5),
    "restart": Program(["endings", "restart"]),
    "interrupt": Program(["endings", "interrupt"]),
    "resume": Program(["endings", "resume"]),
    "threads": Program(["threads", "1000"]),
    "forks": Program(["forks"]),
    "sockets": Program(["sockets", "40404", "./a socket", "live test"]),
    "inline": Program(["uring", "inline", "./"], uring=True),
    "async": Program(["uring", "async", "./"], uring=True),
    "sqpoll": Program(["uring", "sqpoll", "./"], uring=True),
}


@dataclass(frozen=True)
class Ran:
    """A program that has run."""

    auid: int
    folder: Path
    output: str
    """What it printed."""
    before: datetime
    after: datetime


class Recorded:
    """The rows of one program that ran under a login uid of its own."""

    def __init__(self, service: Service, ran: Ran) -> None:
        """Read them from the service's store."""
        self.service = service
        self.ran = ran
        self.auid = ran.auid
        self.rows = service.query(
            f"SELECT * FROM syscalls WHERE auid = {self.auid} ORDER BY serial"
        )
        for row in self.rows:
            row["argv"] = as_json(row["argv"]) if row["argv"] else None

    def of(self, **values: object) -> list[Row]:
        """Rows with these values."""
        return [row for row in self.rows if all(row[name] == values[name] for name in values)]

    def query(self, sql: str) -> list[Row]:
        """Ask with `mine` standing for this program's system calls."""
        mine = f"WITH mine AS (SELECT * FROM syscalls WHERE auid = {self.auid}) "
        return self.service.query(mine + sql)

    def records(self, kind: str) -> list[tuple[Row, Any]]:
        """Every further record of a type in this program's events: its row, its fields."""
        found = self.query(
            "SELECT mine.event_id, r.fields FROM mine JOIN records r USING (event_id) "
            f"WHERE r.type = '{kind}' ORDER BY mine.serial, r.seq"
        )
        rows = {row["event_id"]: row for row in self.rows}
        return [(rows[row["event_id"]], as_json(row["fields"])) for row in found]


def run_all(programs: Programs, folder: Path) -> tuple[Service, dict[str, Ran]]:
    """Run all programs, audited by one service; give it, stopped, and what ran."""
    auids = {name: fresh_auid() for name in RUNS}
    ran = {}
    text = "".join(run.rules(auids[name]) for name, run in RUNS.items())
    with Service(folder, text) as service:
        for name, run in RUNS.items():
            own = folder / name
            own.mkdir()
            first, *others = run.command
            program = first if str(first).startswith("/") else programs[str(first)]
            words = [
                own / each[2:] if isinstance(each, str) and each.startswith("./") else each
                for each in others
            ]
            before = datetime.now(tz=UTC)
            said = programs.run(auids[name], program, *words, cwd=own, status=run.status)
            after = datetime.now(tz=UTC)
            ran[name] = Ran(auids[name], own, said.decode(), before, after)
    return service, ran


@pytest.fixture(scope="module")
def record(host_state: str, programs: Programs) -> Iterator[Callable[[str], Recorded]]:
    """Give the rows of one of RUNS by its name.

    On a disk: in memory, where nobody keeps that a name is not there, the kernel looks for a
    missing file twice for io_uring, and records both.
    """
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        try:
            with exclusive_audit(host_state):
                service, ran = run_all(programs, Path(folder))
        except RefusedError as reason:
            pytest.skip(f"live: {reason}")
        yield lambda name: Recorded(service, ran[name])


def shown(data: bytes) -> str:
    r"""Bytes as a text column shows them: UTF-8, and what is not as \xHH."""
    text = data.decode(errors="surrogateescape")
    return re.sub("[\udc80-\udcff]", lambda found: f"\\x{ord(found[0]) - 0xDC00:02X}", text)


def test_names_byte_for_byte(programs: Programs, record: Callable[[str], Recorded]) -> None:
    """File names of every kind of byte come back as they were, in paths, cwd and argv."""
    recorded = record("names")
    paths = recorded.query(
        "SELECT mine.syscall, mine.cwd, p.nametype, p.name, p.item FROM mine "
        "JOIN paths p USING (event_id)"
    )
    seen = Counter((row["syscall"], row["nametype"], row["name"]) for row in paths)
    twice = Counter(map(shown, NAMES))
    for name in map(shown, NAMES):
        for call, nametype in (
            ("openat", "CREATE"),
            ("unlink", "DELETE"),
            ("mkdir", "CREATE"),
            ("chdir", "NORMAL"),
            ("rmdir", "DELETE"),
        ):
            assert seen[call, nametype, name] == twice[name], (call, nametype, name)
        assert seen["renameat", "DELETE", name] >= 1
        assert seen["renameat", "CREATE", name] >= 1
    inside = [row["cwd"] for row in recorded.of(syscall="access", exit=-errno.ENOENT)]
    assert inside[-len(NAMES) :] == [f"{recorded.ran.folder}/{shown(name)}" for name in NAMES]

    # Two names that look alike (0xAA and the four characters \xAA) stay two.
    raw = recorded.query(
        "/* tables */ SELECT DISTINCT hex(coalesce(t.raw, t.value)) AS name FROM mine "
        "JOIN path p ON p.event = mine.event_id JOIN file f ON f.id = p.file "
        "JOIN text t ON t.id = f.name WHERE f.nametype = 'CREATE'"
    )
    assert {bytes.fromhex(row["name"]) for row in raw} == {*NAMES, b"renamed"}

    started = recorded.of(syscall="execve", success=1)
    assert started[-1]["argv"] == [str(programs["names"]), *map(shown, NAMES)]


def test_exec_with_5000_long_arguments(record: Callable[[str], Recorded]) -> None:
    """Every one of 5,000 long arguments is in argv, with empty, quoted and invalid ones between."""
    recorded = record("long arguments")
    (row,) = recorded.of(syscall="execve", success=1)
    assert row["argv"] == ["/bin/true", *map(shown, LONG_ARGUMENTS)]
    assert (row["state"], row["exit"]) == ("complete", 0)
    (raw,) = recorded.query(
        "/* tables */ SELECT hex(t.raw) AS raw FROM mine JOIN exec e ON e.event = mine.event_id "
        "JOIN text t ON t.id = e.argv WHERE mine.syscall = 'execve'"
    )
    assert bytes.fromhex(raw["raw"]).split(b"\0") == [b"/bin/true", *LONG_ARGUMENTS]


@pytest.mark.parametrize("name", FILLERS)
def test_exec_with_one_huge_argument(record: Callable[[str], Recorded], name: str) -> None:
    """An argument of 120,000 bytes, which the kernel cuts into many records, is whole."""
    recorded = record(f"huge {name}")
    (row,) = recorded.of(syscall="execve", success=1)
    assert row["argv"] == ["/bin/true", "before", shown(HUGE[name]), "after"]


def test_proctitle_shows_spaces(record: Callable[[str], Recorded]) -> None:
    """The title is the arguments with a space where the kernel has NUL, cut at 128 bytes.

    The kernel keeps the title of a task's first event, also after execve; so this one is of
    a new task whose first event comes after its execve.
    """
    titles = record("titles").of(comm="true")
    whole = f"/bin/true first {'x' * 200}"
    assert [row["proctitle"] for row in titles] == [whole[: len(titles[0]["proctitle"])]]
    assert 120 < len(titles[0]["proctitle"]) <= 128


def test_32_bit_program(record: Callable[[str], Recorded]) -> None:
    """A 32-bit program's calls bear i386's names, not those of the same numbers on x86_64."""
    recorded = record("i386")
    (fork,) = recorded.of(syscall="fork", arch="i386")
    child = recorded.of(pid=fork["exit"])
    assert {row["arch"] for row in child} == {"i386"}
    assert " ".join(row["syscall"] for row in child) == (
        "getpid getppid getuid32 open write lseek _llseek pread64 read fstat64 mmap2 brk close "
        "unlink access socketcall close socket close exit"
    )
    by_name = {row["syscall"]: row for row in child}
    assert by_name["getpid"]["exit"] == fork["exit"]
    assert by_name["getppid"]["exit"] == fork["pid"]
    assert by_name["write"]["exit"] == 16
    assert (by_name["lseek"]["a1"], by_name["lseek"]["exit"]) == ("fffffffc", 12)
    assert (by_name["read"]["success"], by_name["read"]["exit"]) == (0, -errno.EBADF)
    assert by_name["mmap2"]["success"] == 1
    assert (by_name["exit"]["state"], by_name["exit"]["a0"]) == ("no_exit", "7")
    ((row, fields),) = recorded.records("SOCKETCALL")
    assert row["syscall"] == "socketcall"
    assert [str(fields[name]) for name in ("nargs", "a0", "a1", "a2")] == ["3", "1", "1", "0"]
    names = recorded.query(
        "SELECT mine.syscall, p.nametype FROM mine JOIN paths p USING (event_id) "
        f"WHERE p.name = '{recorded.ran.folder}/thirty-two' ORDER BY mine.serial"
    )
    assert [(row["syscall"], row["nametype"]) for row in names] == [
        ("open", "CREATE"),
        ("unlink", "DELETE"),
        ("access", "UNKNOWN"),
    ]


@pytest.mark.parametrize(
    ("case", "call", "status"), [("exit", "exit", 3), ("group", "exit_group", 4)]
)
def test_calls_that_do_not_return(
    record: Callable[[str], Recorded], case: str, call: str, status: int
) -> None:
    """Exit and exit_group are rows without a result, the last ones of their process."""
    recorded = record(case)
    last = recorded.rows[-1]
    assert (last["syscall"], last["a0"], last["state"]) == (call, str(status), "no_exit")
    assert last["success"] is None
    assert last["exit"] is None
    assert recorded.of(state="no_exit") == [last]


def test_killed_inside_a_call(record: Callable[[str], Recorded]) -> None:
    """A task killed in pause() leaves that call as its last row, and kill() names its target."""
    recorded = record("killed")
    (pause,) = recorded.of(syscall="pause")
    assert recorded.of(pid=pause["pid"])[-1] == pause
    # The signal wakes the call before it kills: the kernel logs its end as EINTR.
    assert (pause["success"], pause["exit"]) == (0, -errno.EINTR)
    (kill,) = recorded.of(syscall="kill")
    assert (kill["exit"], int(kill["a0"], 16), kill["a1"]) == (0, pause["pid"], "9")
    targets = [fields for row, fields in recorded.records("OBJ_PID") if row == kill]
    assert [str(fields["opid"]) for fields in targets] == [str(pause["pid"])]


def test_killed_by_seccomp(record: Callable[[str], Recorded]) -> None:
    """A call that seccomp kills for never begins: an event SECCOMP stands in place of its row."""
    recorded = record("seccomp")
    assert recorded.rows[-1]["syscall"] == "prctl"
    (event,) = recorded.service.query(
        f"SELECT pid, fields FROM events WHERE type = 'SECCOMP' AND auid = {recorded.auid}"
    )
    fields = as_json(event["fields"])
    assert event["pid"] == recorded.rows[-1]["pid"]
    assert (str(fields["syscall"]), str(fields["sig"])) == ("110", str(int(signal.SIGKILL)))


def test_threads_killed_by_exit_group(record: Callable[[str], Recorded]) -> None:
    """When one thread calls exit_group, the calls that its siblings were in are rows too."""
    recorded = record("siblings")
    assert len({row["pid"] for row in recorded.rows}) == 1
    reads = recorded.of(syscall="read", a2="1", exit=-errno.EINTR)
    assert len(reads) == 3
    assert len(recorded.of(syscall="exit_group", state="no_exit")) == 1


@pytest.mark.parametrize(
    ("case", "calls"),
    [
        ("restart", [("read", -errno.EINTR), ("read", 1)]),
        ("interrupt", [("nanosleep", -errno.EINTR)]),
        ("resume", [("nanosleep", -errno.EINTR), ("restart_syscall", 0)]),
    ],
)
def test_interrupted_calls(
    record: Callable[[str], Recorded],
    case: str,
    calls: list[tuple[str, int]],
) -> None:
    """An interrupted call is a row with EINTR; its second try is another row."""
    recorded = record(case)
    *earlier, interrupted = recorded.of(syscall=calls[0][0], exit=-errno.EINTR)
    assert not earlier or case == "resume"  # which begins again on a busy host
    following = recorded.of(pid=interrupted["pid"])
    following = following[following.index(interrupted) :]
    names = {name for name, _ in calls}
    assert [(row["syscall"], row["exit"]) for row in following if row["syscall"] in names] == calls


def test_time_is_when_the_call_began(record: Callable[[str], Recorded]) -> None:
    """A row's time is UTC and that of the call's entry, in the kernel's steps (10 ms at most)."""
    recorded = record("interrupt")
    before, after = recorded.ran.before - timedelta(milliseconds=20), recorded.ran.after
    rows = recorded.of(pid=recorded.rows[0]["pid"])
    times = [datetime.fromisoformat(row["time"]).replace(tzinfo=UTC) for row in rows]
    assert times == sorted(times)
    assert before < times[0] <= times[-1] < after
    (slept,) = (n for n, row in enumerate(rows) if row["syscall"] == "nanosleep")
    # It sleeps for 200 ms at least before its child, which has seen it sleep, interrupts it.
    (kill,) = recorded.of(syscall="kill")
    woken = datetime.fromisoformat(kill["time"]).replace(tzinfo=UTC)
    assert times[slept - 1] <= times[slept] <= woken - timedelta(milliseconds=190)
    assert times[slept + 1] - times[slept] >= timedelta(milliseconds=190)


def test_threads_share_a_pid(record: Callable[[str], Recorded]) -> None:
    """Calls of all threads stand under the process, none is missing."""
    recorded = record("threads")
    calls = recorded.of(syscall="lseek", exit=-errno.EBADF)
    assert len({row["pid"] for row in recorded.rows}) == 1
    assert Counter((row["a0"], int(row["a1"], 16)) for row in calls) == Counter(
        (f"{2**64 - 1 - thread:x}", number) for thread in range(3) for number in range(1000)
    )


def test_tree_of_processes(record: Callable[[str], Recorded]) -> None:
    """Fork, vfork, clone and clone3: who made whom is told by ppid and by the call's result."""
    recorded = record("forks")
    made = {way: int(pid) for way, pid in re.findall(r"(\w+) (\d+)", recorded.ran.output)}
    root = recorded.rows[0]["pid"]
    parents = dict.fromkeys(made, root) | {"grandchild": made["fork"]}
    for way, pid in made.items():
        rows = recorded.of(pid=pid)
        assert {row["ppid"] for row in rows} == {parents[way]}, way
        call = "fork" if way == "grandchild" else way
        (maker,) = recorded.of(pid=parents[way], syscall=call, exit=pid)
        assert maker["success"] == 1
        assert rows[-1]["syscall"] == "exit_group"
    codes = {"grandchild": 20, "fork": 21, "clone": 23, "clone3": 24, "vfork": 0}
    assert {way: int(recorded.of(pid=pid)[-1]["a0"], 16) for way, pid in made.items()} == codes
    (vforked,) = recorded.of(pid=made["vfork"], syscall="execve")
    assert (vforked["argv"], vforked["comm"]) == (["vforked"], "true")


def test_sockets_of_each_family(record: Callable[[str], Recorded]) -> None:
    """Addresses of each family, for bind, connect and sendto alike."""
    recorded = record("sockets")
    path = recorded.ran.folder / "a socket"
    found = recorded.query(
        "SELECT mine.syscall, s.family, s.address, s.port, s.path FROM mine "
        "JOIN sockaddrs s USING (event_id) ORDER BY mine.serial"
    )
    loopback = socket.if_nametoindex("lo")
    addresses = [
        ("inet", "127.0.0.1", 40404, None),
        ("inet6", "::1", 40404, None),
        ("unix", None, None, str(path)),
        ("unix", None, None, "@live test"),
        ("netlink", "1", 0x7FFFFFF0, None),
        ("packet", "02:00:00:00:00:2a", loopback, None),
        ("vsock", "1", 4242, None),
    ]
    assert [tuple(row.values()) for row in found] == [
        (call, *address) for address in addresses for call in ("bind", "connect", "sendto")
    ]


CREATED, DELETED = "CREATE", "DELETE"
RING = (  # number of the operation (enum io_uring_op) and what its PATH records must say
    (18, {CREATED}),  # OPENAT with O_CREAT
    (19, set()),  # CLOSE
    (35, {CREATED, DELETED}),  # RENAMEAT
    (36, {DELETED}),  # UNLINKAT
    (37, {CREATED}),  # MKDIRAT
    (36, {DELETED}),  # UNLINKAT with AT_REMOVEDIR
    (18, set()),  # OPENAT of a missing file
)


@pytest.mark.parametrize("mode", ["inline", "async", "sqpoll"])
def test_io_uring(record: Callable[[str], Recorded], mode: str) -> None:
    """Every logged io_uring operation is there, in order, alone or beside the io_uring_enter."""
    recorded = record(mode)
    pid = recorded.rows[0]["pid"]
    alone = recorded.service.query(
        f"SELECT event_id, serial, type, fields FROM events WHERE type = 'URINGOP' AND pid = {pid}"
    )
    operations = [(row["serial"], row["event_id"], as_json(row["fields"])) for row in alone]
    beside = [(row["serial"], row["event_id"], f) for row, f in recorded.records("URINGOP")]
    assert all(recorded.of(event_id=event)[0]["nr"] == 426 for _, event, _ in beside)
    operations = sorted(operations + beside, key=lambda operation: operation[0])
    numbers = [int(fields["uring_op"]) for _, _, fields in operations]
    if mode == "sqpoll" and numbers[0] == 0:
        operations, numbers = operations[1:], numbers[1:]  # the kernel thread's own first step
    assert numbers == [number for number, _ in RING]
    # Where the operation ran: by itself in a worker or kernel thread, or inside the call.
    assert bool(beside) == (mode == "inline")
    events = ", ".join(str(event) for _, event, _ in operations)
    rows = recorded.service.query(
        f"SELECT event_id, nametype FROM paths WHERE event_id IN ({events})"
    )
    for (_, event, fields), (number, nametypes) in zip(operations, RING, strict=True):
        assert str(fields["pid"]) == str(pid)
        found = {row["nametype"] for row in rows if row["event_id"] == event}
        assert nametypes <= found, (number, rows)
    assert recorded.of(syscall="io_uring_setup", success=1)
