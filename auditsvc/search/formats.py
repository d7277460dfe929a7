r"""Found events -> text, in ausearch's formats and our own.

In: events, one by one. Out: lines, or rows for `auditsvc.render.rows`. What must hold, whatever
the events hold: an event cannot begin a line or move a cursor. Control and invisible characters
are written as \\xHH in every format but `raw`, whose lines have none but auditd's separator
(`auditsvc.search.lines`), and JSON, which has escapes of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from auditsvc.enrich import kinds, message
from auditsvc.host.accounts import user_name
from auditsvc.host.terminal import visible
from auditsvc.record import types
from auditsvc.render.colour import ALARM, FAILED, KIND, marked
from auditsvc.search.interpret import Interpreter
from auditsvc.search.lines import identity
from auditsvc.search.records import halves
from auditsvc.search.summary import summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditsvc.search.records import Record
    from auditsvc.store.read.events import Event


class Escape(Enum):
    """How values are made safe, as ausearch's --escape has it."""

    RAW = "raw"
    TTY = "tty"
    SHELL = "shell"
    SHELL_QUOTE = "shell_quote"


_SHELL: Final = {Escape.SHELL: "\"'`$\\", Escape.SHELL_QUOTE: "\"'`$\\;|&()<>*?[]{}~#!"}


def escaped(text: str, how: Escape) -> str:
    """Write a value; also `raw` cannot begin a line, for a value is one word of it."""
    shown = visible(text)
    signs = _SHELL.get(how)
    if signs is None:
        return shown
    return "".join(f"\\{sign}" if sign in signs else sign for sign in shown)


@dataclass(frozen=True, slots=True)
class Style:
    """How times and hosts are shown."""

    host: str
    """This host's name in the store, which is not shown."""
    utc: bool = False
    escape: Escape = Escape.TTY

    def moment(self, event: Event) -> datetime:
        """Give an event's time to the second, local or UTC."""
        second = identity(event)[0]
        if self.utc:
            return datetime.fromtimestamp(second, UTC)
        return datetime.fromtimestamp(second, UTC).astimezone()

    def node(self, event: Event) -> str:
        """Give the host of an event if it is another than this one."""
        return "" if event.host in (None, self.host) else visible(event.host or "")


def interpreted(event: Event, records: Sequence[Record], style: Style) -> Iterator[str]:
    """Give ausearch's `interpret`: records last first, each value in words."""
    yield "----"
    _, ms, serial = identity(event)
    stamp = f"{style.moment(event):%m/%d/%y %H:%M:%S}.{ms:03d}:{serial}"
    node = f"node={style.node(event)} " if style.node(event) else ""
    words = Interpreter()
    for record in reversed(records):
        fields = list(words.fields(record))
        own = [each for each in fields if each[0] != "_"]
        parts = [visible(value) for name, value in fields if name == "_"]
        verdict = dict(own)
        if record.number in (types.AVC, types.USER_AVC) and "seresult" in verdict:
            perms = visible(verdict.get("seperms", "")).replace(",", " ")
            parts.append(f"avc:  {visible(verdict['seresult'])}  {{ {perms} }} for ")
            own = [each for each in own if each[0] not in ("seresult", "seperms")]
        shown = [_interpreted(name, value, style) for name, value in own]
        of = halves(record.number, own)
        if of is not None and (parts or of[1]):
            kernels, programs = ([shown[place] for place in half] for half in of)
            parts, shown = kernels, [f"msg='{' '.join([*parts, *programs])}'"]
        parts += shown
        yield f"{node}type={record.type} msg=audit({stamp}) : {' '.join(parts)} "


def _interpreted(name: str, value: str, style: Style) -> str:
    if name == "key" and "," in value:
        return " ".join(f"key={escaped(key, style.escape)}" for key in value.split(","))
    return f"{visible(name)}={escaped(value, style.escape)}"


def plain(event: Event, lines: Sequence[bytes], style: Style) -> Iterator[str]:
    """Give ausearch's `default`: the time, and the lines last first, without names for ids."""
    yield "----"
    yield f"time->{style.moment(event).ctime()}"
    for line in reversed(lines):
        yield visible(line.partition(b"\x1d")[0].decode(errors="backslashreplace"))


def sentence(event: Event, style: Style) -> str:
    """Give ausearch's `text`: one sentence."""
    node = style.node(event)
    parts = [f"On {node} at" if node else "At", f"{style.moment(event):%H:%M:%S %m/%d/%y}"]
    parts += summary(event).sentence()
    return " ".join(escaped(part, style.escape) for part in parts)


def one_line(event: Event, style: Style) -> tuple[str, str]:
    """Give the two parts of our own line: the time, and who did what with which outcome."""
    names = user_name
    if event.call is not None:
        text = message.message_of_call(event, message.caller(event.call.context, names))
        time = f"{event.call.second()}.{event.call.ms:03d}"
    else:
        assert event.event is not None
        text = message.message_of_type(event, names)
        time = event.event["time"]
    node = style.node(event)
    return time, f"{node} {text}" if node else text


def is_alarming(event: Event) -> bool:
    """Whether it is a refusal, an anomaly or a loss, for a colour."""
    if event.call is not None:
        kind = kinds.kind_of_call(event.call.syscall)
        found = kinds.priority_of_call(kind, event.call.success, event.call.exit)
    else:
        row = event.event
        assert row is not None
        kind = kinds.kind_of_type(row["type"])
        found = kinds.priority_of_type(kind, row["type"], row["fields"] or {})
    return found <= kinds.WARNING


