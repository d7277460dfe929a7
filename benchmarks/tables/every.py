"""Every option of a search, every report and every column of the views, on a large store.

Other tables have the usual questions; this one finds the unusual ones that are slow. Each option is
asked for what many events have (then the first 20 events and the last 20 are read), what few have,
and what none has (then all of it is read); each view for its count, its first rows, its last by
time, and its rows with one value of each column. The table has all that take longer than the aim,
and how many do not.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fixtures import long_logs
from fixtures.postgres_server import running as postgres
from live.service import AUDITSVC
from measure import run
from report import Table, seconds

from auditsvc.errors import AuditsvcError
from auditsvc.report.catalogue import BY_NAME
from auditsvc.report.choice import Choice
from auditsvc.report.report import TOTALS, Question, make_daily, make_report
from auditsvc.search.options import Options
from auditsvc.search.select import found_events
from auditsvc.search.statement import Page
from auditsvc.store.read.limits import Limits
from auditsvc.store.read.sql import run_query
from auditsvc.store.read.time_span import Span
from tables.reports import _cpu
from tables.views import rare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

RECORDS: Final = {True: 300_000, False: 38_500_000}
"""By `quick`."""
_RATE: Final = 58
AIM: Final = 1.0
_LIMIT: Final = 8.0
_ROUNDS: Final = 3
_SLOW: Final = 3.0
"""Seconds from which on a question is asked once only."""
_PAGE: Final = 20

MANY: Final[dict[str, dict[str, object]]] = {
    "--arch b64": {"arch": "b64"},
    "-c program7": {"comm": "program7"},
    "-e ENOENT": {"exit": "ENOENT"},
    "-f file": {"file": "file"},
    "-f lib64": {"file": "lib64"},
    "-ga 1007": {"gid_all": "1007"},
    "-ge 1007": {"gid_effective": "1007"},
    "-gi 1007": {"gid": "1007"},
    "-hn 10.0": {"host": "10.0"},
    "-k all": {"key": "all"},
    "-k all -w": {"key": "all", "word": True},
    **{
        f"-m {name}": {"message": (name,)}
        for name in ("SYSCALL", "PATH", "CWD", "PROCTITLE", "EXECVE", "SOCKADDR", "USER_LOGIN")
    },
    "-m ALL": {"message": ("ALL",)},
    "-su unconfined": {"subject": "unconfined"},
    "-se unconfined": {"context": "unconfined"},
    "-o unconfined": {"object": "unconfined"},
    "-sc openat": {"syscall": "openat"},
    "-sc connect": {"syscall": "connect"},
    "--session 3": {"session": "3"},
    "-sv yes": {"success": "yes"},
    "-sv no": {"success": "no"},
    "-tm pts": {"terminal": "pts"},
    "-ua 1007": {"uid_all": "1007"},
    "-ue 1007": {"uid_effective": "1007"},
    "-ui 1007": {"uid": "1007"},
    "-ul 1007": {"loginuid": "1007"},
    "-x program7": {"executable": "program7"},
    "-x program": {"executable": "program"},
    "--path /usr/share": {"path": "/usr/share"},
    "--path /home": {"path": "/home"},
    "--where exit": {"where": "exit > 100"},
    "-sc openat -sv no": {"syscall": "openat", "success": "no"},
    "-m USER_LOGIN -sv yes": {"message": ("USER_LOGIN",), "success": "yes"},
    "-f file77 -sv no": {"file": "file77", "success": "no"},
}
"""What a hundred thousand events have, or millions."""
FEW: Final[dict[str, dict[str, object]]] = {
    "-a 5000000": {"event": "5000000"},
    "-c program7 -w": {"comm": "program7", "word": True, "pid": "1007"},
    "-c x": {"comm": "x"},
    "-e 90": {"exit": "90"},
    "-e EACCES": {"exit": "EACCES"},
    "-f file77 -w": {"file": "/usr/share/doc/file19777", "word": True},
    "-f /srv/f": {"file": "/srv/f1"},
    "-hn 10.0.7.77": {"host": "10.0.7.77"},
    "-hn 10.0.7.77 -w": {"host": "10.0.7.77", "word": True},
    "-k (null)": {"key": "(null)"},
    "-k (null) -w": {"key": "(null)", "word": True},
    "-k k1": {"key": "k1"},
    **{
        f"-m {name}": {"message": (name,)}
        for name in ("AVC", "SECCOMP", "USER_CMD", "ADD_USER", "CONFIG_CHANGE")
    },
    "-o b": {"object": "b", "word": True},
    "-su a": {"subject": "a", "word": True},
    "-se a": {"context": "a", "word": True},
    "-p 1007": {"pid": "1007"},
    "-pp 900 -p 1007": {"ppid": "900", "pid": "1007"},
    "-sc mount": {"syscall": "mount"},
    "-sc mount -sv yes": {"syscall": "mount", "success": "yes"},
    "-sv no -sc sendto": {"syscall": "sendto", "success": "no"},
    "-tm pts/0": {"terminal": "pts/0", "word": True},
    "-x sudo": {"executable": "sudo"},
    "-m USER_CMD -ul 1002": {"message": ("USER_CMD",), "loginuid": "1002"},
    "-x sudo -sv no": {"executable": "sudo", "success": "no"},
    "--path FILE": {"path": "/usr/share/doc/file19777"},
    "--where argv": {"where": "exe = '/usr/bin/program7' AND pid = 1007"},
}
"""What some thousand events have, or fewer."""
NONE: Final[dict[str, dict[str, object]]] = {
    "-a": {"event": "999999999"},
    "--arch s390x": {"arch": "s390x"},
    "-c": {"comm": "no-such"},
    "-c -w": {"comm": "no-such", "word": True},
    "-e EXDEV": {"exit": "EXDEV"},
    "-e 77777": {"exit": "77777"},
    "-f": {"file": "/no-such"},
    "-f -w": {"file": "/no-such", "word": True},
    "-ga": {"gid_all": "4711"},
    "-ge": {"gid_effective": "4711"},
    "-gi": {"gid": "4711"},
    "-hn": {"host": "192.0.2.1"},
    "-hn -w": {"host": "192.0.2.1", "word": True},
    "-k": {"key": "no-such"},
    "-k -w": {"key": "no-such", "word": True},
    "-m ANOM_PROMISCUOUS": {"message": ("ANOM_PROMISCUOUS",)},
    "-m TTY": {"message": ("TTY",)},
    "-m CWD,TTY": {"message": ("TTY", "EOE")},
    "-n": {"node": ("no-such",)},
    "-o": {"object": "no-such"},
    "-su": {"subject": "no-such"},
    "-se": {"context": "no-such"},
    "-p": {"pid": "4000000"},
    "-pp": {"ppid": "4000000"},
    "-sc swapon": {"syscall": "swapon"},
    "-sc 300": {"syscall": "300"},
    "--session": {"session": "4711"},
    "--session -1": {"session": "-1"},
    "-tm": {"terminal": "ssh"},
    "-tm -w": {"terminal": "ssh", "word": True},
    "-ua": {"uid_all": "4711"},
    "-ue": {"uid_effective": "4711"},
    "-ui": {"uid": "4711"},
    "-ul": {"loginuid": "4711"},
    "-ul unset": {"loginuid": "unset"},
    "-uu": {"uuid": "no-such"},
    "-vm": {"vm_name": "no-such"},
    "-x": {"executable": "no-such"},
    "-x -w": {"executable": "no-such", "word": True},
    "--path": {"path": "/no/such"},
    "--container": {"container": "no-such"},
    "--unit": {"unit": "no-such"},
    "--where": {"where": "exe = 'no-such'"},
    "-m USER_LOGIN -sv no": {"message": ("USER_LOGIN",), "success": "no"},
    "-m USER_LOGIN -ul 4711": {"message": ("USER_LOGIN",), "loginuid": "4711"},
    "-m USER_LOGIN -x": {"message": ("USER_LOGIN",), "executable": "no-such"},
    "-m USER_LOGIN -ui": {"message": ("USER_LOGIN",), "uid": "4711"},
    "-m USER_LOGIN -hn": {"message": ("USER_LOGIN",), "host": "192.0.2.1"},
    "-m USER_LOGIN -p": {"message": ("USER_LOGIN",), "pid": "4000000"},
    "-m USER_LOGIN -tm": {"message": ("USER_LOGIN",), "terminal": "ssh"},
    "-sc mount -sv no": {"syscall": "mount", "success": "no"},
    "-sc openat -ul 4711": {"syscall": "openat", "loginuid": "4711"},
    "-sc openat -e EXDEV": {"syscall": "openat", "exit": "EXDEV"},
    "-sc openat -x": {"syscall": "openat", "executable": "no-such"},
    "-sc openat -f": {"syscall": "openat", "file": "/no-such"},
    "-k all -sc swapon": {"key": "all", "syscall": "swapon"},
    "-sv no -k": {"success": "no", "key": "no-such"},
    "-sv yes -k": {"success": "yes", "key": "no-such"},
    "-sv no -ul 4711": {"success": "no", "loginuid": "4711"},
    "-sv no -x": {"success": "no", "executable": "no-such"},
    "-sv no -f": {"success": "no", "file": "/no-such"},
    "-hn 10.0 -x": {"host": "10.0", "executable": "no-such"},
    "-f lib64 -ul 4711": {"file": "lib64", "loginuid": "4711"},
    "-e 77777 -sc openat": {"exit": "77777", "syscall": "openat"},
    "--path FILE -sv yes": {"path": "/usr/share/doc/file19777", "success": "yes"},
}
"""What no event has; beside each is an option that many have, in the last ones."""
VIEWS: Final = (
    *("story", "all_events", "files", "connections", "logins", "denials", "commands", "changes"),
    *("processes", "syscalls", "events", "paths", "sockaddrs", "records", "tamper", "origins"),
    *("partials", "activity", "access", "coverage", "names"),
)
_NO_TIME: Final = {"paths", "sockaddrs", "records", "origins", "partials", "ledger", "pruned"}
_TIME: Final = {"processes": "began", "activity": "hour", "names": "since"}


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds, seconds of CPU, and rows; None: it did not end within the limit."""

    seconds: float
    cpu: float
    rows: int | None


