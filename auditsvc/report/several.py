"""What an event can have several of, each of which is counted: file names, keys, AVC records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.record.types import CONFIG_CHANGE, PATH
from auditsvc.report import avc, types
from auditsvc.report.columns import (
    CALLS,
    HAS_OTHERS,
    IS_RELATIVE,
    LONE,
    NAME,
    WITH_FILE,
    are_calls,
    are_lone,
    file_of,
    folded,
    key_of_lone,
    lone,
)
from auditsvc.report.counting import by_context, counted, named
from auditsvc.report.dialect import SQLITE
from auditsvc.report.groups import keys_of
from auditsvc.store import file_counts as stored
from auditsvc.store.partitions import HIGHEST
from auditsvc.store.read.time_span import END
from auditsvc.store.views.dialect import DIALECTS as STORES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditsvc.report.choice import Choice
    from auditsvc.report.dialect import Dialect
    from auditsvc.report.groups import Group
    from auditsvc.report.reader import Reader

Counted = tuple[tuple[Any, ...], Any, int, int]
"""Raw keys of the groups, value, hits, first event."""
_IS_NAME: Final = f"NOT coalesce({IS_RELATIVE}, 1 = 0)"
_NAMED: Final = "JOIN file i ON i.id = p.file LEFT JOIN text n ON n.id = i.name"
_RELATIVE: Final = "CROSS JOIN file i CROSS JOIN text n"
_ARE_RELATIVE: Final = ("i.id = p.file", "n.id = i.name", IS_RELATIVE)
_LOOKED_UP: Final = 100
"""Files whose uses an index finds sooner than all uses are gone through."""
_SOCKETS: Final = "sockaddr k CROSS JOIN address a"
_ARE_SOCKETS: Final = ("a.id = k.address", "a.family = 'unix'", "a.path <> ''")
_SOCKET: Final = "CASE WHEN a.path LIKE '@%' THEN substr(a.path, 2) ELSE a.path END"


def counts(
    reader: Reader, name: str, choice: Choice, by: Sequence[Group], *, without_calls: bool = False
) -> Iterator[Counted]:
    """Count the values of `file`, `key` or `obj`; `without_calls`: no keys of calls' own."""
    if name == "obj":
        yield from _objects(reader, choice, by)
        return
    keys = other_key_counts if without_calls else _key_counts
    statements = (
        file_counts(reader, choice, by) if name == "file" else keys(reader.dialect, choice, by)
    )
    for sql in statements:
        for row in reader.rows(sql, choice.values):
            group, (value, hits, first) = tuple(row[:-3]), row[-3:]
            values = [value] if name == "file" else (value or "").split(",")
            for each in values:
                if each != "":
                    yield group, each, hits, first


def _objects(reader: Reader, choice: Choice, by: Sequence[Group]) -> Iterator[Counted]:
    for row in avc.rows(reader, choice):
        event_id, host, auid = row[0], row[3], row[4]
        keys = {"host": host, "auid": auid}
        group = (each.of_number(event_id) if each.seconds else keys[each.name] for each in by)
        yield tuple(group), row[avc.OBJECT], 1, event_id


def file_counts(reader: Reader, choice: Choice, by: Sequence[Group]) -> Iterator[str]:
    """Give the statements that together count all file names."""
    dialect = reader.dialect
    call, other = keys_of(by, "s.id", "c"), keys_of(by, "e.id", "e")
    calls, alone = are_calls(choice), are_lone(choice, dialect)
    of_call, of_lone = ["s.id = p.event", *calls], ["p.event = e.id", HAS_OTHERS, *alone]
    in_time = choice.times("p.event")
    if choice.is_of_times and all(group.of_event for group in by):
        # By file first: so each name is read once.
        keys = keys_of(by, "p.event", "")
        inner = _uses(reader, choice)
        if keys:
            inner = counted("p.file", "path p", ["1 = 1", *in_time], keys, "p.event")
        joins = "JOIN file i ON i.id = g.value LEFT JOIN text n ON n.id = i.name"
        yield named(inner, len(keys), NAME, joins, _IS_NAME)
    else:
        source = f"path p CROSS JOIN {CALLS} {_NAMED}"
        yield counted(NAME, source, [*of_call, *in_time, _IS_NAME], call, "s.id")
        source = f"{LONE} CROSS JOIN path p {_NAMED}"
        yield counted(NAME, source, [*of_lone, _IS_NAME], other, "e.id")
    (relative,) = reader.one(f"SELECT count(*) FROM ({_relative_files(dialect)}) r")  # noqa: S608 - ours
    if relative:
        joined = "coalesce(d.value || '/' || n.value, n.value)"
        uses = _relative_uses(dialect, looked_up=relative <= _LOOKED_UP)
        source = f"{uses} CROSS JOIN {CALLS} LEFT JOIN text d ON d.id = c.cwd"
        yield counted(joined, source, [*_ARE_RELATIVE, *in_time, *of_call], call, "s.id")
        source = f"{LONE} CROSS JOIN path p {_RELATIVE}"
        yield counted("n.value", source, [*_ARE_RELATIVE, *of_lone], other, "e.id")
    in_time = choice.times("k.event")
    source = f"{_SOCKETS} CROSS JOIN {CALLS}"
    where = [*_ARE_SOCKETS, *in_time, "s.id = k.event", *calls]
    yield counted(_SOCKET, source, where, call, "s.id")
    source = f"{LONE} CROSS JOIN {_SOCKETS}"
    where = [*_ARE_SOCKETS, "k.event = e.id", HAS_OTHERS, *alone]
    yield counted(_SOCKET, source, where, other, "e.id")
    told = file_of(dialect, "r")
    source = f"record r CROSS JOIN text f {dialect.call} CROSS JOIN context c"
    where = ["f.id = r.fields", "s.id = r.event", WITH_FILE.condition("r.type")]
    where += [*choice.times("r.event"), f"{told} IS NOT NULL", *calls]
    yield counted(told, source, where, call, "s.id")
    told = file_of(dialect, "e")
    kinds = (WITH_FILE | types.Types((PATH, types.VIRT_RESOURCE))).condition("e.type")
    yield counted(told, LONE, [kinds, f"{told} IS NOT NULL", *alone], other, "e.id")


