"""What is recorded of an access: what was asked, by whom, and how it ended; bounded texts."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.host.terminal import encodable
from auditsvc.host.users import Users
from auditsvc.record.daemon import actor
from auditsvc.record.fields import UNSET

if TYPE_CHECKING:
    from typing import Self

MOST_SQL: Final = 16_384
MOST_OPTIONS: Final = 4096
MOST_WORDS: Final = 300
"""Characters of a text that are recorded; how many were left out stands at its end."""

DONE: Final = "done"
INTERRUPTED: Final = "interrupted"
UNKNOWN: Final = "unknown"
"""The process ended, or the service stopped, before the access had ended."""
FAILED: Final = "failed: "


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: the command, its options as they were typed, and its SQL if it has one."""

    command: str
    options: str
    sql: str | None
    store: str
    """The name of the store, without a password."""

    def to_json(self) -> dict[str, Any]:
        """Give it as values of JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Self:
        """Read what another process sent; ValueError, TypeError or KeyError if it is not that."""
        command, options, store = (str(given[name]) for name in ("command", "options", "store"))
        sql = given["sql"]
        if not (command.isascii() and command.isidentifier()) or len(command) > 40:
            raise ValueError(command)
        return cls(
            command,
            bounded(options, MOST_OPTIONS),
            None if sql is None else bounded(str(sql), MOST_SQL),
            bounded(store, MOST_WORDS),
        )


@dataclass(frozen=True, slots=True)
class Ended:
    """How an access ended; `rows` were given, None if that is not known."""

    rows: int | None
    how: str

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Self:
        """Read what another process sent; ValueError, TypeError or KeyError if it is not that."""
        rows = given["rows"]
        if rows is not None and not 0 <= int(rows) < 1 << 62:
            raise ValueError(rows)
        return cls(None if rows is None else int(rows), bounded(str(given["how"]), MOST_WORDS))


@dataclass(frozen=True, slots=True)
class Reader:
    """This process, as it says itself; None: not set, or no name."""

    host: str
    pid: int
    uid: int | None
    auid: int | None
    ses: int | None
    name: str | None


def this_reader(host: str) -> Reader:
    """Describe this process."""
    who = actor(os.getpid(), os.getuid())
    uid, auid, ses = (None if each == UNSET else each for each in (who.uid, who.auid, who.ses))
    return Reader(host, who.pid, uid, auid, ses, user_name(who.uid))


@cache
def _users() -> Users:
    return Users()


def user_name(uid: int) -> str | None:
    """Give the name in /etc/passwd: a directory server could be away."""
    _users().refresh()
    return _users().name(uid)


def bounded(text: str, most: int) -> str:
    """Give at most `most` characters, and how many more there were."""
    if len(text) <= most:
        return text
    return f"{text[:most]} (and {len(text) - most} more characters)"


def storable(value: object) -> object:
    """Give a value that every database takes: words of a command line may be any bytes."""
    return encodable(value).replace("\0", "\\x00") if isinstance(value, str) else value


def make_id(now_ns: int | None = None) -> tuple[int, int]:
    """Make an id like that of an event of this moment, with the millisecond."""
    now = time.time_ns() if now_ns is None else now_ns
    second, rest = divmod(now, 1_000_000_000)
    return (second << SERIAL_BITS) | secrets.randbits(SERIAL_BITS), rest // 1_000_000
