"""The options of a search, as the words of a command line -> `Criteria`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from auditsvc.errors import QueryError, UsageError
from auditsvc.search import words
from auditsvc.search.condition import check_condition
from auditsvc.search.criteria import Criteria
from auditsvc.search.places import Place
from auditsvc.store.read import ausearch_times as times
from auditsvc.store.read.time_span import ALL, Span
from auditsvc.store.read.time_words import second_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Options:
    """Words as they were given; None for what was not. The names are ausearch's long ones."""

    event: str | None = None
    arch: str | None = None
    comm: str | None = None
    exit: str | None = None
    file: str | None = None
    gid_all: str | None = None
    gid_effective: str | None = None
    gid: str | None = None
    host: str | None = None
    key: str | None = None
    message: tuple[str, ...] = ()
    node: tuple[str, ...] = ()
    object: str | None = None
    subject: str | None = None
    context: str | None = None
    pid: str | None = None
    ppid: str | None = None
    syscall: str | None = None
    session: str | None = None
    success: str | None = None
    start: str | None = None
    end: str | None = None
    terminal: str | None = None
    uid_all: str | None = None
    uid_effective: str | None = None
    uid: str | None = None
    loginuid: str | None = None
    uuid: str | None = None
    vm_name: str | None = None
    executable: str | None = None
    word: bool = False
    since: str | None = None
    until: str | None = None
    utc: bool = False
    path: str | None = None
    container: str | None = None
    unit: str | None = None
    where: str | None = None

    def notes(self) -> Iterator[str]:
        """Give what is worth a line on stderr, for it may not be what was meant."""
        if self.end is not None and times.is_date_alone(self.end):
            yield (
                f"-te {self.end} ends at the present time of that day, as with ausearch;"
                " give 23:59:59 for all of it"
            )

    def criteria(self, url: str, now: datetime | None = None) -> Criteria:
        """Read the words for a store's URL; UsageError for what is none."""
        moment = datetime.now(UTC) if now is None else now
        machine = None if self.arch is None else words.arch(self.arch)
        syscall, nr = None, None
        if self.syscall is not None:
            machine, syscall, nr = words.syscall(self.syscall, machine)
        if self.path is not None and not self.path.startswith("/"):
            raise UsageError(f"--path {self.path}: not a full path", "begin it with /")
        for option, text in self._texts():
            if text == "":
                raise UsageError(f"{option} needs a text")
        return Criteria(
            serial=None if self.event is None else words.number("-a", self.event),
            period=self._period(moment),
            arch=machine,
            syscall=syscall,
            nr=nr,
            exit=None if self.exit is None else words.exit_code(self.exit),
            success=None if self.success is None else words.success(self.success),
            types=words.types(self.message) if self.message else (),
            hosts=self.node,
            pid=None if self.pid is None else words.number("-p", self.pid),
            ppid=None if self.ppid is None else words.number("-pp", self.ppid),
            session=None if self.session is None else words.session(self.session),
            auid=None if self.loginuid is None else words.user("-ul", self.loginuid),
            uid=None if self.uid is None else words.user("-ui", self.uid),
            euid=None if self.uid_effective is None else words.user("-ue", self.uid_effective),
            any_uid=None if self.uid_all is None else words.user("-ua", self.uid_all),
            gid=None if self.gid is None else words.group("-gi", self.gid),
            egid=None if self.gid_effective is None else words.group("-ge", self.gid_effective),
            any_gid=None if self.gid_all is None else words.group("-ga", self.gid_all),
            comm=self.comm,
            exe=self.executable,
            terminal=self.terminal,
            key=self.key,
            file=self.file,
            path=None if self.path is None else os.path.normpath(self.path).replace("//", "/"),
            place=Place.asked(self.container, self.unit, whole=self.word),
            remote=self.host,
            subject=self.subject,
            object=self.object,
            context=self.context,
            uuid=self.uuid,
            vm=self.vm_name,
            where=None if self.where is None else check_condition(url, self.where),
            whole=self.word,
        )

    def _texts(self) -> Iterator[tuple[str, str | None]]:
        yield from (
            *(("-c", self.comm), ("-x", self.executable), ("-tm", self.terminal)),
            *(("-k", self.key), ("-f", self.file), ("-hn", self.host), ("-su", self.subject)),
            *(("-o", self.object), ("-se", self.context), ("-uu", self.uuid)),
            *(("-vm", self.vm_name), ("--container", self.container), ("--unit", self.unit)),
        )

    def _period(self, now: datetime) -> Span:
        found = ALL
        if self.start is not None:
            found = found.both(Span(low=times.start_second(self.start, now, utc=self.utc)))
        if self.end is not None:
            found = found.both(Span(high=times.end_second(self.end, now, utc=self.utc)))
        try:
            if self.since is not None:
                found = found.both(Span(low=second_of(self.since, now)))
            if self.until is not None:
                found = found.both(Span(high=second_of(self.until, now) - 1))
        except QueryError as error:
            raise UsageError(error.what, error.hint) from error
        if found.high < found.low:
            raise UsageError("the end is before the start", "times of -ts and -te are local")
        return found
