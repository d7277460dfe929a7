"""Logs that are made: the same bytes in every run, at any length, without being held in memory.

* `plain`: three records an event (SYSCALL, PROCTITLE, EOE), no paths.
* `mixed`: what a busy host writes: calls with and without paths, execs, sockets, logins;
  the events of two CPUs by turns, so that their records interleave.

Processes come and go as on a host: eight run at a time, each makes some hundred calls,
then another takes its place. A decoder meets a new process context each time.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SEED: Final = 20090401
BEGIN: Final = 1_700_000_000
_RATE: Final = 50_000  # events a second of the log's own time
_POOL: Final = 20_000  # different calls, paths and addresses
_LIFE: Final = {"plain": 1000, "mixed": 300}  # calls a process makes
_PROGRAMS: Final = 300
_BLOCK: Final = 1000
_CALLS: Final = (0, 1, 3, 5, 9, 10, 11, 13, 257, 262, 39, 59, 61, 231, 202, 72, 4, 21, 12, 16, 14)


@dataclass(frozen=True, slots=True)
class Log:
    """A made log on disk."""

    name: str
    path: Path
    records: int
    events: int
    size: int
    """Bytes."""


def make(name: str, records: int, path: Path) -> Log:
    """Write a log of about so many records."""
    events = size = lines = 0
    with path.open("wb") as stream:
        for data, made in blocks(name, records):
            stream.write(data)
            events += made
            size += len(data)
            lines += data.count(b"\n")
    return Log(name, path, lines, events, size)


def blocks(name: str, records: int) -> Iterator[tuple[bytes, int]]:
    """Give whole events as bytes, and how many they are, until there are so many records."""
    maker = {"plain": _plain, "mixed": _mixed}[name](random.Random(SEED))
    serial = lines = 0
    while lines < records:
        parts: list[bytes] = []
        before = serial
        while serial - before < _BLOCK:
            serial += maker(serial, parts)
        data = b"".join(parts)
        lines += data.count(b"\n")
        yield data, serial - before


def _stamp(serial: int) -> bytes:
    second, part = divmod(serial, _RATE)
    return b"audit(%d.%03d:%d): " % (BEGIN + second, part * 1000 // _RATE, serial + 1)


class _Processes:
    """Eight that run; each is what stands behind a SYSCALL's own part, PROCTITLE and CWD."""

    def __init__(self, chance: random.Random, life: int) -> None:
        self._chance = chance
        self._life = life
        self._pid = 1000
        self._running = [self._born() for _ in range(8)]

    def _born(self) -> tuple[bytes, bytes, bytes]:
        self._pid += 1
        program = b"program%d" % (self._pid % _PROGRAMS)
        user = 1000 + self._pid % 20
        tail = (
            b" ppid=%d pid=%d auid=%d uid=%d gid=%d euid=%d suid=%d fsuid=%d egid=%d sgid=%d"
            b' fsgid=%d tty=pts0 ses=3 comm="%b" exe="/usr/bin/%b" subj=unconfined key="all"\n'
            % (900, self._pid, *[user] * 9, program, program)
        )
        title = b"/usr/bin/%b\0--run=%d" % (program, self._pid % 50)
        cwd = b'cwd="/home/user%d/work"\n' % (self._pid % 20)
        return tail, b"proctitle=" + title.hex().upper().encode() + b"\n", cwd

    def draw(self, serial: int) -> tuple[bytes, bytes, bytes]:
        if serial % self._life == 0:
            self._running[self._chance.randrange(8)] = self._born()
        return self._running[serial * 2654435761 >> 7 & 7]


def _call(chance: random.Random, items: int, nr: int | None = None) -> bytes:
    failed = chance.random() < 0.08
    return b"arch=c000003e syscall=%d success=%b exit=%d a0=%x a1=%x a2=%x a3=%x items=%d" % (
        chance.choice(_CALLS) if nr is None else nr,
        b"no" if failed else b"yes",
        -2 if failed else chance.randrange(4096),
        chance.choice((3, 4, 5, 0x7FFE00001000)),
        0x7F0000000000 + chance.randrange(1 << 28),
        chance.randrange(4096),
        0,
        items,
    )


