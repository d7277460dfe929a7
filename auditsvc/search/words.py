"""The words of ausearch's options -> values of `Criteria`.

What is no word of an option is a UsageError: ausearch takes everything that contains "yes" or
"no" for -sv, for example, and here `-sv yesterday` is an error.
"""

from __future__ import annotations

import difflib
import grp
import os
import pwd
import re
from typing import TYPE_CHECKING, Final

from auditsvc.errors import UsageError
from auditsvc.record.fields import UNSET as UNSET_IN_LOG
from auditsvc.search.criteria import UNSET
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_NUMBER: Final = re.compile(r"-?[0-9]{1,10}")
_EXIT: Final = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]{1,16}|[0-9]{1,19})")
_YES: Final = ("yes", "success", "1")
_NO: Final = ("no", "failed", "0")
_COMPAT: Final = {"x86_64": "i386", "aarch64": "arm", "ppc64": "ppc", "s390x": "s390"}


def number(option: str, word: str) -> int:
    """Read a number that is not negative."""
    if not re.fullmatch(r"[0-9]{1,19}", word):
        raise UsageError(f"{option} {word}: not a number", "give digits only")
    return int(word)


def arch(word: str) -> int:
    """Read a machine: a name of uname's, b64 or b32 of this machine."""
    machine = os.uname().machine
    name = word.lower()
    if name in ("b64", "b32"):
        wanted = machine if name == "b64" else _COMPAT.get(machine, "")
        found = names.arch_number(wanted)
    else:
        found = names.arch_number(name)
    if found is None:
        raise UsageError(f"--arch {word}: no machine of that name", "try x86_64, aarch64 or b32")
    return found


def this_arch() -> int | None:
    """Give AUDIT_ARCH_* of this machine."""
    return names.arch_number(os.uname().machine)


def exit_code(word: str) -> int:
    """Read a result: a number, or the name of an errno.

    A failed call's result is negative. ausearch looks for +13 if it is asked for EACCES, which
    no call gives for that; here EACCES and -EACCES are both -13.
    """
    if _EXIT.fullmatch(word):
        return int(word, 16 if "x" in word.lower() else 10)
    found = names.errno_number(word.removeprefix("-").upper())
    if found is None:
        raise UsageError(f"-e {word}: neither a number nor an errno", "try EACCES or -13")
    return -found


def success(word: str) -> bool:
    """Read yes or no."""
    name = word.lower()
    if name not in (*_YES, *_NO):
        raise UsageError(f"-sv {word}: neither yes nor no")
    return name in _YES


def types(words: Iterable[str]) -> tuple[str, ...]:
    """Read names or numbers of record types, with commas between them; ALL is no condition."""
    found: dict[str, None] = {}
    for word in (each for given in words for each in re.split(r"[,\s]+", given) if each):
        if word.upper() == "ALL":
            return ()
        number_of = int(word) if _NUMBER.fullmatch(word) else names.record_type_number(word.upper())
        if number_of is None or number_of < 0:
            near = difflib.get_close_matches(word.upper(), names.record_types().values(), 1)
            hint = f"did you mean {near[0]}" if near else "try -m USER_LOGIN,AVC"
            raise UsageError(f"-m {word}: no record type of that name", hint)
        found[names.record_type_name(number_of)] = None
    if not found:
        raise UsageError("-m needs a record type", "try -m USER_LOGIN,AVC")
    return tuple(found)


def user(option: str, word: str) -> int:
    """Read a user: a number, -1 or unset, or a name that this machine knows."""
    return _account(option, word, "user", lambda name: pwd.getpwnam(name).pw_uid)


def group(option: str, word: str) -> int:
    """Read a group, in the same way."""
    return _account(option, word, "group", lambda name: grp.getgrnam(name).gr_gid)


def session(word: str) -> int:
    """Read a session's number; -1 or unset: none."""
    if word == "unset":
        return UNSET
    return _id("--session", word)


def _id(option: str, word: str) -> int:
    if not _NUMBER.fullmatch(word):
        raise UsageError(f"{option} {word}: not a number", "give digits, or -1 for unset")
    value = int(word)
    return UNSET if value in (UNSET, UNSET_IN_LOG) else value


def _account(option: str, word: str, kind: str, number_of: Callable[[str], int]) -> int:
    if word == "unset":
        return UNSET
    if _NUMBER.fullmatch(word):
        return _id(option, word)
    try:
        return number_of(word)
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"{option} {word}: this machine knows no such {kind}", "give its number"
        ) from error


def syscall(word: str, machine: int | None) -> tuple[int | None, str | None, int | None]:
    """Read a system call: a number of any machine, or a name of a machine (this one).

    Gives arch, name and number. A name is that of one machine, so that 32-bit calls are found
    with their own --arch; so does ausearch.
    """
    if re.fullmatch(r"[0-9]{1,9}", word):
        return machine, None, int(word)
    of = this_arch() if machine is None else machine
    if of is None or names.syscall_number(of, word) is None:
        raise UsageError(
            f"-sc {word}: no system call of that name", "give its number, or --arch before it"
        )
    return of, word, None
