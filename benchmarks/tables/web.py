"""Pages of `auditsvc web`: time at the server, its CPU time, and bytes over the wire.

A page is asked from the running program, as a browser asks for it: compressed answers, each
part that comes after the page on its own. CPU time is that of the server and, on PostgreSQL, of
the backends that answered it: it says what a page costs on a machine with other work, too.
"""

from __future__ import annotations

import gzip
import http.client
import os
import re
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from fixtures import long_logs
from fixtures.postgres_server import running as postgres
from live.service import AUDITSVC
from measure import run
from report import Table, seconds

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.read.events import second_text
from auditsvc.store.read.sql import run_query
from tables.views import rare

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDS: Final = {True: 300_000, False: 38_500_000}
"""By `quick`."""
_RATE: Final = 58
"""Events a second: ten million in two days, so that the day before a page's is there, too."""
_ROUNDS: Final = 3
_AIM: Final = 1.0
_FIRST, _LATER = 200_000, 30_000
"""Bytes that a first and a later page may have."""
_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_PART: Final = re.compile(r'hx-get="([^"]+)" hx-trigger="load')
_FILE: Final = re.compile(r'(?:href|src)="(/static/[^"]+)"')
_NEXT: Final = re.compile(r'hx-get="(/events\?[^"]*before=[^"]+)"')
_GOES_ON: Final = 'hx-trigger="load, click"'
_ROW: Final = "data-row"
_PAGE: Final = 50
_WHOLE: Final = ", whole"


@dataclass(slots=True)
class Answer:
    """What one request took: seconds, seconds of CPU, bytes over the wire."""

    seconds: float
    cpu: float
    size: int
    text: str


class Server:
    """A running `auditsvc web` with a session, and the process of its database."""

    def __init__(self, link: str, pid: int, database: int | None) -> None:
        self._pids = (pid, database)
        parts = urlsplit(link)
        assert parts.hostname
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)
        self._headers = {"accept-encoding": "gzip"}
        self._connection.request("GET", f"{parts.path}?{parts.query}", headers=self._headers)
        answer = self._connection.getresponse()
        answer.read()
        self._headers["cookie"] = str(answer.getheader("set-cookie")).partition(";")[0]

    def ask(self, address: str, *, as_part: bool = False) -> Answer:
        """Get an address."""
        headers = self._headers | ({"hx-request": "true"} if as_part else {})
        before, begin = self._cpu(), time.perf_counter()
        self._connection.request("GET", address, headers=headers)
        answer = self._connection.getresponse()
        body = answer.read()
        taken = time.perf_counter() - begin
        assert answer.status == 200, (address, answer.status, body[:300])
        head = sum(len(name) + len(value) + 4 for name, value in answer.getheaders())
        time.sleep(0.02)  # a backend that ends is counted when it is waited for
        text = "" if address.startswith("/static") else _plain(body, answer)
        return Answer(taken, self._cpu() - before, head + len(body), text)

    def _cpu(self) -> float:
        server, database = self._pids
        used = sum(_times(server)[:2])
        return (used + (sum(_times(database)) if database else 0)) * _TICK


def _plain(body: bytes, answer: http.client.HTTPResponse) -> str:
    return (gzip.decompress(body) if answer.getheader("content-encoding") else body).decode()


def _times(pid: int) -> list[int]:
    """Give a process's ticks: user, system, and of its children that ended (proc(5))."""
    return list(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))


