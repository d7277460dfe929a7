"""The comparison of rows with strace's calls: permitted differences pass, all others fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from live.compare import (
    BEFORE_LOGINUID,
    KILLED_AT_ENTRY,
    SECCOMP,
    Comparison,
    DisagreementError,
    compare,
    compare_process,
)
from live.strace_log import Call, parse

Row = dict[str, Any]


def call(name: str = "lseek", tid: int = 10, **values: Any) -> Call:
    """Make a call that returned; lseek(1, 2, 3) = 4 unless told."""
    made = Call(
        tid=tid, arch="x86_64", nr=8, name=name, args=(1, 2, 3), result=4, finished=True, line=1
    )
    return replace(made, **values)


def row(serial: int = 1, **values: Any) -> Row:
    """Make the row that equals `call()`."""
    made: Row = {
        "serial": serial,
        "pid": 10,
        "arch": "x86_64",
        "nr": 8,
        "syscall": "lseek",
        "a0": "1",
        "a1": "2",
        "a2": "3",
        "a3": "ffffffffffffffff",
        "success": 1,
        "exit": 4,
        "state": "complete",
    }
    return made | values


def explained(one: Call, other: Row) -> list[str]:
    """Names of the differences between one call and one row."""
    return sorted(compare_process([other], [[one]]).explained)


def test_equal() -> None:
    """Equal in all that strace shows; the register it does not show is counted."""
    result = compare_process([row()], [[call()]])
    assert (result.compared, result.unread, result.explained) == (1, 1, {})


@pytest.mark.parametrize(
    "values",
    [
        {"arch": "i386"},
        {"nr": 9},
        {"syscall": "mmap"},
        {"syscall": None},
        {"a0": "2"},
        {"a1": "ffffffff00000002"},
        {"a2": "0"},
        {"exit": 5},
        {"exit": -4, "success": 0},
        {"success": 0},
        {"success": None},
        {"state": "partial"},
        {"state": "no_exit", "exit": None, "success": None},
    ],
)
def test_every_column_counts(values: Row) -> None:
    """A difference in any column, and of no named kind, fails."""
    with pytest.raises(DisagreementError):
        compare_process([row(**values)], [[call()]])


def test_missing_extra_and_swapped() -> None:
    """A row too few, a row too many, and two rows in the wrong order fail."""
    calls = [call(result=number) for number in range(3)]
    rows = [row(number, exit=number) for number in range(3)]
    assert compare_process(rows, [calls]).compared == 3
    wrong = (rows[:2], rows[1:], [*rows, row(9)], [rows[1], rows[0], rows[2]], [])
    for those in wrong:
        with pytest.raises(DisagreementError):
            compare_process(those, [calls])


def test_threads_are_shuffled_but_ordered() -> None:
    """Rows may mix the threads in any way, but each thread's calls keep their order."""
    one = [call(result=number) for number in (1, 2, 1, 3)]
    two = [call(tid=11, result=number) for number in (1, 2, 4)]
    # Greedy matching gets lost here: which thread made the first calls shows only later.
    exits = [1, 1, 2, 2, 4, 1, 3]
    assert compare_process([row(exit=value) for value in exits], [one, two]).compared == 7
    # Too few, too many, and a call before the one that its thread made first.
    for wrong in (exits[:-1], [*exits, 3], [4, 1, 2, 1, 2, 1, 3]):
        with pytest.raises(DisagreementError):
            compare_process([row(exit=value) for value in wrong], [one, two])


def test_interrupted() -> None:
    """-ERESTART* is EINTR in a row, and nothing else is."""
    assert explained(call(result=-512), row(exit=-4, success=0)) == ["interrupted"]
    assert explained(call(result=-4), row(exit=-4, success=0)) == []
    for other in ({"exit": -5, "success": 0}, {"exit": -4, "success": 1}):
        with pytest.raises(DisagreementError):
            explained(call(result=-512), row(**other))


def test_died_in_the_call() -> None:
    """A call that strace saw no end of is EINTR in a row; only exit and exit_group have none."""
    assert explained(call(result=None), row(exit=-4, success=0)) == ["died in the call"]
    no_exit = {"exit": None, "success": None, "state": "no_exit"}
    ending = {"syscall": "exit_group", **no_exit}
    assert explained(call("exit_group", result=None), row(**ending)) == []
    for one, other in (
        (call(result=None), row(exit=0)),
        (call("exit_group", result=None), row(syscall="exit_group", exit=-4, success=0)),
    ):
        with pytest.raises(DisagreementError):
            explained(one, other)


