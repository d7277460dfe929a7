"""The conditions of a search, each as alternatives over the store's views.

An event is a row of `syscalls` or a row of `events`; a condition is written for both. Of a
system call it is an alternative of conditions on its row and on rows of other views. What
ausearch reads from which record stands in its ausearch-parse.c; a value that several records
give is that of the SYSCALL if there is one.

Differences from ausearch, each of them shown by a test (tests/conformance/test_search.py):
a record that ausearch cannot read hides nothing; fields are those that the record has, not
what looks like one inside a value; the uid of SECCOMP and ANOM_ABEND is their own; io_uring's
calls have keys, users and results; hosts have names without `node=`, too. A key that has a
comma is found as if it were two, for that is how the store shows several keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.search import named_files, places, told_texts
from auditsvc.search.criteria import UNSET
from auditsvc.search.dialect import listed, literal
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.search.criteria import Criteria
    from auditsvc.search.dialect import Dialect


class Rows(NamedTuple):
    """An alternative: the event has a row in `view` for which `where` holds."""

    view: str
    where: str
    call: str = ""
    """A condition that must also hold for the system call itself."""
    common: bool = False
    """Whether so many events have such a row that a list of them is no way to find any."""
    is_join: bool = False
    """Whether `view` is several that are joined: of these only a list can be made."""


Alternative = str | Rows


NEVER: Final[tuple[Alternative, ...]] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold for a system call, and what for another event; nothing holds of ()."""

    calls: tuple[Alternative, ...]
    others: tuple[Alternative, ...]


def _types(*ranges: range | int) -> str:
    numbers = [
        number
        for each in ranges
        for number in (range(each, each + 1) if isinstance(each, int) else each)
    ]
    return listed(names.record_type_name(number) for number in numbers)


_MAC: Final = range(1403, 1420)
_INTEGRITY: Final = range(1800, 1808)
_AVC: Final = (1107, 1400)
_UNSET_TEXT: Final = "('4294967295', '-1')"
_INET: Final = "family IN ('inet', 'inet6')"


