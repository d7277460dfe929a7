"""What sums are grouped by: the day, the hour, the host, the login user."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.errors import UsageError
from auditsvc.report.values import Value, day, hour, unset, user
from auditsvc.store.read.time_span import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from auditsvc.report.choice import Choice
    from auditsvc.report.reader import Reader


@dataclass(frozen=True, slots=True)
class Group:
    """A group: by the event's id, or by a column of who caused it (a format of its table)."""

    name: str
    of_event: str = ""
    of_caller: str = ""
    seconds: int = 0
    """Seconds of a group of times."""

    def parts(self, reader: Reader, choice: Choice) -> Iterator[tuple[Value, Choice]]:
        """Give a choice for each group that can have events, and what the group is called."""
        if not self.seconds:
            for (name,) in reader.rows("SELECT name FROM host ORDER BY name"):
                if not choice.hosts or name in choice.hosts:
                    yield name, replace(choice, hosts=(name,))
            return
        ends = []
        for table in ("syscall", "event"):
            where = " AND ".join(["1 = 1", *choice.times("t.id")])
            sql = f"SELECT min(t.id), max(t.id) FROM {table} t WHERE {where}"  # noqa: S608 - ours
            ends += [each for each in reader.one(sql, choice.values) if each is not None]
        if not ends:
            return
        shown = day if self.name == "day" else hour
        for number in range(self.of_number(min(ends)), self.of_number(max(ends)) + 1):
            low = number * self.seconds
            yield shown(number), choice.within(Span(low, low + self.seconds - 1))

    def of_number(self, event_id: int) -> int:
        """Give the key of a group of times, of an event."""
        return (event_id >> SERIAL_BITS) // self.seconds


_SECONDS: Final = f"({{0}} >> {SERIAL_BITS})"
GROUPS: Final = {
    "day": Group("day", of_event=f"{_SECONDS} / 86400", seconds=86400),
    "hour": Group("hour", of_event=f"{_SECONDS} / 3600", seconds=3600),
    "host": Group("host", of_caller="{0}.host"),
    "auid": Group("auid", of_caller="coalesce({0}.auid, -1)"),
}


def parse(text: str) -> tuple[Group, ...]:
    """Read `host,day`; UsageError if a word is no group."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = next((word for word in words if word not in GROUPS), None)
    if unknown is not None or not words:
        raise UsageError(
            f"--by: {unknown or text!r} is not a group", f"give some of {', '.join(GROUPS)}"
        )
    return tuple(GROUPS[word] for word in dict.fromkeys(words))


def keys_of(by: Sequence[Group], event: str, caller: str) -> list[str]:
    """Give the expressions of groups: `event` is an event's id, `caller` an alias."""
    return [
        group.of_event.format(event) if group.of_event else group.of_caller.format(caller)
        for group in by
    ]


def shown_keys(
    reader: Reader, by: Sequence[Group], *, interpret: bool
) -> Callable[[tuple[Any, ...]], tuple[Value, ...]]:
    """Give the function that makes values of the raw keys of a group."""
    names: dict[int, str] = {}
    if any(group.name == "host" for group in by):
        names.update(reader.rows("SELECT id, name FROM host"))
    show: dict[str, Callable[[Any], Value]] = {
        "day": day,
        "hour": hour,
        "host": lambda raw: names.get(raw, "?"),
        "auid": user if interpret else unset,
    }
    shows = [show[group.name] for group in by]
    return lambda raw: tuple(each(key) for each, key in zip(shows, raw, strict=True))
