"""What an auditor must review each day (PCI DSS 10.4.1 and the like), as values.

Sections: logins, failed access, use of privilege, changes, denials and anomalies, programs and
hosts that the week before had not, and the health of audit itself. Each has sums, largest first,
and says how many rows it leaves out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from auditsvc.enrich.kinds import KINDS
from auditsvc.report import rollup, types
from auditsvc.report.catalogue import BY_NAME
from auditsvc.report.choice import Choice
from auditsvc.report.columns import (
    CALLS,
    WITH_OTHERS,
    are_calls,
    are_lone,
    folded,
    lone,
    lone_parts,
)
from auditsvc.report.details import without_access, without_notes
from auditsvc.report.groups import GROUPS
from auditsvc.report.kinds import Kinds
from auditsvc.report.proof import Proof, proof
from auditsvc.report.summaries import sums, values
from auditsvc.report.values import Value, host, shower, success, time_of
from auditsvc.store.read.time_span import Span
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from auditsvc.report.reader import Reader

MOST: Final = 25
"""Rows of a section."""
_WEEK: Final = 7 * 86400
_REFUSED: Final = (-13, -1)
"""EACCES and EPERM."""
_SECURITY: Final = tuple(
    sorted(call for kind in KINDS if kind.security for call in kind.calls - {"syslog"})
)
"""Calls that change the host's security: kernel modules, the clock, swap, restart."""
_DAEMON: Final = types.Types((), ((1200, 1299),))
_LOGIN: Final = types.Types((types.USER_LOGIN,))
_USER_CMD: Final = 1123


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report; `alarms`: whether rows in it are to be looked at."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    more: int = 0
    """Rows that are left out."""
    hits: int = 0
    """Events of all rows; the first column counts them."""
    alarms: bool = False
    note: str = ""

    @property
    def size(self) -> int:
        """All its rows, shown or not."""
        return len(self.rows) + self.more


@dataclass(frozen=True, slots=True)
class Hours:
    """A number for each hour, for a plot: hours since 1970 and counts."""

    name: str
    title: str
    counts: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Daily:
    """The report on a time, usually a day."""

    span: Span
    hosts: tuple[str, ...]
    events: int
    sections: tuple[Section, ...]
    hours: tuple[Hours, ...]
    proof: Proof
    figures: dict[str, int] = field(default_factory=dict)

    @property
    def to_review(self) -> tuple[Section, ...]:
        """The sections with something to look at."""
        return tuple(each for each in self.sections if each.alarms and each.rows)


def daily(reader: Reader, choice: Choice, *, interpret: bool = False) -> Daily:
    """Make the report on the time of a choice."""
    asked = _Asked(reader, choice, interpret)
    hosts = choice.hosts or tuple(name for (name,) in reader.rows(_HOSTS))
    below = proof(reader, choice)
    sections = (
        asked.logins(failed=True),
        asked.logins(failed=False),
        asked.refused(),
        asked.refused_files(),
        asked.commands(),
        asked.as_root(),
        asked.changes(),
        asked.calls_of_security(),
        asked.accounts(),
        asked.tampering(),
        asked.denials(),
        asked.anomalies(),
        asked.new("executable", "new-programs", "Programs that the week before had not", "exe"),
        asked.new("host", "new-hosts", "Remote hosts that the week before had not", "host"),
        asked.own_health(),
        asked.reviews(),
    )
    hours = (asked.events_by_hour(), asked.failures_by_hour(), asked.logins_by_hour())
    events = sum(count for _, count in hours[0].counts)
    named = {section.name: section for section in sections}
    figures = {
        "failed logins": named["failed-logins"].hits,
        "logins": named["logins"].hits,
        "refused calls": named["refused"].hits,
        "changes": sum(named[name].hits for name in _CHANGES),
        "denials and anomalies": named["denials"].hits + named["anomalies"].hits,
        "new programs": named["new-programs"].size,
        "new remote hosts": named["new-hosts"].size,
    }
    return Daily(choice.span, tuple(hosts), events, sections, hours, below, figures)