def _plain(chance: random.Random) -> Callable[[int, list[bytes]], int]:
    calls = [_call(chance, 0) for _ in range(_POOL)]
    processes = _Processes(chance, _LIFE["plain"])

    def make_one(serial: int, parts: list[bytes]) -> int:
        stamp = _stamp(serial)
        tail, title, _ = processes.draw(serial)
        parts += (
            b"type=SYSCALL msg=", stamp, calls[serial * 7919 % _POOL], tail,
            b"type=PROCTITLE msg=", stamp, title,
            b"type=EOE msg=", stamp, b"\n",
        )  # fmt: skip
        return 1

    return make_one


def _mixed(  # noqa: C901 - one case a kind of event
    chance: random.Random,
) -> Callable[[int, list[bytes]], int]:
    """Of 20 events 11 have no path, 6 have one or two, 1 is an exec, 1 a socket, 1 a login."""

    def path(item: int, name: bytes, kind: bytes) -> bytes:
        return (
            b'item=%d name="%b" inode=%d dev=fe:00 mode=0100644 ouid=0 ogid=0 rdev=00:00'
            b" nametype=%b cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0\n"
            % (item, name, chance.randrange(1 << 20), kind)
        )

    bare = [_call(chance, 0) for _ in range(_POOL)]
    opens = [_call(chance, 1, 257) for _ in range(_POOL)]
    renames = [_call(chance, 2, 263) for _ in range(_POOL)]
    execs = [_call(chance, 2, 59) for _ in range(_POOL)]
    connects = [_call(chance, 0, 42) for _ in range(_POOL)]
    files = [path(0, b"/usr/share/doc/file%d" % n, b"NORMAL") for n in range(_POOL)]
    parents = [path(0, b"/var/lib/d%d/" % (n % 500), b"PARENT") for n in range(_POOL)]
    removed = [path(1, b"/var/lib/d%d/f%d" % (n % 500, n), b"DELETE") for n in range(_POOL)]
    loaders = [path(1, b"/lib64/ld-linux-x86-64.so.2", b"NORMAL")]
    arguments = [
        b'argc=3 a0="program%d" a1="--run" a2="%d"\n' % (n % _PROGRAMS, n) for n in range(_POOL)
    ]
    addresses = [b"saddr=0200%04X0A00%04X0000000000000000\n" % (n & 1023, n) for n in range(_POOL)]
    login = (
        b"pid=700 uid=0 auid=1000 ses=3 subj=unconfined msg='op=login id=1000"
        b' exe="/usr/sbin/sshd" hostname=10.0.0.9 addr=10.0.0.9 terminal=/dev/pts/0 res=success\'\n'
    )
    processes = _Processes(chance, _LIFE["mixed"])
    # Some files are used all the time and most of them seldom: half of all uses fall on a
    # sixteenth of the pool.
    common = [int(_POOL * chance.random() ** 4) for _ in range(1 << 16)]

    def event(serial: int) -> list[tuple[bytes, bytes]]:
        """Give one event's records: type and what follows the stamp."""
        tail, title, there = processes.draw(serial)
        n = common[serial * 7919 & 0xFFFF]
        which = serial * 2654435761 >> 5 & 1023
        cwd = (b"CWD", there)
        end = [(b"PROCTITLE", title), (b"EOE", b"\n")]
        if which < 563:
            return [(b"SYSCALL", bare[n] + tail), *end]
        if which < 768:
            return [(b"SYSCALL", opens[n] + tail), cwd, (b"PATH", files[n]), *end]
        if which < 870:
            both = [(b"PATH", parents[n]), (b"PATH", removed[n])]
            return [(b"SYSCALL", renames[n] + tail), cwd, *both, *end]
        if which < 921:
            both = [(b"PATH", files[n]), (b"PATH", loaders[0])]
            argv = (b"EXECVE", arguments[n])
            return [(b"SYSCALL", execs[n] + tail), argv, cwd, *both, *end]
        if which < 972:
            return [(b"SYSCALL", connects[n] + tail), (b"SOCKADDR", addresses[n]), *end]
        return [(b"USER_LOGIN", login)]

    def make_two(serial: int, parts: list[bytes]) -> int:
        streams = [(_stamp(n), iter(event(n))) for n in (serial, serial + 1)]
        while streams:
            for each in list(streams):
                record = next(each[1], None)
                if record is None:
                    streams.remove(each)
                else:
                    parts += (b"type=", record[0], b" msg=", each[0], record[1])
        return 2

    return make_two