@contextmanager
def served(url: str, folder: Path, database: int | None = None) -> Iterator[Server]:
    """Run the program over a store."""
    environment = os.environ | {"AUDITSVC_RUNTIME_DIRECTORY": str(folder)}
    command = [AUDITSVC, "web", "--store", url, "--listen", "127.0.0.1:0", "--timeout", "60"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            assert process.stdout
            yield Server(process.stdout.readline().split()[0], process.pid, database)
        finally:
            process.terminate()


def addresses(url: str) -> dict[str, str]:
    """Give the pages to ask for, by name, with what the store has."""

    def one(sql: str) -> str:
        with run_query(url, sql) as rows:
            return str(next(iter(rows))[0])

    newest = int(one("SELECT max(id) FROM syscall")) >> SERIAL_BITS
    second = newest - 3600
    low = second << SERIAL_BITS
    event = one(f"SELECT min(id) FROM syscall WHERE id >= {low} AND nr = 42")
    day = {"since": second_text(newest - 86400), "until": second_text(newest)}

    def at(place: str, **words: str) -> str:
        return f"{place}?{urlencode(words)}"

    program = "/usr/bin/program7"
    return {
        "overview": "/",
        "overview of a program": at("/", exe=program),
        "overview of a user": at("/", auid="1007"),
        "overview of a call": at("/", syscall="openat"),
        "overview of both days": at("/", since="2023-11-01", until="2023-12-01"),
        "events": "/events",
        "events of a user": at("/events", loginuid="1007"),
        "events of a program": at("/events", executable=program, word="1"),
        "events: failed calls": at("/events", syscall="connect", success="no"),
        "events: a file": at("/events", file="file77"),
        "events: a full path": at("/events", path="/usr/share/doc/file77"),
        "events: an address": at("/events", host="10.0.0.77", word="1"),
        "events: a folder": at("/events", path="/var/lib/d77"),
        "events: a file that is not there": at("/events", path="/opt/none/x"),
        "events: files of a user": at("/events", path="/usr/share/doc/file77", loginuid="1007"),
        "events: a user who is not there": at("/events", loginuid="4242"),
        "events: a key": at("/events", key="all"),
        "events: logins": at("/events", message="USER_LOGIN"),
        "event": f"/event/{event}",
        "process": f"/process?event={event}",
        "who": "/who",
        "history of a user": at("/who", user="1007", **day),
        "history of a session": at("/who", session="3", **day),
        "what": "/what",
        "history of a program": at("/what", program=program, **day),
        "history of a file": at("/what", file="/usr/share/doc/file77", **day),
        "history of an address": at("/what", address="10.0.0.77", **day),
        "history of a unit": at("/what", unit="none.service", **day),
        "SQL": at("/sql", q="SELECT * FROM story ORDER BY time DESC LIMIT 100"),
        "ledger": "/ledger",
        "coverage": "/coverage",
        "compliance": "/compliance",
    }


@dataclass(slots=True)
class Measured:
    """Medians of a page, or of one of its parts; `first` is the size with all files."""

    seconds: float
    cpu: float
    size: int
    first: int = 0


def measure(server: Server, pages: dict[str, str]) -> dict[str, Measured]:
    """Ask for each page and each of its parts."""
    found: dict[str, Measured] = {}
    for name, address in pages.items():
        whole, text = _asked(server, address)
        found[name] = whole
        files = sum(server.ask(each).size for each in set(_FILE.findall(text)))
        parts = [each.replace("&amp;", "&") for each in _PART.findall(text)]
        further = [each.replace("&amp;", "&") for each in _NEXT.findall(text)][:1]
        for part in (*parts, *further):
            label = "next page" if part in further else part.partition("?")[0].split("/")[-1]
            measured, _ = _asked(server, part, as_part=True)
            found[f"{name}, {label}"] = measured
            if part in parts:
                whole.size += measured.size
        if _GOES_ON in text:
            found[f"{name}{_WHOLE}"] = _whole(server, whole, text)
        whole.first = whole.size + files
    return found


def _whole(server: Server, page: Measured, text: str) -> Measured:
    """Go on as the browser does, until a page is full or all of the time was looked through."""
    whole, rows = Measured(page.seconds, page.cpu, 0), text.count(_ROW)
    while rows < _PAGE and _GOES_ON in text:
        answer = server.ask(_NEXT.findall(text)[0].replace("&amp;", "&"), as_part=True)
        whole.seconds, whole.cpu = whole.seconds + answer.seconds, whole.cpu + answer.cpu
        whole.size += answer.size
        text, rows = answer.text, rows + answer.text.count(_ROW)
    return whole


def _asked(server: Server, address: str, *, as_part: bool = False) -> tuple[Measured, str]:
    answers: list[Answer] = []
    while len(answers) < _ROUNDS and sum(each.seconds for each in answers) < 10:
        answers.append(server.ask(address, as_part=as_part))
    of = [[a.seconds for a in answers], [a.cpu for a in answers]]
    return Measured(*map(statistics.median, of), answers[-1].size), answers[-1].text


def table(*, quick: bool, folder: Path) -> Table:
    """Load a mixed log into both stores and ask for the pages."""
    print("web: making the log", file=sys.stderr, flush=True)
    log = long_logs.make("mixed", RECORDS[quick], folder / "web.log", _RATE)
    with log.path.open("a") as stream:
        stream.writelines(rare(max(log.events // _RATE, 4)))
    path = folder / "web.db"
    found = []
    with postgres(shared_buffers="128MB", max_wal_size="4GB") as server, server.database() as url:
        for store in (f"sqlite:///{path}", url):
            print(f"web: loading {store.partition(':')[0]}", file=sys.stderr, flush=True)
            run(AUDITSVC, "ingest", log.path, "--store", store)
            database = server.pid if store == url else None
            with served(store, folder, database) as program:
                found.append(measure(program, addresses(store)))
        log.path.unlink()
    path.unlink()
    return made(log.events, *found)


def made(events: int, sqlite: dict[str, Measured], other: dict[str, Measured]) -> Table:
    """Give the table."""
    head = ["page", "SQLite", "CPU", "Postgres", "CPU", "first, kB", "later, kB", "reached"]
    table = Table(
        "Pages in a browser",
        head,
        f"`auditsvc web` over {events:,} events within two days (mixed log, 58 events a second);"
        f" medians of {_ROUNDS}. CPU is that of the server and the database for the page: what it"
        " costs where other programs run, too, and what the aim is held to. What is named behind a"
        " comma comes after its page; `whole` is a page of events that was shown before it was"
        " full, with all that the browser then asks for: until 50 are found or all of the time was"
        " looked through."
        " Bytes are those over the wire, with all parts; the first time with the files of the"
        " package. Aims: 1 s, 200 kB, 30 kB. One command:"
        " `PYTHONPATH=tests python benchmarks --only web`.",
    )
    names = [*dict.fromkeys((*sqlite, *other))]
    pages = [*dict.fromkeys(each.partition(",")[0] for each in names)]
    for name in sorted(names, key=lambda each: pages.index(each.partition(",")[0])):
        both = (sqlite.get(name), other.get(name))
        known = [each for each in both if each is not None]
        first, later = (max(getattr(each, of) for each in known) for of in ("first", "size"))
        cpu = max(each.cpu for each in known)
        is_in = cpu < _AIM and first < _FIRST and later < _LATER
        cells: list[str] = []
        for each in both:
            cells += [seconds(each.seconds), seconds(each.cpu)] if each else ["-", "-"]
        shown = f"{first / 1000:.0f}" if first else "-"
        reached = "-" if name.endswith(_WHOLE) else "yes" if is_in else "no"
        table.add(name, *cells, shown, f"{later / 1000:.1f}", reached)
    return table
