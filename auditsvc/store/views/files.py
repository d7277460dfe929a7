"""`files`: who did what to which file; `connections`: who did what with which address.

A row a file, or address, of a call or of an operation of io_uring. What was done follows from
the call (`auditsvc.tables.effects`), from the flags of an open, and from what the record says
that happened to the name (CREATE, DELETE).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.record.types import URINGOP
from auditsvc.store.views import words
from auditsvc.store.views.dialect import asked, lookups, time
from auditsvc.store.views.story import (
    CALL,
    CALLED,
    as_text,
    context,
    host,
    in_progress,
    of_call,
    of_record,
    outcome,
    record_field,
)

if TYPE_CHECKING:
    from auditsvc.store.views.dialect import Dialect

_OPENAT2: Final = 1337
_O_PATH, _O_TRUNC = 0o10000000, 0o1000
_FILE: Final = "f.nametype, f.inode, f.dev, f.mode, f.ouid, f.ogid"


_FLAGS: Final = {"open": "a1", "openat": "a2", "open_by_handle_at": "a2"}
"""The arguments that are flags of an open."""
TOLD: Final = """
    SELECT v.name AS call, n.place FROM verb v
    CROSS JOIN (SELECT 1 AS place UNION SELECT 2 UNION SELECT 3) n
    WHERE v.kind = 'call' AND CASE v.file
        WHEN 'open' THEN n.place = CASE v.name WHEN 'open' THEN 1 ELSE 2 END
        WHEN 'mode' THEN n.place = v.second_place OR n.place = 2
        WHEN 'owner' THEN 1 END"""
"""The arguments of which `action` and `detail` of `files` are made, beside the call in a call."""
OF_ROWS: Final = "SELECT name AS call FROM verb WHERE kind = 'call' AND file IN ('rename', 'link')"
"""The calls whose rows say something of the event's other rows."""


def files(d: Dialect) -> str:
    """Give the view."""
    return f"SELECT * FROM ({files_of_calls(d)}) made UNION ALL SELECT * FROM ({files_of_uring(d)}) made"  # noqa: E501, S608 - ours


def files_of_calls(d: Dialect, rows: str = "") -> str:
    """Give the view's rows of calls; `rows`: as of the view `paths`."""
    found, joins = of_call(d)
    cwd = "(SELECT t.value FROM text t WHERE t.id = c.cwd)"
    full = words.full_path("name.value", cwd, "f.nametype")
    other = words.full_path("n.value", cwd, "g.nametype")
    places = " ".join(f"WHEN '{name}' THEN s.{place}" for name, place in _FLAGS.items())
    flags = f"(CASE call.name {places} WHEN 'openat2' THEN {_octal_flags(d)} END)"
    renamed = f"CASE WHEN v.file IN ('rename', 'link') THEN {_other(other)} END"
    detail = (
        f"CASE v.file WHEN 'open' THEN {words.argument(d, '1', flags, repr('open'))}"
        f" WHEN 'mode' THEN {words.argument(d, 'v.second_place', _MODE)}"
        f" WHEN 'owner' THEN {_owner()} END"
    )
    return f"""
        SELECT s.id AS event_id, {found["host"]}, {time(d, "s")} AS time,
            {_action(d, flags)} AS action, {full} AS path,
            {as_text(renamed)} AS other, {as_text(detail)} AS detail,
            {d.truth.format("s.success")} AS success, {words.errno("s.exit", "s.success")} AS errno,
            c.pid, c.auid, c.uid, c.euid, c.ses, {found["comm"]}, {found["exe"]}, {found["key"]},
            {as_text(CALLED)} AS syscall, name.value AS name, {_FILE}{asked(rows)}
        FROM {rows or "path"} p
        JOIN file f ON {d.settled.format("p", "file = f.id")}
        LEFT JOIN text name ON name.id = f.name{d.indexed.format("name")}
        JOIN syscall s ON s.id = p.event
        {context(d)}
        {CALL}
        {joins}
        WHERE coalesce(f.nametype, '') <> 'PARENT'"""  # noqa: S608 - of this package's texts only


_MODE: Final = "(CASE v.second_place WHEN 1 THEN s.a1 ELSE s.a2 END)"


