"""Pages beside the service: how soon a row is on one, and whether looking slows the service.

One run of the service has a steady load all along. By turns nobody looks, and somebody does: a page
of all events follows, and the overview with its parts is loaded anew each second. Each round has a
turn of both, the second round in the other order; a ratio is made within a round, and the median of
the rounds is shown, so that other load on the machine affects both.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx2
import psycopg
from fixtures.audit import RefusedError, exclusive_audit, restored
from fixtures.postgres_server import running as postgres
from fixtures.web import Stream, session_of, web_program
from live import caller
from live.programs import Programs, fresh_auid
from live.service import Service
from measure import cpu_seconds, named, tree
from readers import asking
from report import Table, ratio, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PART: Final = re.compile(r'hx-get="([^"]+)" hx-trigger="load')
_EVERY: Final = 1.0
"""Seconds from one load of the overview to the next."""
_LONE: Final = 0.25
"""Seconds between two calls whose way into the store is measured."""
_CALLERS, _PAUSE_NS = 3, 1_000_000
"""Programs that make the load, and the time for which each sleeps between two calls: nearly 3,000
events a second of three records each, and most of both processors is free."""
_BACKENDS: Final = "SELECT pid FROM pg_stat_activity WHERE application_name = 'auditsvc'"
"""The server's processes that work for the service; those of pages have another name."""
_LONGEST: Final = 60.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured; `seconds` of a turn."""

    rounds: int
    seconds: float
    rows: int


QUICK: Final = Size(rounds=3, seconds=4.0, rows=5)
FULL: Final = Size(rounds=7, seconds=8.0, rows=40)


@dataclass(slots=True)
class Turn:
    """What the service took: CPU seconds an event, and the time from a lone call to its row."""

    cpu: float
    stored: float
    pages: float
    """CPU seconds a second of the pages' program."""


@dataclass(slots=True)
class Result:
    """Of one store."""

    shown: list[float] = field(default_factory=list)
    """Seconds from a call until its row is on the page that follows."""
    rounds: list[tuple[Turn, Turn]] = field(default_factory=list)
    """Nobody looks, somebody does."""
    events: float = 0.0
    """A second."""

    def both(self, what: str) -> tuple[float, float, float]:
        """Give the medians of both, and of their ratios."""
        pairs = [(getattr(one, what), getattr(other, what)) for one, other in self.rounds]
        return (
            statistics.median(one for one, _ in pairs),
            statistics.median(other for _, other in pairs),
            statistics.median(other / one for one, other in pairs),
        )


class _Stage:
    """The service, the pages' program, and what is audited."""

    def __init__(
        self, service: Service, web: subprocess.Popen[str], call: Callable[[str], float]
    ) -> None:
        self.service, self.web, self.call = service, web, call
        self.base, self.cookie = session_of(web)
        self._number = 0

    def follow(self, address: str) -> Any:
        """Open a page that follows."""
        return Stream(self.base + address, self.cookie | {"accept": "text/event-stream"})

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """Have somebody look."""
        stream, ended = self.follow("/events/live"), threading.Event()

        def load() -> None:
            with httpx2.Client(base_url=self.base, headers=self.cookie, timeout=60) as client:
                while not ended.is_set():
                    began = time.monotonic()
                    page = client.get("/")
                    for part in _PART.findall(page.text):
                        client.get(part.replace("&amp;", "&"))
                    ended.wait(max(0.0, _EVERY - (time.monotonic() - began)))

        thread = threading.Thread(target=load)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            stream.close()

    def path(self) -> str:
        """Give a name that no call had before."""
        self._number += 1
        return f"/nowhere/{self._number}/"

    def cpu(self) -> float:
        """CPU seconds so far of the service, its server's processes and the kernel's thread."""
        assert self.service.process
        pids = [*tree(self.service.process.pid), named("kauditd")]
        if not self.service.store.startswith("sqlite"):
            with psycopg.connect(self.service.store, autocommit=True) as server:
                pids += [pid for (pid,) in server.execute(_BACKENDS)]
        return cpu_seconds(pids)