def searches(store: str) -> Iterator[tuple[str, Callable[[], int]]]:
    """Give a search for each."""

    def of(words: dict[str, object], page: Page) -> Callable[[], int]:
        def ask() -> int:
            criteria = Options(**words).criteria(store)  # type: ignore[arg-type]
            with found_events(store, criteria, page, Limits(_LIMIT)) as found:
                return sum(1 for _ in found.events)

        return ask

    for name, words in MANY.items():
        yield f"search {name}: first {_PAGE}", of(words, Page(_PAGE))
        yield f"search {name}: last {_PAGE}", of(words, Page(_PAGE, newest=True))
    for name, words in FEW.items():
        yield f"search {name}", of(words, Page(2000))
        yield f"search {name}: last {_PAGE}", of(words, Page(_PAGE, newest=True))
    for name, words in NONE.items():
        yield f"search {name}: none", of(words, Page())


def reports(store: str, day: Span) -> Iterator[tuple[str, Callable[[], int]]]:
    """Give each report, and its sums."""

    def of(name: str, choice: Choice, *, summary: bool) -> Callable[[], int]:
        def ask() -> int:
            with make_report(store, Question(name, choice, summary=summary)) as answer:
                return sum(1 for _, _ in zip(answer.rows, range(_PAGE), strict=False))

        return ask

    for name in (TOTALS, *BY_NAME):
        for label, choice in (("", Choice()), (" of a day", Choice(span=day))):
            for summary in (False, True) if name != TOTALS else (False,):
                words = " --summary" if summary else ""
                yield f"report {name}{words}{label}", of(name, choice, summary=summary)

    def daily() -> int:
        with make_daily(store, Choice(span=day)) as answer:
            return answer.events

    yield "report daily", daily