def _octal_flags(d: Dialect) -> str:
    """Give the flags that the record OPENAT2 says in octal."""
    told = f"'00000000' || {record_field(d, 'oflag', 's.id', _OPENAT2)}"
    digits = (
        f"({d.number.format(f'substr(flags, length(flags) - {place}, 1)')} << {3 * place})"
        for place in range(8)
    )
    return f"(SELECT {' + '.join(digits)} FROM (SELECT {told} AS flags) octal)"  # noqa: S608


def _action(d: Dialect, flags: str) -> str:
    operation = d.number.format(words.field(d, "{0}", "uring_op"))
    inline = of_record(
        d,
        "(SELECT w.file FROM value_word o JOIN verb w ON w.kind = 'call' AND w.name = o.word"  # noqa: S608
        f" WHERE o.kind = 'uring' AND o.number = {operation})",
        "s.id",
        URINGOP,
    )
    replaced = (
        "EXISTS (SELECT 1 FROM path q JOIN file g ON g.id = q.file WHERE q.event = p.event"
        " AND q.seq < p.seq AND g.nametype = 'DELETE')"
    )
    opened = (
        f"CASE WHEN {flags} & {_O_PATH} <> 0 THEN 'look'"
        f" WHEN {flags} & 3 = 0 AND {flags} & {_O_TRUNC} = 0 THEN 'read'"
        f" WHEN {flags} & 3 = 2 THEN 'read_write' WHEN {flags} IS NULL THEN 'open'"
        " ELSE 'write' END"
    )
    return (
        "CASE WHEN v.file IN ('open', 'write', 'create', 'rename', 'link')"
        " AND f.nametype = 'CREATE' THEN 'create'"
        f" WHEN v.file = 'open' THEN {opened}"
        f" WHEN v.file = 'rename' AND f.nametype = 'DELETE' AND {replaced} THEN 'replace'"
        " WHEN call.name IN ('symlink', 'symlinkat') AND f.nametype = 'UNKNOWN' THEN 'use'"
        f" ELSE coalesce(v.file, CASE WHEN call.name = 'io_uring_enter' THEN {inline} END,"
        " CASE f.nametype WHEN 'CREATE' THEN 'create' WHEN 'DELETE' THEN 'delete' ELSE 'use' END)"
        " END"
    )


def _other(value: str) -> str:
    """Give the old name of a new one, and the new name of an old one."""
    return (
        f"(SELECT coalesce({value}, n.value) FROM path q JOIN file g ON g.id = q.file"  # noqa: S608
        " JOIN text n ON n.id = g.name WHERE q.event = p.event AND g.nametype <> 'PARENT'"
        " AND (g.nametype = 'CREATE') <> (f.nametype = 'CREATE') ORDER BY q.seq LIMIT 1)"
    )


def _owner() -> str:
    """Give the new owner and group; `-` where it stays."""
    names = []
    for first, name in ((1, words.user), (2, words.group)):
        place = f"((CASE call.name WHEN 'fchownat' THEN s.a{first + 1} ELSE s.a{first} END)"
        number = f"{place} & 4294967295)"
        names.append(f"CASE WHEN {number} = 4294967295 THEN '-' ELSE {name(number)} END")
    return " || ':' || ".join(names)


def _uring_call(d: Dialect) -> str:
    """Give the name of the call that an operation of io_uring is like."""
    fields = d.json.format("told.value", "e.id")
    number = d.number.format(words.field(d, fields, "uring_op"))
    return f"(SELECT w.word FROM value_word w WHERE w.kind = 'uring' AND w.number = {number})"  # noqa: S608