class Conditions:
    """Writes the conditions of some criteria."""

    def __init__(self, criteria: Criteria, dialect: Dialect, *, views_only: bool = False) -> None:
        """`views_only`: as an archive has no other tables."""
        self._criteria = criteria
        self._views_only = views_only
        self._dialect = dialect
        self.names: list[tuple[str, str]] = []
        """Columns of files, and conditions on them that have a table each (`named_files`)."""
        self.told: list[str] = []
        """Conditions on fields of `events` that have a table each (`told_texts`)."""

    def written(self) -> Iterator[Condition]:
        """Give all conditions but that of time; first those whose rows are few."""
        of = self._criteria
        if of.serial is not None:
            yield _both(f"serial = {of.serial:d}")
        if of.hosts:
            yield _both(f"host IN ({listed(of.hosts)})")
        if of.path is not None:
            yield self._path(of.path)
        if of.file is not None:
            yield self._file(of.file)
        if of.remote is not None:
            yield self._remote(of.remote)
        yield from self._labels()
        yield from self._places()
        if of.key is not None:
            yield self._key(of.key)
        if of.types:
            yield self._type(of.types)
        yield from self._texts()
        yield from self._users()
        yield from self._groups()
        yield from self._numbers()
        yield from self._call()
        if of.where is not None:
            yield Condition((f"({of.where}\n)",), NEVER)
        for process in of.exclude:
            of_it = (
                f"host = {literal(process.host)}"
                f" AND event_id BETWEEN {process.since:d} AND {process.until:d}"
            )
            not_it = f"NOT (coalesce(pid, -1) = {process.pid:d} AND {of_it})"
            yield Condition((not_it,), (not_it,))

    # --- of any record -----------------------------------------------------------------

    def _has(self, column: str, text: str) -> str:
        return self._dialect.has(column, text, whole=self._criteria.whole)

    def _field(self, name: str, text: str) -> str:
        return self._has(self._dialect.value(name), text)

    def _told(self, condition: str) -> str:
        """Write a condition on the fields of an event such that each text is read once."""
        if self._views_only:
            return condition
        if condition not in self.told:
            self.told.append(condition)
        return told_texts.condition_of(self.told.index(condition))

    def _own(self, name: str, text: str) -> str:
        return self._has(self._dialect.own_value(name), text)

    def _texts(self) -> Iterator[Condition]:
        of = self._criteria
        if of.comm is not None:
            other = self._told(self._field("comm", of.comm))
            yield Condition((self._has("comm", of.comm),), (other,))
        if of.exe is not None:
            other = self._told(self._own("exe", of.exe))
            yield Condition((self._has("exe", of.exe),), (other,))
        if of.terminal is not None:
            other = self._any(*(self._own(name, of.terminal) for name in ("terminal", "tty")))
            yield Condition((self._has("tty", of.terminal),), (self._told(other),))

    def _numbers(self) -> Iterator[Condition]:
        of, value = self._criteria, self._dialect.value
        if of.pid is not None:
            yield _both(f"pid = {of.pid:d}")
        if of.ppid is not None:
            other = self._told(f"{value('ppid')} = '{of.ppid:d}'")
            yield Condition((f"ppid = {of.ppid:d}",), (other,))
        if of.session == UNSET:
            told = self._told(f"{value('ses')} IN {_UNSET_TEXT}")
            unset = f"(ses IS NULL AND {told})"
            yield Condition(("ses IS NULL",), (unset,))
        elif of.session is not None:
            yield _both(f"ses = {of.session:d}")

    # --- users and groups ----------------------------------------------------------------

    def _auid(self, auid: int) -> tuple[str, str]:
        if auid == UNSET:
            told = self._told(f"{self._dialect.value('auid')} IN {_UNSET_TEXT}")
            return "auid IS NULL", f"(auid IS NULL AND {told})"
        return f"auid = {auid:d}", f"auid = {auid:d}"

    def _uid(self, uid: int) -> str:
        # In a message of user space the uid inside msg='' is that of the event.
        return f"{self._dialect.last_value('uid')} = '{uid:d}'"

    def _users(self) -> Iterator[Condition]:
        of, value = self._criteria, self._dialect.value
        if of.auid is not None:
            call, other = self._auid(of.auid)
            yield Condition((call,), (other,))
        if of.uid is not None:
            yield Condition((f"uid = {of.uid:d}",), (self._told(self._uid(of.uid)),))
        if of.euid is not None:
            other = f"{value('euid')} = '{of.euid:d}'"
            yield Condition((f"euid = {of.euid:d}",), (self._told(other),))
        if of.any_uid is not None:
            call, other = self._auid(of.any_uid)
            number = of.any_uid
            calls = f"({call} OR uid = {number:d} OR euid = {number:d})"
            told = self._told(f"({self._uid(number)} OR {value('euid')} = '{number:d}')")
            yield Condition((calls,), (f"({other} OR {told})",))

    def _groups(self) -> Iterator[Condition]:
        of, value = self._criteria, self._dialect.value
        accounts = "type IN ('ADD_GROUP', 'DEL_GROUP', 'GRP_MGMT')"

        def other(gid: int) -> str:
            own = self._told(f"{value('gid')} = '{gid:d}'")
            told = self._told(f"{value('id')} = '{gid:d}'")
            return f"({own} OR ({accounts} AND {told}))"

        if of.gid is not None:
            yield Condition((f"gid = {of.gid:d}",), (other(of.gid),))
        if of.egid is not None:
            egid = self._told(f"{value('egid')} = '{of.egid:d}'")
            yield Condition((f"egid = {of.egid:d}",), (egid,))
        if of.any_gid is not None:
            number = of.any_gid
            calls = f"(gid = {number:d} OR egid = {number:d})"
            egid = self._told(f"{value('egid')} = '{number:d}'")
            others = f"({other(number)} OR {egid})"
            yield Condition((calls,), (others,))

    # --- system calls --------------------------------------------------------------------

    def _call(self) -> Iterator[Condition]:
        of, value = self._criteria, self._dialect.value
        if of.arch is not None:
            shown = names.arch_name(of.arch)
            other = self._told(f"lower({value('arch')}) = '{of.arch:x}'")
            yield Condition((f"arch = {literal(shown)}",), (other,))
        if of.nr is not None:
            other = f"(type = 'SECCOMP' AND {value('syscall')} = '{of.nr:d}')"
            yield Condition((f"nr = {of.nr:d}",), (other,))
        if of.syscall is not None:
            nr = None if of.arch is None else names.syscall_number(of.arch, of.syscall)
            other = f"(type = 'SECCOMP' AND {value('syscall')} = '{nr}')"
            shown = of.syscall
            if of.arch is not None and nr is not None:
                shown = names.syscall_name(of.arch, nr) or of.syscall
            yield Condition((f"syscall = {literal(shown)}",), NEVER if nr is None else (other,))
        if of.exit is not None:
            other = f"(type = 'URINGOP' AND {value('exit')} = '{of.exit:d}')"
            # A result that is an errno is one of a failed call: those have an index.
            failed = -4096 < of.exit < 0
            call = f"exit = {of.exit:d}"
            if failed:
                call += f" AND success = {self._dialect.false}"
            yield Condition((call,), (other,))
        if of.success is not None:
            yield self._success(of.success)

    def _success(self, success: bool) -> Condition:
        value = self._dialect.value
        res, result = self._dialect.own_value("res"), f"lower({value('result')})"
        if success:
            call = f"success = {self._dialect.true}"
            told = self._any(
                f"({res} NOT LIKE 'failed%' AND {res} <> '0')",
                f"{result} = 'success'",
                f"{value('seresult')} = 'granted'",
                f"{value('apparmor')} = 'ALLOWED'",
                f"{value('success')} = 'yes'",
            )
            # Older kernels write no result of what cannot fail.
            more = [f"(type IN ('CONFIG_CHANGE', 'LOGIN') AND {res} IS NULL)"]
        else:
            call = f"success = {self._dialect.false}"
            told = self._any(
                f"({res} LIKE 'failed%' OR {res} = '0')",
                f"{result} <> 'success'",
                f"{value('seresult')} = 'denied'",
                f"{value('apparmor')} = 'DENIED'",
                f"{value('success')} = 'no'",
            )
            more = []
        return Condition((call,), (self._told(told), *more))

    # --- what a call was made on -----------------------------------------------------------

    def _file(self, text: str) -> Condition:
        field = self._field
        common: list[Alternative] = [
            self._name(text),
            *self._unnamed(text),
            Rows("sockaddrs", self._unix(self._has(_PLAIN_SOCKET, text))),
        ]
        named = f"({field('path', text)} OR {field('name', text)})"
        common.append(_records(_types(1400, 1402, 1305, _INTEGRITY), named))
        calls = (*common, self._has("cwd", text), *self._joined(text))
        of_message = [field(name, text) for name in ("path", "name", "new-disk", "cwd")]
        cwd = _records("'CWD'", field("cwd", text))
        return Condition(calls, (*common, self._told(self._any(*of_message)), cwd))

    def _unnamed(self, text: str) -> Iterator[Rows]:
        """Give the alternative of a file that the kernel writes as (null): it has no name."""
        if text == "(null)":
            yield self._of_names(named_files.NAMELESS)

    def _name(self, text: str) -> Rows:
        found = self._has("name", text)
        if self._criteria.whole:
            return Rows("paths", f"{found} AND NOT {_IS_RELATIVE}")
        return self._of_names(found)

    def _of_names(self, condition: str, call: str = "", column: str = "name") -> Rows:
        """Give the alternative that a file's name fulfils this; nobody knows how many do."""
        if self._views_only:
            return Rows("paths", condition, call)
        self.names.append((column, condition))
        return Rows(named_files.view_of(len(self.names) - 1), _ANY, call)

    def _joined(self, text: str) -> Iterator[Rows]:
        """Give the alternatives of a text that spans a directory and a name in it.

        ausearch joins names that begin with ./ or ../ with the working directory.
        """
        for at, sign in enumerate(text):
            left, right = text[:at], text[at + 1 :]
            if sign != "/" or (right and right[0] != "."):
                continue
            if self._criteria.whole:
                if right[:2] in ("./", ".."):
                    yield Rows("paths", f"name = {literal(right)}", f"cwd = {literal(left)}")
                continue
            begins = f" AND substr(name, 1, {len(right)}) = {literal(right)}" if right else ""
            ends = self._dialect.ends.format("cwd", len(left), literal(left)) if left else ""
            yield self._of_names(f"{_IS_RELATIVE}{begins}", ends or "cwd IS NOT NULL")

    def _named(self, condition: str) -> str:
        """Write a condition on the name of a file such that SQLite looks for names first."""
        return f"{_NAMED} AND {self._seldom(condition)}"

    def _seldom(self, condition: str) -> str:
        return self._dialect.seldom.format(f"({condition})")

    @staticmethod
    def _any(*conditions: str) -> str:
        return f"({' OR '.join(conditions)})"

    def _unix(self, condition: str) -> str:
        return f"family = 'unix' AND {self._seldom(condition)}"

    def _path(self, path: str) -> Condition:
        """Give the condition that a file has this full path, or one below it."""
        path = path.rstrip("/") or "/"
        inner = path.rstrip("/") + "/"
        here = f"(cwd = {literal(path)} OR {_begins('cwd', inner)})"
        relative = "substr(name, 1, 1) <> '/' AND substr(name, 1, 2) <> '..'"
        exact, within = f"name = {literal(path)}", _begins("name", inner)
        socket = (f"path = {literal(path)}", _begins("path", inner))
        above = []  # folders above it, and the names that are relative to one
        parts = path.strip("/").split("/")
        for at in range(len(parts)):
            rest = "/".join(parts[at:])
            above.append((literal("/" + "/".join(parts[:at])), (rest, f"./{rest}")))
        if self._views_only:
            return self._path_in_views(self._any(exact, within), socket, (here, relative), above)
        found: list[Alternative] = [
            Rows("paths", exact),
            self._of_names(within),
            *self._below(here, relative),
            *(Rows("sockaddrs", self._unix(each)) for each in socket),
        ]
        below, tests = [], []
        for cwd, relative_names in above:
            for name in relative_names:
                found.append(Rows("paths", f"name = {literal(name)}", f"cwd = {cwd}"))
                below.append(_begins("name", f"{name}/"))
                of_it = f"paths.event_id = syscalls.event_id AND {below[-1]}"
                tests.append(f"(cwd = {cwd} AND EXISTS (SELECT 1 FROM paths WHERE {of_it}))")  # noqa: S608
        found.append(Rows("paths", self._named(self._any(*below)), self._any(*tests)))
        others = [each for each in found if isinstance(each, Rows) and not each.call]
        return Condition(tuple(found), tuple(others))

    def _below(self, here: str, relative: str) -> Iterator[Alternative]:
        """Give the alternatives of a file that is named relative to a directory that is `here`.

        Most calls may be in such a directory, or most names be relative: where the calls are
        few, each is asked for its names; else the names are looked for first.
        """
        among = f"SELECT 1 FROM syscalls WHERE {here} LIMIT {_FEW_CALLS + 1}"  # noqa: S608 - see dialect
        count = f"(SELECT count(*) FROM ({among}) AS there)"  # noqa: S608 - as above
        yield Rows("paths", relative, f"{count} <= {_FEW_CALLS} AND {here}", common=True)
        named = self._of_names(relative).view
        found = f"SELECT event_id FROM {named}"  # noqa: S608 - as above
        column = self._dialect.no_range.format("event_id")
        yield (
            f"({count} > {_FEW_CALLS} AND EXISTS ({found}) AND {here} AND {column} IN ({found}))"
        )

    def _path_in_views(
        self,
        name: str,
        socket: tuple[str, str],
        inside: tuple[str, str],
        above: list[tuple[str, tuple[str, str]]],
    ) -> Condition:
        """Give it where there is no index: each view is read once.

        `inside`: the working directory is the folder or below it, and the name is relative.
        """
        here, relative = inside
        alone = (Rows("paths", name), Rows("sockaddrs", self._unix(self._any(*socket))))
        tests = [f"({here} AND {relative})"]
        for cwd, names_ in above:
            found = [f"name IN ({listed(names_)})", *(_begins("name", f"{n}/") for n in names_)]
            tests.append(f"(cwd = {cwd} AND {self._any(*found)})")
        folders = ", ".join(dict.fromkeys(cwd for cwd, _ in above))
        where = f"({here} OR cwd IN ({folders})) AND {self._any(*tests)}"
        joined = Rows("paths JOIN syscalls USING (event_id)", where, is_join=True)
        return Condition((*alone, joined), alone)

    def _remote(self, text: str) -> Condition:
        value = self._dialect.own_value
        address = Rows("sockaddrs", f"{_INET} AND {self._seldom(self._has('address', text))}")
        packet = self._field("saddr", text)
        host = f"coalesce(nullif({value('hostname')}, '?'), {value('addr')}, {value('hostname')})"
        told = self._told(self._has(host, text))
        others = (told, f"(type = 'NETFILTER_PKT' AND {packet})", address)
        return Condition((address, _records("'NETFILTER_PKT'", packet)), others)

    def _labels(self) -> Iterator[Condition]:
        of = self._criteria
        if of.subject is not None:
            yield self._subject(of.subject)
        if of.object is not None:
            yield self._object(of.object)
        if of.context is not None:
            subject, object_ = self._subject(of.context), self._object(of.context)
            calls = dict.fromkeys((*object_.calls, *subject.calls))
            others = dict.fromkeys((*object_.others, *subject.others))
            yield Condition(tuple(calls), tuple(others))

    def _subject(self, text: str) -> Condition:
        of_avc = _records(_types(*_AVC), self._field("scontext", text))
        types = _types(1006, 1305, 1326, 1328, _MAC, _INTEGRITY)
        of_task = _records(types, self._field("subj", text))
        found = [self._field(name, text) for name in ("subj", "scontext", "vm-ctx")]
        further = (of_avc, of_task)
        others = (self._told(self._any(*found)), *further)
        return Condition((self._has("subj", text), *further), others)

    def _object(self, text: str) -> Condition:
        path = self._of_names(f"obj > '' AND {self._has('obj', text)}", column="obj")
        found = self._any(self._field("obj", text), self._field("tcontext", text))
        records = _records(_types(*_AVC, 1303, 1318, 1324), found)
        more = [self._field(name, text) for name in ("obj", "tcontext", "img-ctx")]
        return Condition((path, records), (path, records, self._told(self._any(*more))))

    def _places(self) -> Iterator[Condition]:
        """Give those of a place: containers and units, and virtual machines."""
        if self._criteria.place is not None:
            calls, others = (Rows(view, _ANY) for view in (places.CALLS, places.EVENTS))
            yield Condition((calls,), (others,))
        for name, text in (("uuid", self._criteria.uuid), ("vm", self._criteria.vm)):
            if text is not None:
                yield Condition(NEVER, (self._told(self._field(name, text)),))

    def _key(self, key: str) -> Condition:
        if self._criteria.whole:  # several keys stand with a comma between them
            framed = literal(f",{key},")
            call = self._dialect.position.format("',' || key || ','", framed) + " > 0"
        else:
            call = self._has("key", key)
        if key == "(null)":  # as the kernel writes it of a call that no rule with a key asks for
            call = f"({call} OR key IS NULL)"
        # In JSON the kernel's separator of keys is the escape of 0x01: a text of its own.
        field = self._dialect.value("key")
        split = f"replace({field}, {_KEY_MARK[self._dialect.true]}, ',')"
        if self._criteria.whole:
            framed = literal(f",{key},")
            found = self._dialect.position.format(f"',' || {split} || ','", framed) + " > 0"
        else:
            found = self._has(field, key)
        records = _records(_types(1305, 1336, _MAC), found)
        return Condition((call, records), (records, self._told(found)))

    def _type(self, types: tuple[str, ...]) -> Condition:
        rest = [each for each in types if each not in _OWN_VIEWS]
        calls: list[Alternative] = [_OWN_VIEWS[each] for each in types if each in _OWN_VIEWS]
        others: list[Alternative] = [
            each for each in calls if isinstance(each, Rows) and each.view != "records"
        ]
        if rest:
            calls.append(_records(listed(rest), ""))
        kinds = f"type IN ({listed(types)})"
        return Condition(tuple(calls), (kinds, *others, _records(listed(types), "")))


