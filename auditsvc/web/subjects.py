"""What a page of history can be of: a user, a session, a program, a file, an address, ..."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.errors import UsageError
from auditsvc.host.accounts import user_name
from auditsvc.search import words
from auditsvc.search.criteria import UNSET
from auditsvc.search.dialect import literal
from auditsvc.web.calls import calls_of, events_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditsvc.web.asking import Asking
    from auditsvc.web.period import Period

WHO: Final = {"user": "Login user", "session": "Login session"}
WHAT: Final = {
    "program": "Program",
    "file": "File",
    "address": "Address",
    "container": "Container",
    "unit": "systemd unit",
}
EXAMPLES: Final = {
    "user": "mia, 1000, unset",
    "session": "number",
    "program": "/usr/bin/ssh",
    "file": "/etc/shadow",
    "address": "192.0.2.1",
    "container": "id or name",
    "unit": "ssh.service",
}
MOST: Final = 1000
"""Events that are looked at, where no counts by hour are kept."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a page is of; `number` is that of a user or session."""

    kind: str
    value: str
    number: int | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        if self.kind == "user" and self.number is not None:
            known = user_name(self.number) if self.number != UNSET else None
            return f"{known} ({self.number})" if known else self.value
        return self.value

    @property
    def title(self) -> str:
        """Its kind and name."""
        return f"{(WHO | WHAT)[self.kind]} {self.name}"

    @property
    def is_counted(self) -> bool:
        """Whether the view `activity` counts its calls by hour."""
        return self.kind in ("user", "program")

    def narrowed(self) -> dict[str, str]:
        """Give it as a condition of the overview, if that has one."""
        if self.kind == "program":
            return {"exe": self.value}
        if self.kind == "user":
            return {"auid": "unset" if self.number == UNSET else str(self.number)}
        return {}

    def searched(self) -> dict[str, str]:
        """Give it as a condition of the page of events."""
        whole = {"word": "1"}
        return {
            "user": {"loginuid": self.value},
            "session": {"session": self.value},
            "program": {"executable": self.value} | whole,
            "file": {"file": self.value} | whole,
            "address": {"host": self.value} | whole,
        }.get(self.kind, {})


def subject_in(params: Mapping[str, str], kinds: Mapping[str, str]) -> Subject | None:
    """Read an address; None if nothing is named, UsageError if it is not one thing."""
    found = [(kind, params[kind].strip()) for kind in kinds if params.get(kind, "").strip()]
    if not found:
        return None
    if len(found) > 1:
        raise UsageError("more than one thing is named", f"give one of {', '.join(kinds)}")
    ((kind, value),) = found
    number = None
    if kind == "user":
        number = words.user("user", value)
    elif kind == "session":
        number = words.session(value)
    literal(value)  # refuses what no text can be
    return Subject(kind, value, number)


def ids_of(asking: Asking, subject: Subject, period: Period, most: int) -> tuple[list[int], bool]:
    """Give the newest ids of its events in their order, and whether they are all."""
    if subject.kind in ("file", "address"):
        return _named(asking, subject, period, most)
    if subject.kind == "program":
        of_text = (
            f"SELECT t.id FROM text t WHERE t.value = {literal(subject.value)}"  # noqa: S608 - a literal
            f"{asking.dialect.store.indexed.format('t')}"
        )
        return calls_of(
            asking,
            f"SELECT c.id FROM context c WHERE c.exe IN ({of_text})",  # noqa: S608 - as above
            period.span,
            most,
        )
    column = "auid" if subject.kind == "user" else "ses"
    number = UNSET if subject.number is None else subject.number
    is_it = f"{column} IS NULL" if number == UNSET else f"{column} = {number:d}"
    calls, is_all = calls_of(asking, f"SELECT id FROM context WHERE {is_it}", period.span, most)  # noqa: S608 - numbers
    others = events_of(asking, is_it, period.span, most)
    both = sorted([*calls, *others])
    return both[-most:], is_all and len(both) <= most


def _named(asking: Asking, subject: Subject, period: Period, most: int) -> tuple[list[int], bool]:
    view, column = {"file": ("paths", "name"), "address": ("sockaddrs", "address")}[subject.kind]
    where = " AND ".join([f"{column} = {literal(subject.value)}", *period.span.conditions])
    sql = (
        f"SELECT event_id FROM (SELECT DISTINCT event_id FROM {view} WHERE {where}) AS found"  # noqa: S608 - a literal
        f" ORDER BY +event_id DESC LIMIT {most + 1}"
    )
    found = [int(row[0]) for row in asking.rows(sql, most + 1, shown=False).rows]
    return found[:most][::-1], len(found) <= most
