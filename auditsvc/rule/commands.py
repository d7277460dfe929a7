"""The commands of rule files: one for each line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from auditsvc.rule.model import Rule

Setting = Literal[
    "enabled",
    "failure",
    "rate_limit",
    "backlog_limit",
    "backlog_wait_time",
    "loginuid_immutable",
]
Counter = Literal["lost", "backlog_wait_time_actual"]


@dataclass(frozen=True, slots=True)
class Add:
    """-a, -A (prepend) or -w: add a rule."""

    rule: Rule
    prepend: bool = False


@dataclass(frozen=True, slots=True)
class Delete:
    """-d or -W: delete the rule that is equal to this one."""

    rule: Rule


@dataclass(frozen=True, slots=True)
class DeleteAll:
    """-D: delete all rules, or with -k those with a key that contains `key`."""

    key: str | None = None


@dataclass(frozen=True, slots=True)
class Set:
    """-e, -f, -r, -b, --backlog_wait_time, --loginuid-immutable: change a kernel setting."""

    name: Setting
    value: int


@dataclass(frozen=True, slots=True)
class Reset:
    """--reset-lost, --reset_backlog_wait_time_actual: set a counter to 0."""

    counter: Counter


@dataclass(frozen=True, slots=True)
class OnError:
    """-i (`ignore` errors) and -c (`continue` after errors, and fail at the end)."""

    mode: Literal["ignore", "continue"]


@dataclass(frozen=True, slots=True)
class Trim:
    """-t: remove watched subtrees that are no longer mounted."""


@dataclass(frozen=True, slots=True)
class MakeEquivalent:
    """-q MOUNT,SUBTREE: watch SUBTREE as part of the watched MOUNT."""

    mount: str
    subtree: str


Command = Add | Delete | DeleteAll | Set | Reset | OnError | Trim | MakeEquivalent


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a rule file: its number (from 1), text and command."""

    filename: str
    number: int
    text: str
    command: Command