def is_failed(event: Event) -> bool:
    """Whether the event says that what was done failed, or is a refusal or an alarm itself."""
    if event.call is not None and event.call.success == 0:
        return True
    return is_alarming(event) or summary(event).succeeded is False


_TYPE: Final = re.compile(r"(?<=type=)[A-Z][A-Z0-9_]*(?:\[[0-9]+\])?(?= msg=)")
_FAILURES: Final = re.compile(
    r"(?:(?<= )|(?<='))(?:success=no|res=(?:failed|no|0)|apparmor=\"?DENIED\"?|seresult=denied"
    r"|avc:  denied|exit=-[0-9]+|exit=E[A-Z0-9]+(?:\([^)]*\))?)(?=[ ']|$)"
)


def coloured_record(line: str) -> str:
    """Give a line of `interpreted` or `plain` with its type and its failures marked."""
    shown = _TYPE.sub(lambda found: marked(found[0], KIND), line, count=1)
    return _FAILURES.sub(lambda found: marked(found[0], FAILED), shown)


# --- rows ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Extra:
    """Columns of the CSV that are asked for."""

    keys: bool = False
    labels: bool = False
    obj2: bool = False
    time: bool = False


def csv_columns(extra: Extra) -> tuple[str, ...]:
    """Give the columns of ausearch's CSV."""
    times = ("YEAR", "MONTH", "DAY", "WEEKDAY", "HOUR", "MILLI", "GMT_OFFSET")
    return (
        *("NODE", "EVENT", "DATE", "TIME", *(times if extra.time else ()), "SERIAL_NUM"),
        *("EVENT_KIND", "SESSION", "SUBJ_PRIME", "SUBJ_SEC", "SUBJ_KIND"),
        *(("SUBJ_LABEL",) if extra.labels else ()),
        *("ACTION", "RESULT", "OBJ_PRIME", "OBJ_SEC"),
        *(("OBJ2",) if extra.obj2 else ()),
        *(("OBJ_LABEL",) if extra.labels else ()),
        *("OBJ_KIND", "HOW"),
        *(("KEY",) if extra.keys else ()),
    )


def csv_row(
    event: Event, records: Sequence[Record], style: Style, extra: Extra
) -> tuple[object, ...]:
    """Give an event as a row of these columns."""
    of = summary(event)
    moment = style.moment(event)
    _, ms, serial = identity(event)
    offset = f"{moment:%z}"
    times = (
        *(moment.year, moment.month, moment.day, moment.isoweekday(), moment.hour, ms),
        f"{offset[:3]}:{offset[3:]}",
    )
    result = {True: "success", False: "failed", None: ""}[of.succeeded]
    return (
        *(style.node(event), records[0].type, f"{moment:%m/%d/%y}", f"{moment:%H:%M:%S}"),
        *(times if extra.time else ()),
        *(serial, of.kind, of.session, of.subject, of.acting, of.subject_kind),
        *((of.subject_label,) if extra.labels else ()),
        *(of.action, result, of.object, of.object_more),
        *((of.object2,) if extra.obj2 else ()),
        *((of.object_label,) if extra.labels else ()),
        *(of.object_kind, of.how),
        *((of.key,) if extra.keys else ()),
    )


TABLE: Final = ("time", "event", "who", "process", "object", "result", "key")


def table_row(event: Event, style: Style) -> tuple[object, ...]:
    """Give an event as a row of our table."""
    of = summary(event)
    if event.call is not None:
        row: Any = event.call.context
        name = event.call.syscall or str(event.call.nr)
        result = message.outcome(event.call.success, event.call.exit)
        program = row["comm"] or row["exe"]
        time = f"{event.call.second()}.{event.call.ms:03d}"
    else:
        row = event.event
        assert row is not None
        name = row["type"]
        result = {True: "success", False: "failed", None: ""}[of.succeeded]
        program = of.how.rpartition("/")[2]
        time = row["time"]
    who = of.subject if of.acting in ("", of.subject) else f"{of.subject} as {of.acting}"
    process = program or ""
    if row["pid"] is not None:
        process = f"{process}[{row['pid']}]"
    seen = message.objects(event) or of.object
    node = style.node(event)
    return (f"{time} {node}" if node else time, name, who, process, seen, result, of.key)


def table_marks(event: Event) -> tuple[str | None, ...]:
    """Give the marks of that row's cells: of the event's kind, and of a result that failed."""
    failed = is_failed(event)
    kind = ALARM if is_alarming(event) else KIND
    of = {"event": kind, "result": FAILED if failed else None}
    return tuple(of.get(name) for name in TABLE)


JSON: Final = (
    "event_id",
    "time",
    "host",
    "serial",
    "syscall",
    "event",
    "paths",
    "sockaddrs",
    "records",
)


def json_row(event: Event) -> tuple[object, ...]:
    """Give an event with all its rows, under the names of the views."""
    call = event.syscall
    row: Any = call if call is not None else event.event
    return (
        *(event.id, row["time"], row["host"], row["serial"]),
        *(_without(call), _without(event.event)),
        *(list(event.paths), list(event.sockaddrs), list(event.records)),
    )


_COMMON: Final = ("event_id", "time", "host", "serial")


def _without(row: Any) -> dict[str, Any] | None:
    return None if row is None else {k: v for k, v in row.items() if k not in _COMMON}
