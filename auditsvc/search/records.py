"""An event of the store -> its records, in the order in which the kernel writes them.

The store keeps columns and not lines: a record is made again of the columns and of the fields
that have none. Names, values and the order of a record's fields are those of the log; what
cannot be told from the rows is the order of the records, which is taken to be the kernel's
(audit_log_exit: SYSCALL, special records, addresses, CWD, PATH, PROCTITLE; before it what was
written during the call), and whether an unset id was written as -1 or as 4294967295.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auditsvc.record import types
from auditsvc.record.fields import UNSET
from auditsvc.store.views import CONTEXT_IDS
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from auditsvc.store.read.events import Event

Value = str | None
"""A value as text; None is the kernel's `(null)`."""

_BPRM_FCAPS, _FD_PAIR, _OBJ_PID = 1321, 1317, 1318
_SPECIAL: Final = 2
_ORDER: Final = {
    types.SYSCALL: 0,
    _BPRM_FCAPS: 1,
    _FD_PAIR: 3,
    types.SOCKADDR: 4,
    _OBJ_PID: 5,
    types.CWD: 6,
    types.PATH: 7,
    types.PROCTITLE: 8,
}
_UNSIGNED: Final = (1 << 64) - 1
_LAST_OF_CALL: Final = 1 << 10
_UNSET_IDS: Final = frozenset((*CONTEXT_IDS, "ses")) - {"pid", "ppid"}
_CALL_TAIL: Final = (*CONTEXT_IDS, "tty", "ses", "comm", "exe", "subj", "key")
_FILE: Final = ("inode", "dev", "mode", "ouid", "ogid", "rdev", "obj", "nametype")
_BEFORE_MESSAGE: Final = ("pid", "uid", "auid", "ses", "subj")
_FIRST: Final = ("per",)
"""Fields of a SYSCALL that have no column and stand behind `syscall=`."""


class Record(NamedTuple):
    """A record: its type's name and number (0: not known), and its fields in order."""

    type: str
    number: int
    fields: tuple[tuple[str, Value], ...]

    def get(self, name: str) -> Value:
        """Give the first value of a field; None if there is none."""
        return next((value for found, value in self.fields if found == name), None)


def halves(number: int, fields: Sequence[tuple[str, Value]]) -> tuple[list[int], list[int]] | None:
    """Give the places of the fields that the kernel wrote before a program's message, and in it.

    None for a record that has no message. Fields of one name stand together, the kernel's first: no
    other may come before one of the kernel's, or a quote or brace in it would take that with it.
    """
    if not number or not types.is_user(number) or number in types.DAEMON:
        return None
    seen: set[str] = set()
    kernels: list[int] = []
    programs: list[int] = []
    is_head = True
    for place, (name, _) in enumerate(fields):
        is_head &= name in _BEFORE_MESSAGE
        (kernels if is_head and name not in seen else programs).append(place)
        seen.add(name)
    return kernels, programs


def records_of(event: Event) -> list[Record]:
    """Give all records of an event, but EOE."""
    found: list[tuple[tuple[int, int], Record]] = []
    if event.call is not None:
        found += [(_place(each.number), each) for each in _call_records(event)]
    elif event.event is not None:
        row = event.event
        found.append(((0, 0), _record(row["type"], row["fields"])))
    found += [(_place(each.number), each) for each in _sockaddrs(event)]
    found += [(_place(types.PATH), each) for each in _paths(event)]
    found += [(_place(each.number), each) for each in _further(event)]
    if event.call is None:  # the first stays the first
        found[1:] = sorted(found[1:], key=_by_place)
    else:
        found.sort(key=_by_place)
    return [record for _, record in found]


def _by_place(placed: tuple[tuple[int, int], Record]) -> tuple[int, int]:
    return placed[0]


def _place(number: int) -> tuple[int, int]:
    """Give where a record stands: before the SYSCALL, or behind it among others."""
    if number in types.DEPENDENT or number in _ORDER:
        return _LAST_OF_CALL + _ORDER.get(number, _SPECIAL), number
    return 0, 0


