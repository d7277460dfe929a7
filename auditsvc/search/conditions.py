"""The conditions of a search, each as alternatives over the store's views.

An event is a row of `syscalls` or a row of `events`; a condition is written for both. Of a
system call it is an alternative of conditions on its row and on rows of other views. What
ausearch reads from which record stands in its ausearch-parse.c; a value that several records
give is that of the SYSCALL if there is one.

Differences from ausearch, each of them shown by a test (tests/conformance/test_search.py):
a record that ausearch cannot read hides nothing; fields are those that the record has, not
what looks like one inside a value; the uid that a program's message has in its own text is found
beside the kernel's, and does not hide that; the uid of SECCOMP and ANOM_ABEND is their own;
io_uring's calls have keys, users and results; hosts have names without `node=`, too. A key that
has a comma is found as if it were two, for that is how the store shows several keys.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from auditsvc.record.types import is_message
from auditsvc.search import bare_records, callers, places, told_texts
from auditsvc.search.alternatives import ANY, NEVER, Condition, Rows, any_of, both, of_record
from auditsvc.search.criteria import UNSET
from auditsvc.search.dialect import listed, literal
from auditsvc.search.paths import Paths
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditsvc.search.alternatives import Alternative
    from auditsvc.search.criteria import Criteria
    from auditsvc.search.dialect import Dialect


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


@cache
def _of_program() -> str:
    """Give the condition for a program's message, of which little is the kernel's word.

    That is pid, uid, auid, ses, and subj where there is a security module.
    """
    known = [name for number, name in names.record_types().items() if is_message(number)]
    nameless = "type LIKE 'UNKNOWN[11__]' OR type LIKE 'UNKNOWN[2___]'"
    return f"({nameless} OR type IN ({listed(known)}))"


def shown_call(criteria: Criteria) -> str:
    """Give the name that the views have for the system call that is searched by its name."""
    name, arch = criteria.syscall or "", criteria.arch
    nr = None if arch is None else names.syscall_number(arch, name)
    return name if arch is None or nr is None else names.syscall_name(arch, nr) or name


class Conditions:
    """Writes the conditions of some criteria."""

    def __init__(self, criteria: Criteria, dialect: Dialect, *, views_only: bool = False) -> None:
        """`views_only`: as an archive has no other tables."""
        self._criteria = criteria
        self._views_only = views_only
        self._dialect = dialect
        self.callers: list[tuple[str, str]] = []
        """Columns of callers, and conditions on them that have a table each (`callers`)."""
        self._paths = Paths(dialect, self.callers, whole=criteria.whole, views_only=views_only)
        self.told: list[str] = []
        """Conditions on fields of `events` that have a table each (`told_texts`)."""
        self.has_bare_records = False
        """Whether the table of records without one of their own is asked (`bare_records`)."""

    @property
    def names(self) -> Sequence[tuple[str, str]]:
        """Columns of files, and conditions on them that have a table each (`named_files`)."""
        return self._paths.names

    def written(self) -> Iterator[Condition]:
        """Give all conditions but that of time; first those whose rows are few."""
        of = self._criteria
        if of.serial is not None:
            yield both(f"serial = {of.serial:d}")
        if of.hosts:
            yield both(f"host IN ({listed(of.hosts)})")
        if of.path is not None:
            yield self._paths.at(of.path)
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

    def _told_by_kernel(self, condition: str) -> str:
        """Do the same for a field that only the kernel writes, whatever a program's message has."""
        return f"({self._told(condition)} AND NOT {_of_program()})"

    def _record(self, types: str, where: str) -> Rows:
        """Give `of_record` of types that have no table of their own."""
        if self._views_only or not self._dialect.own_tables:
            return of_record(types, where)
        self.has_bare_records = True
        return of_record(types, where, bare_records.VIEW)

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
            other = any_of(*(self._own(name, of.terminal) for name in ("terminal", "tty")))
            yield Condition((self._has("tty", of.terminal),), (self._told(other),))

    def _numbers(self) -> Iterator[Condition]:
        of, value = self._criteria, self._dialect.value
        if of.pid is not None:
            yield both(f"pid = {of.pid:d}")
        if of.ppid is not None:
            other = self._told_by_kernel(f"{value('ppid')} = '{of.ppid:d}'")
            yield Condition((f"ppid = {of.ppid:d}",), (other,))
        if of.session == UNSET:
            told = self._told(f"{value('ses')} IN {_UNSET_TEXT}")
            unset = f"(ses IS NULL AND {told})"
            yield self._unset("ses", "ses IS NULL", unset)
        elif of.session is not None:
            yield both(f"ses = {of.session:d}")

    def _of_callers(self, column: str, condition: str) -> tuple[Alternative, ...]:
        """Give the alternatives of calls whose caller has no such value; there may be few."""
        if self._views_only or not self._dialect.own_tables:
            return (condition,)
        self.callers.append((column, condition))
        number = len(self.callers) - 1
        many = f"({callers.are_many(number)} AND {condition})"
        return Rows(callers.view_of(number), ANY), many

    def _unset(self, column: str, call: str, other: str) -> Condition:
        return Condition(self._of_callers(column, call), (other,), tested=(call,))

    # --- users and groups ----------------------------------------------------------------

    def _auid(self, auid: int) -> tuple[str, str]:
        if auid == UNSET:
            told = self._told(f"{self._dialect.value('auid')} IN {_UNSET_TEXT}")
            return "auid IS NULL", f"(auid IS NULL AND {told})"
        return f"auid = {auid:d}", f"auid = {auid:d}"

    def _uid(self, uid: int) -> str:
        # For ausearch the uid inside msg='' is that of a message. That is a program's word, which
        # must not hide who sent it.
        kernels, programs = self._dialect.value("uid"), self._dialect.last_value("uid")
        return f"'{uid:d}' IN ({kernels}, {programs})"

    def _users(self) -> Iterator[Condition]:
        of, value = self._criteria, self._dialect.value
        if of.auid is not None:
            call, other = self._auid(of.auid)
            is_unset = of.auid == UNSET
            yield self._unset("auid", call, other) if is_unset else Condition((call,), (other,))
        if of.uid is not None:
            yield Condition((f"uid = {of.uid:d}",), (self._told(self._uid(of.uid)),))
        if of.euid is not None:
            other = f"{value('euid')} = '{of.euid:d}'"
            yield Condition((f"euid = {of.euid:d}",), (self._told_by_kernel(other),))
        if of.any_uid is not None:
            call, other = self._auid(of.any_uid)
            number = of.any_uid
            calls = f"({call} OR uid = {number:d} OR euid = {number:d})"
            told = self._told(self._uid(number))
            euid = self._told_by_kernel(f"{value('euid')} = '{number:d}'")
            others = f"({other} OR {told} OR {euid})"
            if number == UNSET:
                yield self._unset("auid, uid, euid", calls, others)
            else:
                yield Condition((calls,), (others,))

    def _groups(self) -> Iterator[Condition]:
        of, value = self._criteria, self._dialect.value
        accounts = "type IN ('ADD_GROUP', 'DEL_GROUP', 'GRP_MGMT')"

        def other(gid: int) -> str:
            own = self._told_by_kernel(f"{value('gid')} = '{gid:d}'")
            told = self._told(f"{value('id')} = '{gid:d}'")
            return f"({own} OR ({accounts} AND {told}))"

        if of.gid is not None:
            yield Condition((f"gid = {of.gid:d}",), (other(of.gid),))
        if of.egid is not None:
            egid = self._told_by_kernel(f"{value('egid')} = '{of.egid:d}'")
            yield Condition((f"egid = {of.egid:d}",), (egid,))
        if of.any_gid is not None:
            number = of.any_gid
            calls = f"(gid = {number:d} OR egid = {number:d})"
            egid = self._told_by_kernel(f"{value('egid')} = '{number:d}'")
            others = f"({other(number)} OR {egid})"
            yield Condition((calls,), (others,))

    # --- system calls --------------------------------------------------------------------

    def _call(self) -> Iterator[Condition]:
        of, value = self._criteria, self._dialect.value
        if of.arch is not None:
            shown = names.arch_name(of.arch)
            other = self._told_by_kernel(f"lower({value('arch')}) = '{of.arch:x}'")
            yield Condition((f"arch = {literal(shown)}",), (other,))
        if of.nr is not None:
            other = f"(type = 'SECCOMP' AND {value('syscall')} = '{of.nr:d}')"
            yield Condition((f"nr = {of.nr:d}",), (other,))
        if of.syscall is not None:
            nr = None if of.arch is None else names.syscall_number(of.arch, of.syscall)
            other = f"(type = 'SECCOMP' AND {value('syscall')} = '{nr}')"
            call = f"syscall = {literal(shown_call(of))}"
            if nr is not None:
                call = self._dialect.numbered.format(call, nr)
            yield Condition((call,), NEVER if nr is None else (other,))
        if of.exit is not None:
            other = f"(type = 'URINGOP' AND {value('exit')} = '{of.exit:d}')"
            # A result that is an errno is one of a failed call: those have an index.
            failed = -4096 < of.exit < 0
            call = led = f"exit = {of.exit:d}"
            if failed:
                no, plain = self._dialect.false, self._dialect.no_range.format
                led = f"{plain('exit')} = {of.exit:d} AND {plain('success')} = {no}"
                call += f" AND success = {no}"
            yield Condition((call,), (other,), led=(led,))
        if of.success is not None:
            yield self._success(of.success)

    def _success(self, success: bool) -> Condition:
        value = self._dialect.value
        res, result = self._dialect.own_value("res"), f"lower({value('result')})"
        if success:
            call = f"success = {self._dialect.true}"
            told = any_of(
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
            told = any_of(
                f"({res} LIKE 'failed%' OR {res} = '0')",
                f"{result} <> 'success'",
                f"{value('seresult')} = 'denied'",
                f"{value('apparmor')} = 'DENIED'",
                f"{value('success')} = 'no'",
            )
            more = []
        led = call.replace("success", self._dialect.no_range.format("success"))
        return Condition((call,), (self._told(told), *more), led=(led,))

    # --- what a call was made on -----------------------------------------------------------

    def _file(self, text: str) -> Condition:
        field = self._field
        common: list[Alternative] = list(self._paths.with_text(text))
        named = f"({field('path', text)} OR {field('name', text)})"
        common.append(self._record(_types(1400, 1402, 1305, _INTEGRITY), named))
        calls = (*common, self._has("cwd", text), *self._paths.joined(text))
        of_message = [field(name, text) for name in ("path", "name", "new-disk", "cwd")]
        cwd = self._record("'CWD'", field("cwd", text))
        return Condition(calls, (*common, self._told(any_of(*of_message)), cwd))

    def _remote(self, text: str) -> Condition:
        value = self._dialect.own_value
        seldom = self._dialect.seldom.format(f"({self._has('address', text)})")
        address = Rows("sockaddrs", f"{_INET} AND {seldom}")
        packet = self._field("saddr", text)
        host = f"coalesce(nullif({value('hostname')}, '?'), {value('addr')}, {value('hostname')})"
        told = self._told(self._has(host, text))
        others = (told, f"(type = 'NETFILTER_PKT' AND {packet})", address)
        return Condition((address, self._record("'NETFILTER_PKT'", packet)), others)

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
        of_avc = self._record(_types(*_AVC), self._field("scontext", text))
        types = _types(1006, 1305, 1326, 1328, _MAC, _INTEGRITY)
        of_task = self._record(types, self._field("subj", text))
        found = [self._field(name, text) for name in ("subj", "scontext", "vm-ctx")]
        further = (of_avc, of_task)
        others = (self._told(any_of(*found)), *further)
        return Condition((self._has("subj", text), *further), others)

    def _object(self, text: str) -> Condition:
        path = self._paths.of_names(f"obj > '' AND {self._has('obj', text)}", column="obj")
        found = any_of(self._field("obj", text), self._field("tcontext", text))
        records = self._record(_types(*_AVC, 1303, 1318, 1324), found)
        more = [self._field(name, text) for name in ("obj", "tcontext", "img-ctx")]
        return Condition((path, records), (path, records, self._told(any_of(*more))))

    def _places(self) -> Iterator[Condition]:
        """Give those of a place: containers and units, and virtual machines."""
        if self._criteria.place is not None:
            calls, others = (Rows(view, ANY) for view in (places.CALLS, places.EVENTS))
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
        calls: tuple[Alternative, ...] = (call,)
        if key == "(null)":  # as the kernel writes it of a call that no rule with a key asks for
            call = f"({call} OR key IS NULL)"
            calls = self._of_callers("key", call)
        # In JSON the kernel's separator of keys is the escape of 0x01: a text of its own.
        field = self._dialect.value("key")
        split = f"replace({field}, {_KEY_MARK[self._dialect.true]}, ',')"
        if self._criteria.whole:
            framed = literal(f",{key},")
            found = self._dialect.position.format(f"',' || {split} || ','", framed) + " > 0"
        else:
            found = self._has(field, key)
        if key == "(null)":
            found = f"({found} OR {self._dialect.has_no_value('key')})"
        records = self._record(_types(1305, 1336, _MAC), found)
        others = (records, self._told_by_kernel(found))
        return Condition((*calls, records), others, tested=(call, records))

    def _type(self, types: tuple[str, ...]) -> Condition:
        rest = [each for each in types if each not in _OWN_VIEWS]
        calls: list[Alternative] = [_OWN_VIEWS[each] for each in types if each in _OWN_VIEWS]
        others: list[Alternative] = [
            each for each in calls if isinstance(each, Rows) and each.view != "records"
        ]
        if rest:
            calls.append(self._record(listed(rest), ""))
        kinds = f"type IN ({listed(types)})"
        write = of_record if _WITH_TABLE.intersection(types) else self._record
        found = write(listed(types), "")
        return Condition(tuple(calls), (kinds, *others, found))


_WITH_TABLE: Final = frozenset(("SYSCALL", "PATH", "SOCKADDR"))
"""Types of records whose fields have columns; what is left of these is shown by `records`."""
_KEY_MARK: Final = {"1": "char(1)", "true": "chr(1)"}
_OWN_VIEWS: Final[dict[str, Alternative]] = {
    "SYSCALL": ANY,
    "CWD": "cwd IS NOT NULL",
    "PROCTITLE": "proctitle IS NOT NULL",
    # The names lead to an index; the arguments tell that the record was there.
    "EXECVE": "(syscall IN ('execve', 'execveat') AND argv IS NOT NULL)",
    "PATH": Rows("paths", ANY, common=True),
    "SOCKADDR": Rows("sockaddrs", ANY),
}
"""Record types that have columns or a view of their own."""
