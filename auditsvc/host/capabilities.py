"""Capabilities of this process (capabilities(7)): all but a few are dropped, and none come back.

They belong to each thread; a new thread or child has those of the thread that makes it. So a
process drops them before it makes threads, and a thread that needs fewer drops the others at its
beginning. That guards against mistakes (a path, a link, an address that an attacker chose), not
against code of an attacker in this process: threads share one memory.

Nothing here fails where it is not permitted: without a capability there is none to drop.
"""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


class Capability(IntEnum):
    """Those that this program knows (include/uapi/linux/capability.h)."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    DAC_READ_SEARCH = 2
    SETGID = 6
    SETUID = 7
    SETPCAP = 8
    NET_ADMIN = 12
    IPC_LOCK = 14
    SYS_PTRACE = 19
    SYS_RESOURCE = 24
    AUDIT_WRITE = 29
    AUDIT_CONTROL = 30
    AUDIT_READ = 37


_VERSION: Final = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_PR_SET_KEEPCAPS: Final = 8  # include/uapi/linux/prctl.h
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_AMBIENT_RAISE: Final = 2
_AMBIENT_CLEAR: Final = 4
_WORD: Final = 32
_NUMBERS: Final = range(2 * _WORD)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def held() -> frozenset[int]:
    """Numbers of the permitted capabilities of this thread; OSError."""
    data = (_Data * 2)()
    _check(_libc().capget(ctypes.byref(_Header(_VERSION, 0)), ctypes.byref(data)), "capget")
    return frozenset(
        number for number in _NUMBERS if data[number // _WORD].permitted >> number % _WORD & 1
    )


def keep_only(kept: Collection[Capability]) -> None:
    """Drop all others, of this thread and of the programs that it will run, for ever; OSError.

    Programs of this thread get none, as another user, or those that are kept, as root. Nothing
    that is run can have more than that again: also no set-user-ID program.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _ignore_refused(_PR_CAP_AMBIENT, _AMBIENT_CLEAR)
    if Capability.SETPCAP in held():  # else it is as it was given to us
        for number in _NUMBERS:
            if number not in kept:
                _ignore_refused(_PR_CAPBSET_DROP, number)
    _set(kept)


def drop_in_thread(kept: Collection[Capability] = ()) -> None:
    """Drop all others of this thread alone; OSError."""
    _ignore_refused(_PR_CAP_AMBIENT, _AMBIENT_CLEAR)
    _set(kept)


def become(user: int, groups: Collection[int], kept: Collection[Capability]) -> None:
    """Run as this user with these groups, of which the first is its own, and keep only these.

    Before threads are made. OSError; then it may be that nothing or a part was done.
    """
    first = next(iter(groups))
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups(list(groups))
    os.setresgid(first, first, first)
    os.setresuid(user, user, user)
    _set({*kept, Capability.SETPCAP})  # the next step needs it
    keep_only(kept)


@contextmanager
def given_to_children(which: Collection[Capability]) -> Iterator[None]:
    """Let programs that this thread starts in between have these, as far as it has them."""
    own = held()
    given = [each for each in which if each in own]
    _set_all(own, own, given)
    try:
        for each in given:
            _ignore_refused(_PR_CAP_AMBIENT, _AMBIENT_RAISE, each)
        yield
    finally:
        _ignore_refused(_PR_CAP_AMBIENT, _AMBIENT_CLEAR)
        _set_all(own, own, ())


def _set(kept: Collection[Capability]) -> None:
    own = held().intersection(kept)
    _set_all(own, own, ())


def _set_all(
    effective: Collection[int], permitted: Collection[int], inheritable: Collection[int]
) -> None:
    """The pid 0 of capset(2) is the calling thread."""
    data = (_Data * 2)()
    for name, numbers in (
        ("effective", effective),
        ("permitted", permitted),
        ("inheritable", inheritable),
    ):
        for number in numbers:
            word = data[number // _WORD]
            setattr(word, name, getattr(word, name) | 1 << number % _WORD)
    if _libc().capset(ctypes.byref(_Header(_VERSION, 0)), ctypes.byref(data)):
        if ctypes.get_errno() == errno.EPERM:  # a filter of system calls: `held` shows it
            return
        _check(-1, "capset")


def _prctl(option: int, *values: int) -> None:
    _check(_call(option, *values), "prctl")


def _ignore_refused(option: int, *values: int) -> None:
    """As `_prctl`, but what is not permitted, or unknown to an older kernel, is left out."""
    if _call(option, *values) and ctypes.get_errno() not in (errno.EPERM, errno.EINVAL):
        _check(-1, "prctl")


def _call(option: int, *values: int) -> int:
    padded = [*values, *[0] * (4 - len(values))]
    result: int = _libc().prctl(option, *(ctypes.c_ulong(each) for each in padded))
    return result


def _check(result: int, name: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