class Beside:
    """All measurements."""

    def __init__(self, size: Size, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self._programs = Programs.build(folder)
        self.results: dict[str, Result] = {}

    def run(self, say: Callable[[str], None]) -> None:
        """Measure; RefusedError where the kernel does not let us."""
        with postgres(shared_buffers="128MB") as server, server.database() as url:
            for name, store in (("SQLite", None), ("Postgres", url)):
                with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                    self.results[name] = self._measure(
                        Path(folder), store, lambda what, name=name: say(f"{name}, {what}")
                    )

    def _measure(self, folder: Path, store: str | None, say: Callable[[str], None]) -> Result:
        busy, lone = fresh_auid(), fresh_auid()
        rules = f"-a always,exit -F arch=b64 -S getppid -F auid={busy} -k busy\n"
        result = Result()
        with ExitStack() as stack:
            control = stack.enter_context(exclusive_audit())
            stack.enter_context(restored(control))
            service = stack.enter_context(
                Service(folder, rules + caller.rules(lone), store=store, by_exec=True)
            )
            web = stack.enter_context(web_program(service.store, service.environment))
            call = stack.enter_context(caller.calling(self._programs, lone))
            stage = _Stage(service, web, call)
            # Of our calls alone the lone ones have paths.
            stored = stack.enter_context(asking(service.store, "SELECT count(*) FROM path"))
            say("rows on the page")
            result.shown = self._shown(stage)
            for number in range(self._size.rounds):
                say(f"round {number + 1} of {self._size.rounds}")
                turns: dict[bool, Turn] = {}
                for is_looked_at in (False, True) if number % 2 else (True, False):
                    with ExitStack() as looking:
                        if is_looked_at:
                            looking.enter_context(stage.looked_at())
                        turns[is_looked_at], result.events = self._turn(stage, busy, stored)
                result.rounds.append((turns[False], turns[True]))
        return result

    def _shown(self, stage: _Stage) -> list[float]:
        stream, taken = stage.follow("/events/live?key=asked"), []
        for _ in range(self._size.rows):
            path = stage.path()
            called = stage.call(path)
            taken.append(stream.came(path) - called)
            time.sleep(_LONE)
        stream.close()
        return taken

    def _turn(
        self, stage: _Stage, auid: int, stored: Callable[[], tuple[Any, ...] | None]
    ) -> tuple[Turn, float]:
        command = [self._programs["as_auid"], str(auid), self._programs["steady"], str(_PAUSE_NS)]
        waits = []
        began, before, pages = time.monotonic(), stage.cpu(), cpu_seconds(tree(stage.web.pid))
        load = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(_CALLERS)
        ]
        while time.monotonic() - began < self._size.seconds:
            waits.append(_lone(stage, stored))
            time.sleep(_LONE)
        for each in load:
            each.terminate()
        calls = sum(int(each.communicate()[0].split()[-1]) for each in load)
        _lone(stage, stored)  # whose row is stored after all others
        took = time.monotonic() - began
        pages = (cpu_seconds(tree(stage.web.pid)) - pages) / took
        cpu = (stage.cpu() - before) / calls
        return Turn(cpu, statistics.median(waits), pages), calls / took

    # --- what is shown ------------------------------------------------------------------

    def table(self) -> Table:
        """Give what was measured."""
        table = Table(
            "Pages beside the service",
            [
                "store",
                "a row on the page",
                "slowest of them",
                "CPU an event",
                "looked at",
                "",
                "a row stored",
                "looked at",
                "",
                "CPU of the pages",
            ],
            "A row on the page: from a lone call until its row is sent to the page that follows, on"
            " a host with little to do; aim: half a second."
            " Then under load, by turns without and with somebody who looks (a page of all events"
            f" follows, the overview is loaded anew each second): CPU of the service (its part of"
            " the server's and of the kernel's, too) an event of three records, and the time from"
            " a lone call until its row is stored; the third figure is the median of the ratios of"
            f" {self._size.rounds} rounds. CPU of the pages: of one core, while they are looked at."
            " One command: `PYTHONPATH=tests python benchmarks --only beside`.",
        )
        for name, result in self.results.items():
            cpu, stored = result.both("cpu"), result.both("stored")
            table.add(
                name,
                seconds(statistics.median(result.shown)),
                seconds(max(result.shown)),
                *map(seconds, cpu[:2]),
                ratio(cpu[2]),
                *map(seconds, stored[:2]),
                ratio(stored[2]),
                f"{statistics.median(looked_at.pages for _, looked_at in result.rounds):.0%}",
            )
        loads = ", ".join(f"{each.events:,.0f}" for each in self.results.values())
        table.notes.append(f"Events a second: {loads}.")
        return table


def _lone(stage: _Stage, stored: Callable[[], tuple[Any, ...] | None]) -> float:
    """Make a call; give the seconds until its row is stored."""
    (before,) = stored() or (0,)
    called = stage.call(stage.path())
    while (stored() or (0,))[0] == before:
        if time.monotonic() - called > _LONGEST:
            raise SystemExit("the row does not come")
        time.sleep(0.004)
    return time.monotonic() - called


def table(*, quick: bool, folder: Path) -> Table:
    """Measure; SystemExit where the kernel refuses audit."""
    beside = Beside(QUICK if quick else FULL, folder)
    try:
        beside.run(lambda what: print(f"beside: {what}", file=sys.stderr, flush=True))
    except RefusedError as reason:
        raise SystemExit(f"beside: not measured: {reason}") from reason
    return beside.table()
