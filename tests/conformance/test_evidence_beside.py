"""What goes on beside a check is no tampering: the loader, and other logs of the same events."""

from __future__ import annotations

import random
import time
from itertools import pairwise

import pytest
from fixtures import logs
from fixtures.collected import DAY, HOST, day_of_lines, drop, load, verify
from fixtures.enriched import enriched
from fixtures.evidence import Run
from fixtures.repeats import seeds, some
from fixtures.store_changes import change

from auditsvc.evidence.rows import RowCheck
from auditsvc.store import postgres

pytestmark = pytest.mark.usefixtures("unsynced")

WHEN = {"second": DAY}
LINES = [
    logs.call(5, items=2, **WHEN),
    logs.path(5, "/one", **WHEN),
    logs.path(5, "/two", item=1, **WHEN),
    logs.record("CWD", 5, 'cwd="/root"', **WHEN),
    logs.end(5, **WHEN),
]
"""Of one event."""


def spool_of(tmp_path, url, *pieces):
    """Make a signed spool whose pieces were loaded one after the other, each to its end."""
    run = Run(tmp_path / "spool", segment_bytes=1 << 20)
    for piece in pieces:
        run.writer.append(piece if isinstance(piece, bytes) else piece.encode())
        run.step()
        load(url, tmp_path / "spool")
    run.end()
    return tmp_path / "spool"


@pytest.mark.parametrize("lines", some(range(1, len(LINES)), "first", 2))
@pytest.mark.parametrize("how", ["the log has a part", "the spool has parts"])
def test_an_event_that_a_log_gave_first(url, tmp_path, how, lines):
    """Of all, or of a part; then the spool gives the same, at once or in parts."""
    first, rest = "".join(LINES[:lines]), "".join(LINES[lines:])
    is_part = how == "the log has a part"
    logs.load(url, first if is_part else first + rest, name="/audit.log", host=HOST)
    spool = spool_of(tmp_path, url, *([first + rest] if is_part else [first, rest]))
    assert verify(url, spool).findings == []
    assert change(url, "UPDATE syscall SET a1 = 7") == 1
    assert verify(url, spool).findings != []


def steps_of(seed):
    """Give an order in which a spool gives the event in one to three parts, and others any part."""
    chosen = random.Random(seed)
    cuts = sorted(chosen.sample(range(1, len(LINES)), chosen.randint(0, 2)))
    parts = [LINES[a:b] for a, b in pairwise([0, *cuts, len(LINES)])]
    for part in [*parts, []]:
        for _ in range(chosen.choice([0, 0, 1, 1, 2])):
            ends = sorted(chosen.sample(range(len(LINES) + 1), 2))
            is_whole = chosen.random() < 0.4
            lines = LINES if is_whole else LINES[slice(*ends)]
            yield chosen.choice(["log", "log with names"]), "".join(lines).encode()
        if part:
            yield "spool", "".join(part).encode()


@pytest.mark.one_database
@pytest.mark.parametrize("seed", [*seeds(4, 400), "part, whole, rest", "part, names, rest"])
def test_parts_of_an_event_in_any_order(url, tmp_path, seed):
    """What an ingested log gave before the spool's own lines came is no copy of these."""
    spool = tmp_path / "spool"
    run = Run(spool, segment_bytes=1 << 20)
    steps = steps_of(seed)
    if isinstance(seed, str):
        whole = "".join(LINES).encode()
        log = "log with names" if "names" in seed else "log"
        first, rest = "".join(LINES[:2]).encode(), "".join(LINES[2:]).encode()
        steps = [("spool", first), (log, whole), ("spool", rest)]
    for number, (who, text) in enumerate(steps):
        if who == "spool":
            run.writer.append(text)
            run.step()
            load(url, spool)
        else:
            named = text if who == "log" else enriched(text)
            logs.load(url, named, name=f"/{number}.log", host=HOST)
    run.end()
    assert verify(url, spool).findings == []
    assert change(url, "UPDATE syscall SET a1 = 7") >= 1
    assert verify(url, spool).findings != []


@pytest.mark.one_database
def test_events_of_which_the_source_is_not_known(url, tmp_path):
    """A name or a place that one of them says may be there; another one may not."""
    config = [
        logs.record("DAEMON_CONFIG", 998, 'op=cgroup pid=77 cgroup="/x"', **WHEN),
        logs.record("DAEMON_CONFIG", 999, 'op=name kind=user id=1000 acct="joe"', **WHEN),
    ]
    spool = spool_of(tmp_path, url, day_of_lines(0, 1), *config)
    change(url, "INSERT INTO origin SELECT id, id, NULL FROM event WHERE serial > 900")
    assert verify(url, spool).findings == []
    change(
        url,
        "UPDATE account_name SET name = 'eve'",
        "UPDATE process_cgroup SET pid = 78",
    )
    found = [str(each) for each in verify(url, spool).findings]
    assert any("a name of user or group 1000 " in each for each in found)
    assert any("a place of process 78 " in each for each in found)


@pytest.mark.one_database
def test_an_event_that_is_open_and_came_with_names(url, tmp_path):
    """An ENRICHED log has it; the spool's line of it refers to what is not stored yet."""
    line = logs.call(9, items=0, exe='"/bin/another"', **WHEN)
    spool = spool_of(tmp_path, url, day_of_lines(0, 1))
    logs.load(url, enriched(line.encode()), name="/audit.log", host=HOST)
    run = Run(spool, segment_bytes=1 << 20)
    run.writer.append(line.encode())
    run.end()
    load(url, spool, finish=False)
    assert verify(url, spool).findings == []
    load(url, spool)
    assert verify(url, spool).findings == []


@pytest.mark.parametrize("dropped", [False, True], ids=["all segments", "deleted segments"])
@pytest.mark.parametrize("more", ["new", "again"])
def test_what_the_loader_stores_meanwhile(url, tmp_path, monkeypatch, more, dropped):
    """On a day of which the first segments are deleted, too: it is for the next check."""
    spool = tmp_path / "spool"
    run = Run(spool, segment_bytes=1 << 20)
    logs.load(url, day_of_lines(0, 501), name="/other.log", host=HOST)
    for number in range(3):
        run.writer.append(day_of_lines(0, 1 + 4 * number))
        run.step()
        run.writer.rotate()
    load(url, spool, finish=False)
    if dropped:
        assert drop(run, url, spool, 1) == []
    compare = RowCheck._run

    def compare_late(self, *args):
        run.writer.append(day_of_lines(0, 101 if more == "new" else 1) + day_of_lines(0, 9))
        run.step()
        load(url, spool)
        compare(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(RowCheck, "_run", compare_late)
        assert verify(url, spool).findings == []
    assert verify(url, spool).findings == []
    change(url, "DELETE FROM sockaddr")
    assert verify(url, spool).findings != []


def test_a_check_that_takes_longer_than_a_server_waits(url, tmp_path, monkeypatch):
    """Between its first questions and its last ones the lines are compared, elsewhere."""
    wait = "idle_in_transaction_session_timeout="
    assert f"{wait}120s" in postgres._SETTINGS
    spool = spool_of(tmp_path, url, "".join(LINES))
    monkeypatch.setattr(
        postgres, "_SETTINGS", postgres._SETTINGS.replace(f"{wait}120s", f"{wait}100ms")
    )
    whole = RowCheck._run

    def late(*given):
        time.sleep(0.4)  # the server's clock is what counts
        whole(*given)

    monkeypatch.setattr(RowCheck, "_run", late)
    assert verify(url, spool).findings == []
