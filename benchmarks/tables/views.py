"""Usual questions on the views that speak: `story`, `files`, `denials` and the others."""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING, Final

from fixtures import long_logs
from fixtures.logs import call, record
from fixtures.postgres_server import running as postgres
from live.service import AUDITSVC
from measure import run
from report import Table, seconds

from auditsvc.errors import QueryError
from auditsvc.store.read.limits import Limits
from auditsvc.store.read.sql import run_query

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ROUNDS: Final = 3
_SLOW: Final = 2.0
"""Seconds from which on a question is asked once only."""
_LIMIT: Final = 5.0
"""Seconds after which a question is ended: 46 of them on two databases take 8 minutes at most."""
_RARE: Final = 20_000
_RATE: Final = 1000
"""Events a second: a busy host."""
_SERIAL: Final = 100_000_000


def _shown(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(second))


_FROM, _TO = _shown(long_logs.BEGIN + 60), _shown(long_logs.BEGIN + 120)
_SPAN: Final = f"time >= '{_FROM}' AND time < '{_TO}'"
_FILE: Final = "/usr/share/doc/file77"
_FIRST: Final = "story all_events files connections logins denials commands changes"
QUESTIONS: Final = {
    **{f"{v}: last 20": f"SELECT * FROM {v} ORDER BY time DESC LIMIT 20" for v in _FIRST.split()},
    **{
        f"{v}: one process": f"SELECT * FROM {v} WHERE pid = 1040 ORDER BY time"
        for v in _FIRST.split()
    },
    **{
        f"{v}: a user in a minute": f"SELECT * FROM {v} WHERE auid = 1007 AND {_SPAN}"
        for v in ["story", "all_events", "files", "connections", "commands"]
    },
    "files: a name": f"SELECT * FROM files WHERE name = '{_FILE}'",
    "files: who wrote a name": "SELECT DISTINCT exe, auid FROM files"
    f" WHERE name = '{_FILE}' AND action = 'write'",
    "connections: an address": "SELECT * FROM connections WHERE address = '10.0.0.77'",
    "denials: counted by mechanism": "SELECT mechanism, count(*) FROM denials GROUP BY mechanism",
    "denials: a user": "SELECT * FROM denials WHERE auid = 1007",
    "changes: counted by kind": "SELECT what, count(*) FROM changes GROUP BY what",
    "changes: a user": "SELECT * FROM changes WHERE auid = 1007",
    "commands: of sudo": "SELECT * FROM commands WHERE how = 'sudo' AND auid = 1007",
    "logins: failed": "SELECT address, count(*) FROM logins WHERE kind = 'failed' GROUP BY address",
}


def rare(seconds_: int) -> Iterator[str]:
    """Give denials, changes and commands, among the calls of a busy host."""
    for n in range(_RARE):
        serial, second = _SERIAL + n, long_logs.BEGIN + n % seconds_
        auid, where = 1000 + n % 20, {"second": second}
        head = f"pid={1000 + n % 500} uid=0 auid={auid} ses=3"
        avc = (
            f'avc:  denied  {{ read }} for  pid={1000 + n % 500} comm="x" path="/srv/f{n}"'
            " scontext=a tcontext=b tclass=file permissive=0"
        )
        ids = {"pid": 1000 + n % 500, "auid": auid, "items": 0}
        rows = (
            call(serial, nr=257, success="no", exit=-13, **ids, **where)
            + record("AVC", serial, avc, **where),
            record("SECCOMP", serial, f'{head} comm="x" exe="/bin/x" sig=31 arch=c000003e'
                   " syscall=41 compat=0 ip=0x0 code=0x80000000", **where),
            record("USER_CMD", serial, f"{head} msg='cwd=\"/root\" cmd=6C73"
                   " exe=\"/usr/bin/sudo\" terminal=pts/0 res=success'", **where),
            record("ADD_USER", serial, f"{head} msg='op=add acct=\"u{n}\""
                   " exe=\"/usr/sbin/useradd\" res=success'", **where),
            call(serial, nr=44, success="yes", exit=90, **ids, **where)
            + record("CONFIG_CHANGE", serial, f'auid={auid} ses=3 op=add_rule key="k{n}"'
                     " list=4 res=1", **where),
            call(serial, nr=165, **ids, **where),
        )  # fmt: skip
        yield rows[n % len(rows)]


def table(*, quick: bool, folder: Path) -> Table:
    """Load a mixed log into both stores and run the queries."""
    log = long_logs.make("mixed", 300_000 if quick else 8_000_000, folder / "views.log", _RATE)
    with log.path.open("a") as stream:
        stream.writelines(rare(max(log.events // _RATE, 4)))
    made = Table(
        "Views that speak",
        ["question", "SQLite", "Postgres", "rows"],
        f"A store of {log.events + _RARE:,} events (mixed log with {_RARE:,} denials, changes"
        " and commands); medians.",
    )
    with postgres(shared_buffers="128MB", max_wal_size="4GB") as server, server.database() as url:
        stores = (f"sqlite:///{folder / 'views.db'}", url)
        for store in stores:
            print(f"views: loading {store.partition(':')[0]}", file=sys.stderr, flush=True)
            run(AUDITSVC, "ingest", log.path, "--store", store)
        for name, sql in QUESTIONS.items():
            cells, counts = [], set()
            for store in stores:
                taken, count = _asked(store, sql)
                cells.append(f"> {_LIMIT:.0f} s" if count is None else seconds(taken))
                counts |= set() if count is None else {count}
            if len(counts) > 1:
                print(f"{name}: {counts}", file=sys.stderr)
            made.add(name, *cells, f"{max(counts):,}" if counts else "-")
    return made


def _asked(store: str, sql: str) -> tuple[float, int | None]:
    """Give the median time and the number of rows; None if it takes longer than the limit."""
    taken: list[float] = []
    while len(taken) < _ROUNDS and max(taken, default=0.0) < _SLOW:
        begin = time.perf_counter()
        try:
            with run_query(store, sql, Limits(_LIMIT)) as result:
                count = sum(1 for _ in result)
        except QueryError:
            return _LIMIT, None
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken), count