def files_of_uring(d: Dialect, where: str = "") -> str:
    """Give the view's rows of operations of io_uring; `where` chooses events `e`."""
    found, joins = lookups(d, [host("e.host")])
    rows = _uring(d, found["host"])
    effect = f"(SELECT v.file FROM verb v WHERE v.kind = 'call' AND v.name = {_uring_call(d)})"  # noqa: S608
    return f"""
        SELECT event_id, host, time,
            CASE WHEN effect IN ('open', 'create', 'rename', 'link') AND nametype = 'CREATE'
                THEN 'create' ELSE coalesce(effect, 'use') END AS action,
            CASE WHEN substr(name, 1, 1) = '/' THEN name END AS path, CAST(NULL AS text) AS other,
            CAST(NULL AS text) AS detail,
            {d.truth.format("CAST(succeeded AS smallint)")} AS success,
            {words.errno("exit", "succeeded")} AS errno,
            pid, auid, uid, euid, ses, CAST(NULL AS text) AS comm, CAST(NULL AS text) AS exe, key,
            syscall, name,
            nametype, inode, dev, mode, ouid, ogid
        FROM (
            SELECT {rows}, {effect} AS effect, name.value AS name, {_FILE}
            FROM path p
            JOIN file f ON {d.settled.format("p", "file = f.id")}
            LEFT JOIN text name ON name.id = f.name{d.indexed.format("name")}
            JOIN event e ON e.id = p.event
            LEFT JOIN text told ON told.id = e.fields
            {joins}
            WHERE e.type = {URINGOP} AND coalesce(f.nametype, '') <> 'PARENT'{where}
        ) made"""  # noqa: S608 - as above


def _uring(d: Dialect, host_column: str) -> str:
    """Give the columns of an operation of io_uring `e`."""
    fields = d.json.format("told.value", "e.id")

    def field(name: str) -> str:
        return words.field(d, fields, name)

    return (
        f"e.id AS event_id, {host_column}, {time(d, 'e')} AS time,"
        f" CASE {field('success')} WHEN 'yes' THEN 1 WHEN 'no' THEN 0 END AS succeeded,"
        f" CAST({_integer(d, field('exit'))} AS bigint) AS exit, e.pid, e.auid, e.uid,"
        f" {d.number.format(field('euid'))} AS euid, e.ses,"
        f" {as_text(words.known(field('key')))} AS key,"
        f" {_uring_call(d)} AS syscall"
    )


def _integer(d: Dialect, value: str) -> str:
    """Give a text's number, which may be negative."""
    plain = d.number.format(f"ltrim({value}, '-')")
    return f"CASE WHEN substr({value}, 1, 1) = '-' THEN -{plain} ELSE {plain} END"


_ADDRESS: Final = "a.family, a.address, a.port, a.path"


def connections(d: Dialect) -> str:
    """Give the view."""
    found, joins = of_call(d)
    others, more = lookups(d, [host("e.host")])
    effect = (
        "(SELECT v.connection FROM verb v WHERE v.kind = 'call'"  # noqa: S608 - ours
        f" AND v.name = {_uring_call(d)})"
    )
    rows = _uring(d, others["host"])
    calls = f"""
        SELECT s.id AS event_id, {found["host"]}, {time(d, "s")} AS time,
            coalesce(v.connection, 'use') AS action, {_ADDRESS},
            {outcome("s.success", in_progress(CALLED))} AS outcome, s.exit,
            {words.errno("s.exit", "s.success")} AS errno,
            CAST(CASE WHEN part.name IS NULL THEN s.a0 END AS bigint) AS fd,
            c.pid, c.auid, c.uid, c.euid, c.ses, {found["comm"]}, {found["exe"]}, {found["key"]},
            {as_text(CALLED)} AS syscall
        FROM sockaddr o
        JOIN address a ON {d.settled.format("o", "address = a.id")}
        JOIN syscall s ON s.id = o.event
        {context(d)}
        {CALL}
        {joins}"""  # noqa: S608 - of this package's texts only
    return f"""
        SELECT * FROM ({calls}) made
        UNION ALL
        SELECT * FROM (
        SELECT event_id, host, time, coalesce(effect, 'use'), family, address, port, path,
            {outcome("succeeded", "exit IN (-115, -114)")}, exit,
            {words.errno("exit", "succeeded")},
            CAST(NULL AS bigint), pid, auid, uid, euid, ses, CAST(NULL AS text),
            CAST(NULL AS text), key, syscall
        FROM (
            SELECT {rows}, {effect} AS effect, {_ADDRESS}
            FROM sockaddr o
            JOIN address a ON {d.settled.format("o", "address = a.id")}
            JOIN event e ON e.id = o.event
            LEFT JOIN text told ON told.id = e.fields
            {more}
            WHERE e.type = {URINGOP}
        ) told) made"""  # noqa: S608 - as above
