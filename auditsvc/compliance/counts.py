"""Counts each control's events in the store, by their key or by what the calls were.

A rule that is in force logs with its own key, and the key's index gives the count. Where
an earlier rule may have matched first (every-syscall rules do, for all), the rule is turned
into SQL that finds the calls it is for. That differs from the kernel's own matching where
the rows do not have the facts. The count is then too low, never too high, except for
`openat2`, whose flags are not arguments:

- a file is found by the name that the call used (and its working folder), not by other
  names of it (links, `..`);
- conditions on inodes, devices, labels, address families and the like are not counted.

Every count is limited by event ids, which begin with the second.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Final

from auditsvc.compliance.model import Seen
from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.rule import fields
from auditsvc.rule.host import native_arch
from auditsvc.ruleset import perms
from auditsvc.ruleset.cover import arches, calls, tested
from auditsvc.store.databases import parse_url
from auditsvc.store.read.questions import Keyed, calls_by_key, calls_made, count_of_union
from auditsvc.store.read.texts import Texts, quoted
from auditsvc.store.views.dialect import SQLITE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from auditsvc.rule import Condition, Rule

_U32: Final = 0xFFFFFFFF
_SUCCESS: Final = 104
_EXIT: Final = 103
_ARGUMENTS: Final = {200: "a0", 201: "a1", 202: "a2", 203: "a3"}
_IDS: Final = {
    0: "pid",
    1: "uid",
    2: "euid",
    3: "suid",
    4: "fsuid",
    5: "gid",
    6: "egid",
    7: "sgid",
    8: "fsgid",
    9: "auid",
    18: "ppid",
    25: "ses",
}
_COLUMNS: Final = frozenset(_IDS.values())
_FROM: Final = "FROM syscall s JOIN context c ON c.id = s.context"
# In this order on SQLite, which expects too much of a range of texts and would read all calls; on
# PostgreSQL each step by an index, as there are no statistics of all partitions together.
_NAMED: Final = {
    "sqlite": "FROM text t CROSS JOIN file f CROSS JOIN path p CROSS JOIN syscall s"
    f" JOIN context c ON c.id = s.context AND f.name = t.id AND s.id = p.event"
    f" AND {SQLITE.settled.format('p', 'file = f.id')} AND {{0}}",
    "postgresql": "FROM (SELECT event FROM path WHERE file = ANY(ARRAY(SELECT f.id FROM text t"
    " JOIN file f ON f.name = t.id WHERE {0})) AND event >= {1} OFFSET 0) p"
    " CROSS JOIN LATERAL (SELECT * FROM syscall WHERE id = p.event OFFSET 0) s"
    " JOIN context c ON c.id = s.context",
}
"""The calls that named a file; a format of the condition on its name, the text `t`, and of the
least event. SQLite takes that from the call's."""
_NEVER: Final = "1 = 0"
_NONE: Final = "SELECT CAST(NULL AS bigint) AS id WHERE 1 = 0"
_RELATIVE: Final = (
    "EXISTS (SELECT 1 FROM path p JOIN file f ON f.id = p.file JOIN text t ON t.id = f.name"
    " WHERE p.event = s.id AND substr(t.value, 1, 1) <> '/')"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One control: the keys of its events, and the rules to count by their calls too."""

    keys: tuple[str, ...]
    rules: tuple[Rule, ...] = ()


class _Uncounted(Exception):  # noqa: N818 - never leaves this module
    """A rule has a condition that the rows cannot answer."""


def count(url: str, host: str, since: int, wanted: Sequence[Wanted]) -> list[Seen]:
    """Count the events of `host` from the second `since` on, control by control.

    StoreError if the store cannot be read. Events of io_uring are not counted: they are not
    system calls.
    """
    query = _Query(url, host, since << SERIAL_BITS)
    every = sorted({key for each in wanted for key in each.keys})
    by_key = query.by_key(every, bounded=True)
    unseen = [key for key in every if key not in by_key]
    before = query.by_key(unseen, bounded=False)
    found = []
    for each in wanted:
        parts, uncounted = query.parts(each.rules)
        if parts:
            parts += [query.keyed(each.keys)] if each.keys else []
            number, last = query.union(parts)
        else:
            seen = [by_key[key] for key in each.keys if key in by_key]
            number, last = sum(n for n, _ in seen), max((at for _, at in seen), default=None)
        if last is None:
            last = max((before[key][1] for key in each.keys if key in before), default=None)
        second = None if last is None else last >> SERIAL_BITS
        found.append(Seen(number, second, "calls" if parts else "key", uncounted))
    return found


class _Query:
    """The SQL, and the store that runs it."""

    def __init__(self, url: str, host: str, least: int) -> None:
        self._url = url
        self._host = f"c.host IN (SELECT id FROM host WHERE name = {quoted(host)})"  # noqa: S608 - literals are quoted
        self._first = least
        self._least = f"s.id >= {least}"
        self._texts = Texts(url)
        self._source = _NAMED[parse_url(url).get_backend_name()]
        self._made = calls_made(url, least >> SERIAL_BITS)

    def by_key(self, keys: Sequence[str], *, bounded: bool) -> dict[str, Keyed]:
        """Count and last id of each key that has events; unbounded: of all times."""
        where = [self._host, *([self._least] if bounded else [])]
        return calls_by_key(self._url, keys, where)

    def union(self, parts: Iterable[str]) -> tuple[int, int | None]:
        """Count and last id of the events that any part selects, each once."""
        return count_of_union(self._url, parts)

    def keyed(self, keys: Iterable[str]) -> str:
        """Ids of the events that have one of the keys."""
        ids = f"SELECT t.id FROM text t WHERE {self._texts.is_one('t', keys)}"  # noqa: S608 - as above
        return self._select(_FROM, [f"c.key IN ({ids})"])

    def parts(self, rules: Iterable[Rule]) -> tuple[list[str], int]:
        """Selects of ids for rules, and how many rules cannot be counted."""
        found: list[str] = []
        outcome: Counter[bool] = Counter()
        for rule in rules:
            try:
                found += self._rule(rule) or [_NONE]
            except _Uncounted:
                outcome[False] += 1
        return found, outcome[False]

    def _select(self, source: str, where: list[str]) -> str:
        return f"SELECT s.id AS id {source} WHERE {' AND '.join([self._least, self._host, *where])}"

    def _rule(self, rule: Rule) -> list[str]:
        where = [*_calls(rule, self._made)]
        if _NEVER in where:
            return []
        sources: list[tuple[str, list[str]]] = [(_FROM, [])]
        for condition in tested(rule):
            if condition.field == fields.PATH:
                sources = self._named(str(condition.value))
            elif condition.field == fields.DIR:
                sources = self._below(str(condition.value).rstrip("/"))
            elif condition.field not in (fields.ARCH, fields.PERM):
                where.append(_condition(self._texts, condition))
        return [self._select(source, where + more) for source, more in sources]

    def _named_by(self, name: str) -> str:
        return self._source.format(name, self._first)

    def _named(self, path: str) -> list[tuple[str, list[str]]]:
        """Calls that named a file by its path, or by its name in its folder."""
        folder, _, name = path.rpartition("/")
        return [
            (self._named_by(self._texts.is_one("t", [path])), []),
            (
                self._named_by(self._texts.is_one("t", [name])),
                [_text(self._texts, "c.cwd", folder or "/")],
            ),
        ]

    def _below(self, folder: str) -> list[tuple[str, list[str]]]:
        """Calls that named a folder or a path below it, or a relative path from there."""
        folders = f"SELECT t.id FROM text t WHERE {self._prefix(folder)}"  # noqa: S608 - as above
        contexts = f"SELECT id FROM context WHERE cwd IN ({folders})"  # noqa: S608 - as above
        return [
            (self._named_by(self._prefix(folder)), []),
            (_FROM, [f"s.context IN ({contexts})", _RELATIVE]),
        ]

    def _prefix(self, folder: str) -> str:
        itself = self._texts.is_one("t", [folder or "/"])
        return f"({itself} OR {self._texts.is_below('t', folder)})"


def _calls(rule: Rule, made: Mapping[int, int]) -> list[str]:
    """Which calls, arch by arch, of those that were `made`: others need not be looked for."""
    wanted = next((int(c.value) for c in rule.conditions if c.field == fields.PERM), None)
    if rule.every_syscall and wanted is None:
        return [] if rule.arch is None else [f"c.arch = {rule.arch}"]
    if rule.arch is None and wanted is None:
        # The same numbers on every architecture.
        return [_among(calls(rule, native_arch()) & reduce(or_, made.values(), 0))]
    machines = []
    for arch in arches(rule):
        mask = calls(rule, arch) & made.get(arch, 0)
        opens = {} if wanted is None else perms.opens(arch, wanted)
        flagged = {nr: argument for nr, argument in opens.items() if mask >> nr & 1}
        always = mask & ~sum(1 << nr for nr in flagged)
        cases = [_among(always)] if always else []
        cases += [_opened(nr, argument, wanted or 0) for nr, argument in flagged.items()]
        if cases:
            machines.append(f"(c.arch = {arch} AND ({' OR '.join(cases)}))")
    return [f"({' OR '.join(machines)})"] if machines else [_NEVER]


def _opened(number: int, argument: int | None, wanted: int) -> str:
    """An open with a wanted access mode, which `argument` holds (ACC_MODE of kernel/auditsc.c)."""
    both = perms.READ | perms.WRITE
    if argument is None or wanted & both == both:
        return f"s.nr = {number}"
    modes = "0, 2, 3" if wanted & perms.READ else "1, 2, 3"
    return f"(s.nr = {number} AND (s.a{argument} & 3) IN ({modes}))"


def _among(mask: int) -> str:
    numbers = [str(nr) for nr in range(mask.bit_length()) if mask >> nr & 1]
    return f"s.nr IN ({', '.join(numbers)})" if numbers else _NEVER


def _condition(texts: Texts, condition: Condition) -> str:
    symbol = fields.SYMBOLS[condition.operator]
    value = condition.value
    if condition.field == fields.EXE:
        return _text(texts, "c.exe", str(value), absent=symbol == "!=")
    if condition.field == fields.COMPARE:
        left, right = (f"c.{name}" for name in _pair(int(value)))
        return f"{left} {'=' if symbol == '=' else '<>'} {right}"
    if condition.field == _SUCCESS:
        return _success(symbol, int(value))
    if condition.field == _EXIT:
        return _exit(symbol, int(value))
    if condition.field in _ARGUMENTS:
        return _compared(f"(s.{_ARGUMENTS[condition.field]} & {_U32})", symbol, int(value))
    if condition.field in _IDS:  # an unset id is the largest number in the kernel, NULL in rows
        column = f"coalesce(c.{_IDS[condition.field]}, {_U32})"
        return _compared(column, symbol, int(value))
    raise _Uncounted


def _pair(number: int) -> tuple[str, str]:
    left, right = fields.COMPARISONS[number]
    if not {left, right} <= _COLUMNS:
        raise _Uncounted
    return left, right


def _success(symbol: str, value: int) -> str:
    if symbol not in ("=", "!="):
        raise _Uncounted
    wanted = int(bool(value)) if symbol == "=" else int(not value)
    return f"s.success = {wanted}"


def _exit(symbol: str, value: int) -> str:
    if symbol == "=" and value >> 31:  # an errno: there is an index on those
        return f"s.success = 0 AND s.exit = {value - (1 << 32)}"
    return f"s.success IS NOT NULL AND {_compared(f'(s.exit & {_U32})', symbol, value)}"


def _compared(column: str, symbol: str, value: int) -> str:
    """Compare as audit_comparator does: unsigned, in 32 bits."""
    match symbol:
        case "&":
            return f"({column} & {value}) <> 0"
        case "&=":
            return f"({column} & {value}) = {value}"
        case "!=":
            return f"{column} <> {value}"
        case _:
            return f"{column} {symbol} {value}"


def _text(texts: Texts, column: str, value: str, *, absent: bool = False) -> str:
    word = "NOT IN" if absent else "IN"
    return f"{column} {word} (SELECT t.id FROM text t WHERE {texts.is_one('t', [value])})"  # noqa: S608 - as above