def _relative_files(dialect: Dialect) -> str:
    """Select the files with a relative name: on SQLite the index has them together."""
    begin = " AND m.head >= '..' AND m.head < '.0'" if dialect is SQLITE else ""
    test = IS_RELATIVE.replace("n.value", "m.value") + begin
    return f"SELECT j.id FROM text m CROSS JOIN file j WHERE j.name = m.id AND {test}"  # noqa: S608 - ours


def _relative_uses(dialect: Dialect, *, looked_up: bool) -> str:
    """Give the uses `path p` of these files, with file and name; each name is looked at once."""
    files = _relative_files(dialect)
    if looked_up:
        used = _settled(dialect, "u", "file = j.id")
        files = f"SELECT u.* FROM ({files}) j CROSS JOIN path u WHERE {used}"  # noqa: S608 - ours
    else:
        files = f"SELECT u.* FROM path u WHERE u.file IN ({files})"  # noqa: S608 - ours
    return f"({files}) p {_RELATIVE}"


def _settled(dialect: Dialect, row: str, key: str) -> str:
    return STORES["sqlite" if dialect is SQLITE else "postgresql"].settled.format(row, key)


def _uses(reader: Reader, choice: Choice) -> str:
    """Count the uses of files in a time: value, hits, first_id.

    As the store has them counted, but for days that are in the time in part.
    """
    ids = choice.span.low << SERIAL_BITS, HIGHEST
    if choice.span.high < END:
        ids = ids[0], choice.span.high << SERIAL_BITS | SERIAL_MASK
    ids = stored.whole_days(*ids, lambda sql: bool(reader.one(sql)[0]))
    uses = stored.uses("sqlite" if reader.dialect is SQLITE else "postgresql", *ids)
    return (
        "SELECT u.file AS value, CAST(sum(u.uses) AS bigint) AS hits, min(u.first) AS first_id"  # noqa: S608 - ours
        f" FROM ({uses}) u GROUP BY 1 HAVING sum(u.uses) <> 0"
    )


def used_names(reader: Reader, choice: Choice) -> str:
    """Give the statement for the names, not relative ones, of all files that were used."""
    source = f"({_uses(reader, choice)}) p JOIN file i ON i.id = p.value"
    named = f"{source} LEFT JOIN text n ON n.id = i.name"
    return f"SELECT {NAME} AS value FROM {named} WHERE {_IS_NAME}"  # noqa: S608 - ours


def _key_counts(dialect: Dialect, choice: Choice, by: Sequence[Group]) -> Iterator[str]:
    yield by_context("key", choice, by, dialect)
    yield from other_key_counts(dialect, choice, by)


def other_key_counts(dialect: Dialect, choice: Choice, by: Sequence[Group]) -> Iterator[str]:
    """Give the statements that count the keys that are not of a SYSCALL record."""
    yield keys_of_changes(dialect, choice, by)
    other = keys_of(by, "e.id", "e")
    key = key_of_lone(dialect)
    part = (lone if by else folded)(["key"], choice, dialect)
    where = [f"{key} IS NOT NULL", *part.where]
    yield counted(key, part.source, where, other, "e.id", hits=part.hits)


def keys_of_changes(dialect: Dialect, choice: Choice, by: Sequence[Group]) -> str:
    """Give the statement that counts the keys of rules that calls changed."""
    key = dialect.of("key", "r.fields")
    source = f"record r CROSS JOIN text f {dialect.call} CROSS JOIN context c"
    where = ["f.id = r.fields", "s.id = r.event", f"r.type = {CONFIG_CHANGE}"]
    where += [*choice.times("r.event"), *are_calls(choice)]
    return counted(key, source, where, keys_of(by, "s.id", "c"), "s.id")