_FEW_CALLS: Final = 100_000
"""Calls that are each asked for the files that they named."""
_NAMED: Final = "name > ''"
"""Lets SQLite look at the name of a file before it looks for the file's events."""
_IS_RELATIVE: Final = "(substr(name, 1, 2) IN ('./', '..'))"
_PLAIN_SOCKET: Final = "CASE WHEN substr(path, 1, 1) = '@' THEN substr(path, 2) ELSE path END"
_KEY_MARK: Final = {"1": "char(1)", "true": "chr(1)"}
_ANY: Final = "event_id IS NOT NULL"
_OWN_VIEWS: Final[dict[str, Alternative]] = {
    "SYSCALL": _ANY,
    "CWD": "cwd IS NOT NULL",
    "PROCTITLE": "proctitle IS NOT NULL",
    # The names lead to an index; the arguments tell that the record was there.
    "EXECVE": "(syscall IN ('execve', 'execveat') AND argv IS NOT NULL)",
    "PATH": Rows("paths", _ANY, common=True),
    "SOCKADDR": Rows("sockaddrs", _ANY),
}
"""Record types that have columns or a view of their own."""


def _begins(column: str, text: str) -> str:
    return f"substr({column}, 1, {len(text)}) = {literal(text)}"


def _records(types: str, where: str) -> Rows:
    """Give the alternative that the event has a further record of these types.

    With `type > ''`, which always holds, SQLite takes a type by its name first, and then
    reads nothing of what has other types.
    """
    last = f" AND {where}" if where else ""
    return Rows("records", f"type IN ({types}) AND type > ''{last}")


def _both(condition: str) -> Condition:
    return Condition((condition,), (condition,))
