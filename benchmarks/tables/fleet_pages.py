"""Pages of `auditsvc web --fleet`: time at the server, and its CPU time, over five hosts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html import unescape
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from fixtures import long_logs
from fixtures.lake import Lake
from fixtures.seaweed import lake
from live.service import AUDITSVC
from measure import run
from report import Table, seconds

from tables.web import Server, measure

if TYPE_CHECKING:
    from pathlib import Path

_HOSTS: Final = 5
_AIM: Final = 1.0
_RECORDS: Final = {True: 20_000, False: 770_000}
"""Of one host, by `quick`."""
_EVENT: Final = re.compile(r'href="(/event/[^"]+)"')


def table(*, quick: bool, folder: Path) -> Table:
    """Ship a log as that of five hosts, and ask for the pages of all."""
    log = long_logs.make("mixed", _RECORDS[quick], folder / "fleet-pages.log")
    store = folder / "fleet-pages.db"
    run(AUDITSVC, "ingest", log.path, "--store", f"sqlite:///{store}")
    (folder / "lake-pages").mkdir()
    with lake(folder / "lake-pages") as given:
        fleet = Lake(given, "pages")
        for number in range(_HOSTS):
            host = fleet.host(folder, f"h{number}")
            shutil.copy(store, host.store.removeprefix("sqlite:///"))
            fleet.ship(host)
            fleet.commit()
        found = _measured(given | {"table": fleet.given["table"]}, host.store, folder)
    made = Table(
        "Pages of the fleet",
        ["page", "s", "CPU", "reached"],
        f"`auditsvc web --fleet` over {_HOSTS * log.events:,} events of {_HOSTS} hosts, all of them"
        " in the time that a page shows; medians of 3, as for the pages of a store. Aim: 1 s of"
        " CPU. One command: `PYTHONPATH=tests python benchmarks --only fleet-pages`.",
    )
    for name, each in found.items():
        is_reached = "yes" if each.cpu < _AIM else "no"
        made.add(name, seconds(each.seconds), seconds(each.cpu), is_reached)
    return made


def _measured(fleet: dict[str, str], store: str, folder: Path) -> dict[str, Any]:
    environment = os.environ | {
        "AUDITSVC_RUNTIME_DIRECTORY": str(folder),
        "AUDITSVC_STORE": store,
        **{f"AUDITSVC_FLEET__{name.upper()}": str(value) for name, value in fleet.items()},
    }
    command = [AUDITSVC, "web", "--fleet", "--listen", "127.0.0.1:0", "--timeout", "60"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            assert process.stdout
            server = Server(process.stdout.readline().split()[0], process.pid, None)
            return measure(server, _addresses(server))
        finally:
            process.terminate()


def _addresses(server: Server) -> dict[str, str]:
    """Give the pages to ask for, by name."""

    def at(place: str, **words: str) -> str:
        return f"{place}?{urlencode(words)}"

    event = _EVENT.findall(server.ask("/events").text)[0]
    return {
        "overview": "/",
        "overview of a host": at("/", host="h1"),
        "overview of a program": at("/", exe="/usr/bin/program7"),
        "overview of a user": at("/", auid="1007"),
        "events": "/events",
        "events of a host": at("/events", node="h1"),
        "events of a program": at("/events", executable="/usr/bin/program7", word="1"),
        "events: failed calls": at("/events", syscall="connect", success="no"),
        "events: a file": at("/events", file="file77"),
        "events: a full path": at("/events", path="/usr/share/doc/file77"),
        "events: an address": at("/events", host="10.0.0.77", word="1"),
        "events: logins": at("/events", message="USER_LOGIN"),
        "event": unescape(event),
        "SQL": at("/sql", q="SELECT * FROM story ORDER BY time DESC LIMIT 100"),
    }
