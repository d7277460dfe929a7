"""Every exception that auditsvc raises on purpose.

The tree:

    AuditsvcError          one line that says what and what to do; exit status 1
    |-- UsageError         a command, option or setting is wrong; exit status 2
    |   |-- ConfigError    in a configuration file or AUDITSVC_* variable
    |   `-- RuleError      in a line of a rule file, with file, line and column
    |-- KernelError        the kernel refused a request, with its errno
    |   |-- IncumbentError another process is the audit daemon
    |   `-- LockedError    audit is locked until reboot (-e 2)
    |-- SpoolError         a spool or log file cannot be read or written
    |-- StoreError         the database refused, or is not a store of auditsvc
    |   |-- ForeignError   it is not a store of auditsvc, or not the known one
    |   |   `-- AbsentError there is no store, or it is empty, and none may be made
    |   |-- ClashError     a dimension's id belongs to other content: pin and read again
    |   |-- SupersededError another program prunes the store
    |   `-- RefusedError   a batch has something that the database cannot store
    |-- EvidenceError      the log cannot be signed, or its heads cannot be read
    |-- ArchiveError       the archive cannot be written or read, or is another store's
    |-- FleetError         the lake of the fleet cannot be reached, or is not as it should be
    |-- JournalError       journald is unavailable, or its journal cannot be read
    |-- QueryError         the user's SQL is wrong
    `-- AlertError         an alert could not be sent

An error has the facts (`what`) and how to fix it (`hint`).
"""

from __future__ import annotations

import re
from typing import Final

_PLAIN: Final = (
    (re.compile("Value error, "), ""),
    (re.compile(r"Input should (?=[a-z])"), "it must "),
    (re.compile(r", unable to parse string as an? [a-z]+"), ""),
    (re.compile(r"be a valid (tuple|list|set)"), 'be a list, as ["one", "two"]'),
    (re.compile(r"Input is not a valid path for .*"), "it must be a path"),
)


def plain(message: str) -> str:
    """Give a message of pydantic about a wrong value in words for who wrote that value."""
    for pattern, words in _PLAIN:
        message = pattern.sub(words, message)
    return message


def of_system(error: OSError, where: object = "") -> str:
    """Give what the system refused in words: `PATH: REASON`, or the reason alone.

    A write that fails names no file (`filename` is None); then `where` is named, if it is given.
    """
    place = where if error.filename is None else error.filename
    reason = error.strerror or str(error)
    return f"{place}: {reason}" if place not in ("", None) else reason


class AuditsvcError(Exception):
    """An expected failure; `str()` gives the one line that the user reads."""

    status = 1

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        line = f"{self.what}; {self.hint}" if self.hint else self.what
        return " ".join(line.split())


class UsageError(AuditsvcError):
    """The command line or a setting is wrong."""

    status = 2


class ConfigError(UsageError):
    """A configuration file or an AUDITSVC_* variable is wrong."""


class RuleError(UsageError):
    """A rule's text is wrong."""


class KernelError(AuditsvcError):
    """The kernel refused a request; `errno` is its answer (0 if none)."""

    def __init__(self, what: str, hint: str = "", errno: int = 0) -> None:
        super().__init__(what, hint)
        self.errno = errno


class IncumbentError(KernelError):
    """Another process is registered as the audit daemon; `pid` is its tgid."""

    def __init__(self, what: str, hint: str = "", errno: int = 0, pid: int = 0) -> None:
        super().__init__(what, hint, errno)
        self.pid = pid


class LockedError(KernelError):
    """Audit's configuration is locked until the next boot."""


class SpoolError(AuditsvcError):
    """A spool segment or a log file cannot be read or written.

    `written`: how many lines of a failed append were nevertheless written.
    """

    def __init__(self, what: str, hint: str = "", *, written: int = 0) -> None:
        super().__init__(what, hint)
        self.written = written


class StoreError(AuditsvcError):
    """The database refused, or is not a store of auditsvc.

    Nothing of the transaction was stored. `retryable`: the error may be temporary (a
    lost connection, a locked database); read again from the checkpoint.
    """

    def __init__(self, what: str, hint: str = "", *, retryable: bool = False) -> None:
        super().__init__(what, hint)
        self.retryable = retryable


class ForeignError(StoreError):
    """It is another program's database, another store, or others may change it."""


class AbsentError(ForeignError):
    """There is no store, or it is empty, and none may be made."""


class ClashError(StoreError):
    """Ids of dimension rows belong to other content; nothing of the batch was stored.

    `pins` are (table, content, id), for `Decoder.pin`. A new decoder, given these
    and every earlier pin, and then the input from the checkpoint on, makes the
    correct batch.
    """

    def __init__(self, pins: list[tuple[str, tuple[object, ...], int]]) -> None:
        super().__init__(
            f"ids of dimension rows belong to other content ({len(pins)})",
            "pin them and read again from the checkpoint",
            retryable=True,
        )
        self.pins = pins


class SupersededError(StoreError):
    """Another program has begun to prune the store."""


class RefusedError(StoreError):
    """A batch has something in it that the database cannot hold, however often it is tried."""


class TooMuchError(StoreError):
    """What was asked for at once has more bytes than there is room for: ask for fewer rows."""


class EvidenceError(AuditsvcError):
    """Heads of the log cannot be signed, written or read."""


class ArchiveError(AuditsvcError):
    """The archive cannot be written or read, or is that of another store."""


class FleetError(AuditsvcError):
    """The lake of the fleet, or what is in it."""


class JournalError(AuditsvcError):
    """The systemd journal is unavailable or cannot be read; no event is lost."""


class QueryError(AuditsvcError):
    """The user's SQL cannot run."""


class AlertError(AuditsvcError):
    """An alert could not be sent by one channel."""