def views(
    store: str, names: Sequence[str] = tuple(VIEWS)
) -> Iterator[tuple[str, Callable[[], int]]]:
    """Give the questions on each view and each of its columns."""

    def of(sql: str) -> Callable[[], int]:
        def ask() -> int:
            with run_query(store, sql, Limits(_LIMIT)) as result:
                rows = list(result)
            return int(str(rows[0][0])) if sql.startswith("SELECT count") else len(rows)

        return ask

    for view in names:
        moment = _TIME.get(view, "time")
        last = f"ORDER BY {moment} DESC LIMIT {_PAGE}" if view not in _NO_TIME else f"LIMIT {_PAGE}"
        for sql in (
            f"SELECT count(*) FROM {view}",
            f"SELECT * FROM {view} LIMIT {_PAGE}",
            f"SELECT * FROM {view} {last}",
        ):
            yield sql, of(sql)
        with run_query(store, f"SELECT * FROM {view} LIMIT 2000", Limits(_LIMIT)) as result:
            columns, rows = result.columns, list(result)
        for at, column in enumerate(columns):
            seen = [row[at] for row in rows if row[at] is not None]
            if not seen or column in (moment, "fields", "argv"):
                continue
            one = seen[len(seen) // 2]
            other = -4711 if isinstance(one, int) else "no-such"
            is_one = isinstance(one, bool) or column in ("ended", "ended_at", "began")
            values = [one] if is_one else [one, other]
            for value in values:
                text = str(value).replace("'", "''")
                literal = str(value) if isinstance(value, int) else f"'{text}'"
                where = f"FROM {view} WHERE {column} = {literal}"
                for sql in (f"SELECT * {where} {last}", f"SELECT count(*) {where}"):
                    yield sql, of(sql)


def taken(ask: Callable[[], int], database: int | None) -> Taken:
    """Ask; the median of some rounds, or once if it is slow."""
    took, used, rows = [], [], None
    while len(took) < _ROUNDS and max(took, default=0.0) < _SLOW:
        if took and max(took) < AIM / 4:
            break
        before, begin = _cpu(database), time.perf_counter()
        try:
            rows = ask()
        except AuditsvcError as error:
            print(f"    {error}", file=sys.stderr, flush=True)
            rows = None
        took.append(time.perf_counter() - begin)
        if database is not None:
            time.sleep(0.05)  # a backend that ends is counted when it is waited for
        used.append(_cpu(database) - before)
    return Taken(statistics.median(took), statistics.median(used), rows)


def table(*, quick: bool, folder: Path) -> Table:
    """Load a mixed log into both stores and ask everything."""
    log = long_logs.make("mixed", RECORDS[quick], folder / "every.log", _RATE)
    with log.path.open("a") as stream:
        stream.writelines(rare(max(log.events // _RATE, 4)))
    path = folder / "every.db"
    with postgres(shared_buffers="128MB", max_wal_size="4GB") as server, server.database() as url:
        found = []
        for store, pid in ((f"sqlite:///{path}", None), (url, server.pid)):
            print(f"every: loading {store.partition(':')[0]}", file=sys.stderr, flush=True)
            run(AUDITSVC, "ingest", log.path, "--store", store)
            found.append(measure(store, pid))
        log.path.unlink()
    path.unlink()
    return made(log.events, *found)


def measure(store: str, database: int | None) -> dict[str, Taken]:
    """Ask all; `database`: the first process of the server."""
    first = (long_logs.BEGIN // 86400 + 1) * 86400
    asked = (*searches(store), *reports(store, Span(first, first + 86399)), *views(store))
    return {name: taken(ask, database) for name, ask in asked}


def made(events: int, sqlite: dict[str, Taken], other: dict[str, Taken]) -> Table:
    """Give the table: what takes longer than the aim on one of them."""
    names = dict.fromkeys((*sqlite, *other))
    none = Taken(0.0, 0.0, None)
    slow = [n for n in names if max(of.get(n, none).cpu for of in (sqlite, other)) > AIM]
    found = Table(
        "Every option and column",
        ["question", "SQLite", "CPU", "Postgres", "CPU"],
        f"{events:,} events (mixed log, {_RATE} events a second). Of {len(names)} searches, reports"
        f" and queries {len(names) - len(slow)} take less than {AIM:.0f} s of CPU, of the question"
        f" and the database; these do not. One that takes {_LIMIT:.0f} s is ended.",
    )
    for name in slow:
        cells = [
            seconds(each) if name in of else "-"
            for of in (sqlite, other)
            for each in (of.get(name, none).seconds, of.get(name, none).cpu)
        ]
        found.add(name, *cells)
    return found