def test_killed_at_entry() -> None:
    """A call that never ended may have no row; one that ended must."""
    lost = call(result=None, finished=False)
    assert compare_process([row()], [[call(), lost]]).explained == {KILLED_AT_ENTRY: 1}
    assert compare_process([], [[lost]]).compared == 0
    with pytest.raises(DisagreementError):
        compare_process([row()], [[call(), call(result=None)]])


def test_killed_by_seccomp() -> None:
    """A call without result and row needs a SECCOMP event of its number."""
    killed = call(result=None)
    assert compare_process([], [[killed]], {8}).explained == {SECCOMP: 1}
    for refused in ((), {9}):
        with pytest.raises(DisagreementError):
            compare_process([], [[killed]], refused)
    with pytest.raises(DisagreementError):
        compare_process([], [[call()]], {8})


def test_names() -> None:
    """Aliases hold for one machine's one name; a number without a call has no name."""
    assert explained(call("pread64"), row(syscall="pread")) == ["alias"]
    with pytest.raises(DisagreementError):
        explained(call("pread64", arch="i386"), row(syscall="pread", arch="i386"))
    unknown = call("syscall_0x3e8", nr=1000, result=-38)
    same = {"nr": 1000, "exit": -38, "success": 0}
    assert explained(unknown, row(syscall=None, **same)) == ["number without a call"]
    with pytest.raises(DisagreementError):
        explained(unknown, row(syscall="getpid", **same))


def test_socketcall() -> None:
    """The multiplexer's row must be for the call that strace names."""
    one = call("bind", arch="i386", nr=102, args=(9, 9, 9))
    other = row(arch="i386", nr=102, syscall="socketcall", a0="2")
    assert explained(one, other) == ["socketcall"]
    with pytest.raises(DisagreementError):
        explained(one, other | {"a0": "3"})


def test_clone3() -> None:
    """Only the address of clone3's structure goes uncompared."""
    one = call("clone3", args=(None, 88))
    other = row(syscall="clone3", a0="7ffe", a1="58")
    assert explained(one, other) == ["clone3's structure"]
    with pytest.raises(DisagreementError):
        explained(one, other | {"a1": "59"})


SAMPLE = """\
10  [ 257] openat(0xffffff9c, 0x7f, 0x80001, 0) = 0x3
10  [   1] write(0x3, 0x7f, 0x5) = 0x5
10  [  57] fork() = 0xb
11  [   8] lseek(0x1, 0x2, 0x3) = 0x4
"""


def sample_rows() -> list[Row]:
    """Rows for SAMPLE."""
    write = {"nr": 1, "syscall": "write", "a0": "3", "a1": "7f", "a2": "5", "exit": 5}
    fork = {"nr": 57, "syscall": "fork", "exit": 11}
    return [row(5, **write), row(6, **fork), row(7, pid=11, ppid=10)]


def test_whole_log() -> None:
    """Calls before the login uid have no rows; all others are compared by process."""
    log = parse(SAMPLE.splitlines())
    result = compare(log, reversed(sample_rows()))
    assert (result.compared, result.processes) == (3, 2)
    assert result.explained == {BEFORE_LOGINUID: 1}
    assert "3 calls of 2 processes" in str(result)
    total = Comparison()
    total += result
    total += result
    assert (total.compared, total.explained) == (6, {BEFORE_LOGINUID: 2})


def test_strangers_and_missing_processes() -> None:
    """Rows of a process that strace did not see, or a process without rows, fail."""
    log = parse(SAMPLE.splitlines())
    with pytest.raises(DisagreementError, match="did not see"):
        compare(log, [*sample_rows(), row(8, pid=12)])
    with pytest.raises(DisagreementError):
        compare(log, sample_rows()[:2])


def test_parents() -> None:
    """A process that another one made must bear its ppid."""
    log = parse(SAMPLE.splitlines())
    rows = sample_rows()
    rows[-1]["ppid"] = 1
    with pytest.raises(DisagreementError, match="was made by 10"):
        compare(log, rows)
