"""Expressions of SQL that say in words what a row's numbers mean, for both databases.

Each function gives an expression. The words are in the tables of `auditsvc.store.schema.words`;
`auditsvc.tables.shapes` explains how a number is written, and a test holds both equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.record.types import MESSAGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.store.views.dialect import Dialect

_WORD: Final = 0xFFFFFFFF
_UNSET: Final = 0xFFFFFFFF


def user(number: str) -> str:
    """Give the user with this id as an argument shows it: the id as text.

    NULL for NULL. The name at that time is a column of its own (`auditsvc.store.views.names`).
    """
    return f"CAST({number} AS text)"


def group(number: str) -> str:
    """Give the group with this id, in the same way."""
    return f"CAST({number} AS text)"


def field(d: Dialect, source: str, name: str) -> str:
    """Give a field's text; the first one if the record has several."""
    if d.joins:
        return f"coalesce({source} -> '{name}' ->> 0, {source} ->> '{name}')"
    return (
        f"coalesce(json_extract({source}, '$.\"{name}\"[0]'),"
        f" json_extract({source}, '$.\"{name}\"'))"
    )


def last_field(d: Dialect, source: str, name: str) -> str:
    """Give a field's text; the last one if the record has several."""
    if d.joins:
        return f"coalesce({source} -> '{name}' ->> -1, {source} ->> '{name}')"
    return (
        f"coalesce(json_extract({source}, '$.\"{name}\"[#-1]'),"
        f" json_extract({source}, '$.\"{name}\"'))"
    )


def own_field(d: Dialect, source: str, name: str) -> str:
    """Give a field that libaudit, or the kernel, writes last: exe, hostname, addr, terminal, res.

    What a program was told stands before it and may hold the same name: the last is not that.
    """
    return known(last_field(d, source, name))


def of_kernel(kind: str, value: str) -> str:
    """Give a field that only the kernel writes; NULL of a program's message, whose word it is.

    `kind`: the number of the record's type.
    """
    sent = " OR ".join(f"{kind} BETWEEN {low} AND {high}" for low, high in MESSAGES)
    return f"CASE WHEN NOT ({sent}) THEN {value} END"


def known(value: str) -> str:
    """Give a text; NULL for `?` and for nothing."""
    return f"nullif(nullif({value}, '?'), '')"


def basename(path: str) -> str:
    """Give the last part of a path."""
    return f"substr({path}, length(rtrim({path}, replace({path}, '/', ''))) + 1)"


def octal(number: str, digits: int = 3) -> str:
    """Give the last octal digits of a number."""
    places = [f"CAST(({number} >> {3 * n}) & 7 AS text)" for n in reversed(range(digits))]
    return " || ".join(places)


def argument(d: Dialect, place: str, value: str, call: str = "call.name") -> str:
    """Give an argument of a call in words; NULL if its kind has none."""
    shaped = (
        "coalesce((SELECT part.name FROM part_call part WHERE part.call = 'prctl'"  # noqa: S608 - ours
        f" AND {call} = 'prctl' AND part.number = s.a0), {call})"
    )
    shape = (
        f"SELECT shape.*, {value} AS number FROM argument_shape shape"  # noqa: S608 - ours
        f" WHERE shape.call = {shaped} AND shape.place = {place}"
    )
    number = f"(k.number & {_WORD})"
    return (
        f"(SELECT CASE k.kind WHEN 'mode' THEN {permissions('k.number')}"  # noqa: S608 - ours
        f" WHEN 'uid' THEN {_id(user, number)} WHEN 'gid' THEN {_id(group, number)}"
        f" ELSE CASE WHEN k.flags = 0 THEN coalesce({_name('k.number')},"
        f" '0x' || {d.hex.format('k.number')}) ELSE {_flags(d)} END END FROM ({shape}) k)"
    )


def _id(name: Callable[[str], str], number: str) -> str:
    return f"CASE {number} WHEN {_UNSET} THEN 'unset' ELSE {name(number)} END"