def _call_records(event: Event) -> Iterator[Record]:
    call = event.syscall
    assert call is not None
    assert event.call is not None
    more = _extra(event, "SYSCALL")
    nr, arch = event.call.nr, names.arch_number(str(call["arch"]))
    fields: list[tuple[str, Value]] = [
        ("arch", str(call["arch"]) if arch is None else f"{arch:x}"),
        ("syscall", str(nr)),
    ]
    fields += [(name, value) for name, value in more if name in _FIRST]
    if call["success"] is not None:
        fields.append(("success", "yes" if call["success"] else "no"))
    if call["exit"] is not None:
        fields.append(("exit", str(call["exit"])))
    fields += [(name, call[name]) for name in ("a0", "a1", "a2", "a3")]
    fields.append(("items", str(call["items"])))
    for name in _CALL_TAIL:
        value = call[name]
        if value is not None:
            fields.append((name, str(value)))
        elif name in _UNSET_IDS:
            fields.append((name, str(UNSET)))
        elif name in ("comm", "exe", "key"):
            fields.append((name, None))
    fields += [(name, value) for name, value in more if name not in _FIRST]
    yield Record("SYSCALL", types.SYSCALL, tuple(fields))
    incomplete = any(each["type"] == "EXECVE" for each in event.records)
    if event.call.argv is not None and not incomplete:
        argv = event.call.argv
        arguments = [(f"a{place}", argument) for place, argument in enumerate(argv)]
        yield Record("EXECVE", types.EXECVE, (("argc", str(len(argv))), *arguments))
    if call["cwd"] is not None:
        yield Record("CWD", types.CWD, (("cwd", call["cwd"]),))
    if call["proctitle"] is not None:
        yield Record("PROCTITLE", types.PROCTITLE, (("proctitle", call["proctitle"]),))


def _extra(event: Event, kind: str) -> list[tuple[str, Value]]:
    """Give the fields of a call's own record that have no column."""
    return [
        pair
        for each in event.records
        if each["type"] == kind and event.call is not None
        for pair in _pairs(each["fields"])
    ]


def _paths(event: Event) -> Iterator[Record]:
    waiting = [each for each in event.records if each["type"] == "PATH"]
    for path in event.paths:
        item = path["item"]
        fields: list[tuple[str, Value]] = [] if item is None else [("item", str(item))]
        fields.append(("name", path["name"]))
        fields += list(_file(path))
        own = next((each for each in waiting if _item(each) == item), None)
        if own is not None:
            waiting.remove(own)
            fields += [pair for pair in _pairs(own["fields"]) if pair[0] != "item"]
        yield Record("PATH", types.PATH, tuple(fields))


def _file(path: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    for name in _FILE:
        value = path[name]
        if name == "inode" and value is not None:
            value &= _UNSIGNED
        if value is None and name in ("ouid", "ogid") and path["mode"] is not None:
            value = UNSET
        if value is not None:
            yield name, str(value)


def _item(record: Mapping[str, Any]) -> int | None:
    value = (record["fields"] or {}).get("item")
    return value if isinstance(value, int) else None


def _sockaddrs(event: Event) -> Iterator[Record]:
    """Give the addresses; one that came with other fields is in two rows, and given with all."""
    found = [each for each in event.records if each["type"] == "SOCKADDR"]
    bare = [each for each in found if list(each["fields"] or ()) == ["saddr"]]
    full = [each for each in found if each not in bare]
    for each in sorted(bare, key=lambda record: int(record["seq"])):
        same = next((more for more in full if _saddr(more) == _saddr(each)), None)
        if same is not None:
            full.remove(same)
        yield _record("SOCKADDR", (same or each)["fields"])
    for each in full:
        yield _record("SOCKADDR", each["fields"])


def _saddr(record: Mapping[str, Any]) -> object:
    return (record["fields"] or {}).get("saddr")


def _further(event: Event) -> Iterator[Record]:
    own = {"PATH", "SOCKADDR"} | ({"SYSCALL"} if event.call is not None else set())
    for each in event.records:
        if each["type"] not in own:
            yield _record(each["type"], each["fields"])


def _record(kind: str | None, fields: Mapping[str, Any] | None) -> Record:
    name = kind or "UNKNOWN[0]"
    return Record(name, names.record_type_number(name) or 0, tuple(_pairs(fields)))


def _pairs(fields: Mapping[str, Any] | None) -> Iterator[tuple[str, Value]]:
    """Give names and values; a name that is repeated has a list."""
    for name, value in (fields or {}).items():
        values: Sequence[Any] | Iterable[Any] = value if isinstance(value, list) else [value]
        for each in values:
            yield name, None if each is None else str(each)