_CHANGES: Final = ("config", "security-calls", "accounts", "tamper")
_HOSTS: Final = "SELECT name FROM host ORDER BY name"


class _Asked:
    """The queries, on one store, time and choice of hosts."""

    def __init__(self, reader: Reader, choice: Choice, interpret: bool) -> None:
        self._reader = reader
        self._span = choice.span
        """As it was asked for."""
        self._choice = rollup.rounded(reader, choice)
        self._interpret = interpret
        self._user = shower("auid", interpret=interpret)
        self._logins: list[tuple[Any, ...]] | None = None
        """Both those that failed and those that did not."""
        reader.kinds = Kinds(reader)

    def _section(
        self,
        name: str,
        title: str,
        columns: str,
        rows: Iterable[Sequence[Value]],
        *,
        alarms: bool = False,
        note: str = "",
    ) -> Section:
        found = [tuple(row) for row in rows]
        return Section(
            name,
            title,
            tuple(columns.split()),
            tuple(found[:MOST]),
            max(0, len(found) - MOST),
            sum(row[0] for row in found if isinstance(row[0], int)),
            alarms,
            note,
        )

    def _of_lone(self, names: Sequence[str], of: types.Types) -> Iterator[tuple[Any, ...]]:
        """Count events without a call, of these types, by these columns: hits first."""
        reader, choice = self._reader, self._choice
        grouped = ", ".join(str(n + 2) for n in range(len(names)))
        found: Counter[tuple[Any, ...]] = Counter()
        for part in lone_parts(names, choice, reader.dialect, kinds=reader.kinds, of=of):
            sql = f"{part.select([part.hits])} GROUP BY {grouped} ORDER BY 1 DESC, {grouped}"
            for hits, *row in reader.rows(sql, choice.values):
                found[tuple(row)] += hits
        # Each part comes in this order; with equal hits the rows of the first part come first.
        yield from ((hits, *row) for row, hits in found.most_common())

    def logins(self, *, failed: bool) -> Section:
        """Logins by user, host and program."""
        outcome = "failed" if failed else "succeeded"
        if self._logins is None:
            columns = ("who", "host", "term", "exe", "success")
            self._logins = list(self._of_lone(columns, _LOGIN))
        rows = [
            (hits, self._user(who), host(peer), term, exe)
            for hits, who, peer, term, exe, result in self._logins
            if result == int(not failed)
        ]
        name = "failed-logins" if failed else "logins"
        title = f"Logins that {outcome}"
        return self._section(name, title, "total user host term exe", rows, alarms=failed)

    def refused(self) -> Section:
        """Calls that failed with EACCES or EPERM, by user and program."""
        sql = self._calls(
            ("coalesce(c.auid, -1)", "exe.value", "coalesce(call.name, CAST(s.nr AS text))"),
            [_refused()],
        )
        rows = ((hits, self._user(auid), exe, call) for hits, auid, exe, call in self._rows(sql))
        title = "Calls that were refused (EACCES, EPERM)"
        return self._section("refused", title, "total auid exe syscall", rows, alarms=True)

    def refused_files(self) -> Section:
        """The files that these calls named."""
        where = " AND ".join([*are_calls(self._choice), _refused(), "p.event = s.id"])
        sql = f"""
            SELECT count(*), n.value, coalesce(c.auid, -1)
            FROM syscall s CROSS JOIN context c CROSS JOIN path p
            JOIN file i ON i.id = p.file JOIN text n ON n.id = i.name
            WHERE {where} AND coalesce(i.nametype, '') <> 'PARENT'
            GROUP BY 2, 3 ORDER BY 1 DESC, 2, 3"""  # noqa: S608 - ours
        rows = ((hits, name, self._user(auid)) for hits, name, auid in self._rows(sql))
        title = "Files to which access was refused"
        return self._section("refused-files", title, "total file auid", rows, alarms=True)

    def commands(self) -> Section:
        """Commands through sudo, by user."""
        part = lone(["auid", "success"], self._choice, self._reader.dialect)
        command = self._reader.dialect.of("cmd")
        sql = part.select(["count(*)", command], [f"e.type = {_USER_CMD}"])
        sql += " GROUP BY 2, 3, 4 ORDER BY 1 DESC, 2, 3, 4"
        rows = (
            (hits, self._user(auid), command, success(result))
            for hits, command, auid, result in self._rows(sql)
        )
        return self._section(
            "sudo", "Commands with sudo", "total auid command success", rows, alarms=False
        )

    def as_root(self) -> Section:
        """Programs that users started with the rights of root."""
        where = [
            *("c.euid = 0", "c.auid IS NOT NULL", "c.auid <> 0", "s.success = 1"),
            *_calls_named(("execve", "execveat")),
        ]
        # By context first: its calls of a number are found by an index.
        sql = self._calls(("c.auid", "exe.value"), where, first="context c CROSS JOIN syscall s")
        rows = ((hits, self._user(auid), exe) for hits, auid, exe in self._rows(sql))
        title = "Programs that users started as root"
        return self._section("as-root", title, "total auid exe", rows)

    def changes(self) -> Section:
        """Changes of audit's, the network filter's and MAC's configuration."""
        reader, choice = self._reader, self._choice
        by = (GROUPS["auid"],)
        found = sums(reader, BY_NAME["config"], choice, by, interpret=self._interpret)
        found.sort(key=lambda each: -each.hits)
        rows = ((each.hits, each.value, each.group[0]) for each in found)
        title = "Changes of the configuration of audit, network filter and MAC"
        return self._section("config", title, "total type auid", rows, alarms=True)

    def calls_of_security(self) -> Section:
        """Kernel modules, the clock, swap, restart: calls that succeeded."""
        where = ["s.success = 1", *_calls_named(_SECURITY)]
        columns = ("coalesce(c.auid, -1)", "exe.value", "call.name")
        sql = self._calls(columns, where)
        if rollup.suits(self._choice):
            sql = self._counted_calls(_SECURITY)
        rows = ((hits, call, exe, self._user(auid)) for hits, auid, exe, call in self._rows(sql))
        title = "Calls on kernel modules, the clock, BPF, swap and restart"
        return self._section("security-calls", title, "total syscall exe auid", rows, alarms=True)

    def accounts(self) -> Section:
        """Changes of accounts, groups and roles."""
        columns = ("type", "auid", "acct", "exe", "success")
        show = shower("type", interpret=False)
        rows = (
            (hits, show(kind), self._user(auid), acct, exe, success(result))
            for hits, kind, auid, acct, exe, result in self._of_lone(columns, types.ACCOUNTS)
        )
        title = "Changes of accounts, groups and roles"
        return self._section(
            "accounts", title, "total type auid acct exe success", rows, alarms=True
        )

    def tampering(self) -> Section:
        """What the guard found: changes of audit by others than the service."""
        where = " AND ".join(["1 = 1", *self._choice.times("t.event_id")])
        hosts = self._choice.hosts
        if hosts:
            where += f" AND t.host IN ({', '.join(f':host{n}' for n in range(len(hosts)))})"
        sql = f"""
            SELECT count(*), t.what, t.detail, coalesce(t.auid, -1), t.exe, t.restored
            FROM tamper t WHERE {where} GROUP BY 2, 3, 4, 5, 6 ORDER BY 1 DESC, 2, 3"""  # noqa: S608
        rows = (
            (hits, what, detail, self._user(auid), exe, restored)
            for hits, what, detail, auid, exe, restored in self._rows(sql)
        )
        title = "Changes of audit by somebody else than this service"
        return self._section(
            "tamper", title, "total what detail auid exe restored", rows, alarms=True
        )

    def denials(self) -> Section:
        """Denials of SELinux and AppArmor, by object."""
        found = sums(self._reader, BY_NAME["avc"], self._choice, interpret=self._interpret)
        rows = ((each.hits, each.value) for each in found)
        title = "Decisions of SELinux and AppArmor, by object"
        return self._section("denials", title, "total obj", rows, alarms=True)

    def anomalies(self) -> Section:
        """Anomalies, and programs that seccomp ended."""
        reader, choice = self._reader, self._choice
        by = (GROUPS["auid"],)
        found = sums(reader, BY_NAME["anomaly"], choice, by, interpret=self._interpret)
        found.sort(key=lambda each: -each.hits)
        rows = ((each.hits, each.value, each.group[0]) for each in found)
        return self._section("anomalies", "Anomalies", "total type auid", rows, alarms=True)

    def new(self, name: str, section: str, title: str, label: str) -> Section:
        """Give what a report's sums have, and those of the week before have not."""
        report = BY_NAME[name]
        before = Choice(span=week_before(self._span), hosts=self._choice.hosts)
        known = values(self._reader, report, before)
        old = {*known, "?"}
        # Most days have no new host, and to list hosts takes less than to count their uses.
        is_any = name != "host" or values(self._reader, report, self._choice) - old
        found = (
            sums(self._reader, report, self._choice, interpret=False, without=old) if is_any else []
        )
        rows = ((each.hits, each.value) for each in found)
        note = "" if known else "The store has nothing of the week before: all are new."
        return self._section(section, title, f"total {label}", rows, alarms=bool(known), note=note)

    def own_health(self) -> Section:
        """Start, end and errors of audit daemons; lost records."""
        reader = self._reader
        part = lone(["type", "auid", "success"], self._choice, reader.dialect)
        where = [
            _DAEMON.condition("e.type"),
            without_notes(reader.dialect),
            without_access(reader.dialect),
        ]
        operation = reader.dialect.of("op")
        sql = part.select(["count(*)", operation], where)
        sql += " GROUP BY 2, 3, 4, 5 ORDER BY 1 DESC, 2, 3, 4, 5"
        show = shower("type", interpret=False)
        rows = [
            (hits, show(kind), op, self._user(auid), success(result))
            for hits, op, kind, auid, result in self._rows(sql)
        ]
        bad = any(row[1] in ("DAEMON_ERR", "DAEMON_ABORT") for row in rows)
        title = "Audit itself: starts, ends and errors"
        return self._section("audit", title, "total type op auid success", rows, alarms=bad)

    def reviews(self) -> Section:
        """Who has reviewed this report, of just this time (`report daily --reviewed`)."""
        what = review_of(self._span)
        sql = (
            "SELECT event_id, name, auid, uid, known_by, options FROM access"
            " WHERE command = 'review' AND substr(options, 1, :length) = :what ORDER BY event_id"
        )
        found = self._reader.rows(sql, {"what": what, "length": len(what)})
        rows = [
            (
                *(time_of(made, 0)[:-4], name, self._user(-1 if auid is None else auid)),
                *(self._user(uid), known_by, said[len(what) :].strip(": ")),
            )
            for made, name, auid, uid, known_by, said in found
        ]
        return self._section(
            "reviews", "Reviews of this time", "time name auid uid known_by note", rows
        )

    def events_by_hour(self) -> Hours:
        """All events."""
        found: Counter[int] = Counter()
        choice, kinds = self._choice, self._reader.kinds
        parts = [
            ("s", "syscall s CROSS JOIN context c", are_calls(choice)),
            ("e", "event e CROSS JOIN text f", are_lone(choice, self._reader.dialect)),
        ]
        others = kinds.by_hour(choice, WITH_OTHERS) if kinds and choice.is_of_times else None
        if others is not None:
            found += others
            del parts[1:]
        for table, joined, conditions_of in parts:
            source, where = joined, conditions_of
            if choice.is_of_times:
                source, where = joined.partition(" CROSS")[0], choice.times(f"{table}.id")
            hour = GROUPS["hour"].of_event.format(f"{table}.id")
            conditions = " AND ".join(["1 = 1", *where])
            sql = f"SELECT {hour}, count(*) FROM {source} WHERE {conditions} GROUP BY 1"  # noqa: S608 - ours
            if table == "s" and rollup.suits(choice):
                sql = rollup.calls(choice, ["hour"])
            for number, count in self._rows(sql):
                found[number] += count
        return Hours("events", "Events an hour", tuple(sorted(found.items())))

    def failures_by_hour(self) -> Hours:
        """Calls that were refused."""
        hour = GROUPS["hour"].of_event.format("s.id")
        where = " AND ".join([*are_calls(self._choice), _refused()])
        source = "syscall s CROSS JOIN context c"
        sql = f"SELECT {hour}, count(*) FROM {source} WHERE {where} GROUP BY 1"  # noqa: S608 - ours
        return Hours("refused", "Refused calls an hour", tuple(sorted(self._rows(sql))))

    def logins_by_hour(self) -> Hours:
        """Logins that failed."""
        hour = GROUPS["hour"].of_event.format("e.id")
        reader, choice = self._reader, self._choice
        part = folded(
            ["success"], choice, reader.dialect, hours=True, kinds=reader.kinds, of=_LOGIN
        )
        rows = self._rows(f"{part.select([hour, part.hits])} GROUP BY 1, 3")
        found = [(number, count) for number, count, result in rows if result == 0]
        return Hours("failed-logins", "Failed logins an hour", tuple(sorted(found)))

    def _counted_calls(self, wanted: Sequence[str]) -> str:
        """Count successful calls of these names by user, program and name: hits first."""
        listed = ", ".join(f"'{name}'" for name in wanted)
        is_it = f"(arch, nr) IN (SELECT arch, nr FROM syscall_name WHERE name IN ({listed}))"  # noqa: S608
        columns = ["exe", "auid", "arch", "nr", "success"]
        inner = rollup.calls(self._choice, columns, ["success = 1", is_it])
        return f"""
            SELECT CAST(sum(g.calls) AS bigint), g.auid, exe.value, call.name FROM ({inner}) g
            LEFT JOIN text exe ON exe.id = g.exe
            JOIN syscall_name call ON call.arch = g.arch AND call.nr = g.nr
            GROUP BY 2, 3, 4 ORDER BY 1 DESC, 2, 3, 4"""  # noqa: S608 - ours

    def _calls(self, columns: Sequence[str], where: Iterable[str], *, first: str = CALLS) -> str:
        """Count calls by these columns: hits first."""
        grouped = ", ".join(str(n + 2) for n in range(len(columns)))
        conditions = " AND ".join([*are_calls(self._choice), *where])
        return f"""
            SELECT count(*), {", ".join(columns)} FROM {first}
            LEFT JOIN text exe ON exe.id = c.exe
            LEFT JOIN syscall_name call ON call.arch = c.arch AND call.nr = s.nr
            WHERE {conditions} GROUP BY {grouped} ORDER BY 1 DESC, {grouped}"""  # noqa: S608 - ours

    def _rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        yield from self._reader.rows(sql, self._choice.values)


def _refused() -> str:
    return f"s.success = 0 AND s.exit IN ({types.listed(_REFUSED)})"


def _calls_named(wanted: Sequence[str]) -> list[str]:
    """Give the conditions for calls of these names; first by number, which every call has."""
    numbers = {
        nr for arch in names.arches() for nr, name in names.syscalls(arch).items() if name in wanted
    }
    listed = ", ".join(f"'{name}'" for name in wanted)
    return [f"s.nr IN ({types.listed(numbers)})", f"call.name IN ({listed})"]


def week_before(span: Span) -> Span:
    """Give the time before another one, whose programs and hosts are not new."""
    return Span(max(0, span.low - _WEEK), max(0, span.low - 1))


def review_of(span: Span) -> str:
    """Give how a review of this time is recorded: its options in the view `access`."""
    return "daily {} to {}".format(*times(span))


def times(span: Span) -> tuple[str, str]:
    """Give the first and the last second of a time as text."""
    return time_of(span.low << 30, 0)[:-4], time_of(span.high << 30, 0)[:-4]