def permissions(number: str) -> str:
    """Give a mode's bits: `0644`, `sticky,0777`."""
    special = " || ".join(
        f"CASE WHEN {number} & {bit} <> 0 THEN '{word},' ELSE '' END"
        for bit, word in ((0o4000, "suid"), (0o2000, "sgid"), (0o1000, "sticky"))
    )
    return f"{special} || '0' || {octal(number)}"


def _name(value: str) -> str:
    return (
        "(SELECT w.word FROM value_word w"  # noqa: S608 - ours
        f" WHERE w.kind = k.kind AND w.number = {value} & k.part)"
    )


def _flags(d: Dialect) -> str:
    seen = "(k.number & k.mask)"
    part, rest = f"({seen} & k.part)", f"({seen} & k.rest)"
    number = f"'|0x' || {d.hex.format(part)}"
    name = f"coalesce('|' || {_name(seen)}, CASE WHEN {part} <> 0 THEN {number} ELSE '' END)"
    chosen = f"FROM flag_word f WHERE f.kind = k.kind AND f.bit & {seen} <> 0"
    listed = (
        f"SELECT string_agg(f.word, '|' ORDER BY f.place) {chosen}"
        if d.joins
        else f"SELECT group_concat(word, '|') FROM (SELECT f.word {chosen} ORDER BY f.place)"  # noqa: S608
    )
    pieces = (
        f"CASE WHEN k.last = 0 THEN {name} ELSE '' END"
        f" || coalesce('|' || ({listed}), '')"
        f" || CASE WHEN {rest} <> 0 THEN '|0x' || {d.hex.format(rest)} ELSE '' END"
        f" || CASE WHEN k.last = 1 THEN {name} ELSE '' END"
    )
    return f"coalesce(nullif(substr({pieces}, 2), ''), k.zero)"


def errno(exit_: str, success: str) -> str:
    """Give the name of a failed call's error; NULL if it did not fail.

    An error is above -4096 (include/linux/err.h); a result below is none, and the least of all
    has no opposite.
    """
    return (
        f"CASE WHEN {success} = 0 AND {exit_} >= -4095 THEN coalesce("  # noqa: S608
        f"(SELECT error.name FROM errno_name error WHERE error.errno = -{exit_}),"
        f" CAST(-{exit_} AS text)) END"
    )


def full_path(name: str, cwd: str, nametype: str) -> str:
    """Give the path of a file that a call `s` (`call`) named; NULL if the log does not say it.

    A relative name is joined with the working directory; `..` stays, as a directory before it
    can be a symbolic link. It cannot be said for a name that is relative to a descriptor, and
    for what a symbolic link was made to point at.
    """
    elsewhere = (
        "EXISTS (SELECT 1 FROM argument_shape k WHERE k.call = call.name AND k.kind = 'dirfd'"
        " AND (CASE k.place WHEN 0 THEN s.a0 WHEN 1 THEN s.a1 ELSE s.a2 END) & 4294967295"
        " <> 4294967196)"
    )
    target = f"(call.name IN ('symlink', 'symlinkat') AND {nametype} = 'UNKNOWN')"
    return (
        f"CASE WHEN substr({name}, 1, 1) = '/' THEN {name}"
        f" WHEN {cwd} IS NULL OR {elsewhere} OR {target} THEN NULL"
        f" WHEN {name} IN ('.', './') THEN {cwd}"
        f" ELSE rtrim({cwd}, '/') || '/' ||"
        f" CASE WHEN substr({name}, 1, 2) = './' THEN substr({name}, 3) ELSE {name} END END"
    )


def address(row: str = "a") -> str:
    """Give an address as one text: a path, 192.0.2.1:443, [2001:db8::1]:443, or its family."""
    return (
        f"coalesce(nullif({row}.path, ''), CASE WHEN {row}.family = 'inet6' AND {row}.port"
        f" IS NOT NULL THEN '[' || {row}.address || ']:' || CAST({row}.port AS text)"
        f" WHEN {row}.family IN ('inet', 'vsock') AND {row}.port IS NOT NULL"
        f" THEN {row}.address || ':' || CAST({row}.port AS text)"
        f" ELSE nullif({row}.address, '') END, {row}.family)"
    )
