"""`auditsvc top`: counts of what arrives, each event once, without its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from functools import partial

import pytest
from fixtures.commands import Begun, run
from fixtures.logs import SECOND, call, login, opening, proctitle
from fixtures.waiting import until

from auditsvc.cli import top
from auditsvc.enrich.containers import Known
from auditsvc.search import arrivals, live_counts
from auditsvc.search.live_counts import GROUPS, Group, LiveCounts
from auditsvc.search.live_places import LivePlaces
from auditsvc.search.places import Place
from auditsvc.spool.writer import SpoolWriter


@pytest.fixture
def spool(tmp_path):
    """Give a spool that has an event, to be written on."""
    with SpoolWriter(tmp_path / "spool", segment_bytes=1 << 20, fsync="none") as writer:
        writer.append(opening(1).encode())
        yield writer


def counts_of(tmp_path, by, leave_out=()):
    """Count what is appended from now on."""
    return LiveCounts(tmp_path / "spool", "box", None, by=by, leave_out=leave_out)


def test_what_arrives_is_counted_once(spool, tmp_path):
    """By the groups that are asked for; what was there before is not counted."""
    with counts_of(tmp_path, ("exe", "syscall")) as counts:
        assert counts.take() == Counter()
        spool.append((opening(2) + opening(3, nr=257) + login(4)).encode())
        assert counts.take() == {
            Group(exe="/usr/bin/cat", syscall="open"): 1,
            Group(exe="/usr/bin/cat", syscall="openat"): 1,
            Group(syscall="USER_LOGIN"): 1,
        }
        assert counts.take() == Counter()
        late = opening(5, second=SECOND - 86_400)
        spool.append(late.encode())
        assert counts.take().total() == 1


def test_an_event_in_two_parts_is_counted_once(spool, tmp_path):
    """When its last record has come."""
    with counts_of(tmp_path, ("pid",)) as counts:
        spool.append(call(2, items=0).encode())
        assert counts.take() == Counter()
        spool.append(proctitle(2).encode())
        assert counts.take() == {Group(pid=100): 1}


def test_long_following_counts_all(spool, tmp_path, monkeypatch):
    """The small store is made anew in between, and nothing is counted twice or lost."""
    monkeypatch.setattr(arrivals, "_FULL", 10)
    monkeypatch.setattr(arrivals, "_CHUNK", 2000)
    with counts_of(tmp_path, ("uid",)) as counts:
        total = Counter()
        for first in range(2, 200, 33):
            spool.append("".join(opening(n) for n in range(first, first + 33)).encode())
            total += counts.take()
        assert total == {Group(uid=1000): 33 * 6}


@pytest.mark.parametrize("name", [name for name in GROUPS if name not in ("container", "unit")])
def test_each_group_alone(spool, tmp_path, name):
    """Others are not told apart."""
    with counts_of(tmp_path, (name,)) as counts:
        spool.append((opening(2) + opening(3, pid=101)).encode())
        found = counts.take()
        assert found.total() == 2
        assert len(found) == (2 if name == "pid" else 1)


def test_its_own_calls_are_left_out(spool, tmp_path):
    """Processes that are named make no counts, or showing them would make more."""
    with counts_of(tmp_path, ("pid",), leave_out=(7, 8)) as counts:
        spool.append((opening(2, pid=7) + opening(3, pid=9) + opening(4, pid=8)).encode())
        assert counts.take() == {Group(pid=9): 1}


DOCKER = "ab" * 32
HOSTILE = "\x1b[2J<b>=cmd|' /c calc'!A1\nweb"


@pytest.fixture
def groups(monkeypatch):
    """Give the control groups of processes that run, by pid; the one container has a bad name."""
    groups = {
        50: b"0::/system.slice/ssh.service\n",
        60: f"0::/system.slice/docker-{DOCKER}.scope\n".encode(),
        70: b"0::/\n",
    }
    made = partial(LivePlaces, read=groups.get, known=lambda *_: Known(HOSTILE))
    monkeypatch.setattr(live_counts, "LivePlaces", made)
    return groups


def arrive(spool, first):
    """Append an event of each of four processes, of one of another host, and one without any."""
    lines = [opening(first + n, pid=pid, ppid=60) for n, pid in enumerate((50, 60, 70, 80))]
    lines += [opening(first + 8, pid=50, node="node=other "), login(first + 9)]
    spool.append("".join(lines).encode())


IN_CONTAINER = Group(container=DOCKER, unit=f"docker-{DOCKER}.scope")
IN_SSH = Group(unit="ssh.service")


def test_containers_and_units(spool, tmp_path, groups):
    """A process that has ended is where its parent is; of other hosts nothing tells."""
    with counts_of(tmp_path, ("container", "unit")) as counts:
        arrive(spool, 10)
        assert counts.take() == {IN_SSH: 1, IN_CONTAINER: 2, Group(): 3}
        assert counts.names == {DOCKER: HOSTILE}
        groups.clear()
        arrive(spool, 20)
        assert counts.take() == {IN_SSH: 1, IN_CONTAINER: 2, Group(): 3}


@pytest.mark.parametrize("full", [20_000, 3])
def test_a_process_that_ends_soon(spool, tmp_path, groups, monkeypatch, full):
    """It is looked at when its events come, and counted when the look is over."""
    monkeypatch.setattr(arrivals, "_FULL", full)
    with counts_of(tmp_path, ("unit",)) as counts:
        assert counts.is_hasty
        for first in (10, 20, 30):
            groups[90] = b"0::/system.slice/cron.service\n"
            spool.append((opening(first, pid=90) + opening(first + 1, pid=50)).encode())
            counts.gather()
            del groups[90]
        assert counts.take() == {Group(unit="cron.service"): 3, IN_SSH: 3}
        assert counts.take() == Counter()


@pytest.mark.parametrize(
    ("place", "found"),
    [
        (Place(container=DOCKER[:12]), {60: 1, 80: 1}),
        (Place(container=HOSTILE), {60: 1, 80: 1}),
        (Place.asked(None, "ssh"), {50: 1}),
        (Place(container="web"), {}),
    ],
)
def test_of_one_place_alone(spool, tmp_path, groups, place, found):
    """By id, the beginning of it, or name; a unit as systemctl has it."""
    del groups
    with LiveCounts(tmp_path / "spool", "box", None, by=("pid",), place=place) as counts:
        arrive(spool, 10)
        assert counts.take() == {Group(pid=pid): count for pid, count in found.items()}


def test_names_of_containers_are_shown_harmless(capsys):
    """By name where the runtime tells, else the digits that it shows; JSON has ids."""
    other = "cd" * 32
    found = Counter({Group(container=DOCKER): 4, Group(container=other): 2, Group(): 1})
    look = top._Look(("container",), found.most_common(), found, 2.0)
    top._write_table(look, {DOCKER: HOSTILE})
    out = capsys.readouterr().out
    assert "\x1b" not in out
    rows = [line.split()[:2] for line in out.splitlines()[1:] if line.strip()[:1].isdigit()]
    assert rows == [["2.0", "4"], ["1.0", "2"], ["0.5", "1"]]
    assert other[:12] in out
    assert other[:13] not in out
    top._write_json(look)
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["container"] for row in rows] == [DOCKER, other, None]


def environment(tmp_path):
    """Give the environment of commands on that spool."""
    return os.environ | {
        "AUDITSVC_STATE_DIRECTORY": str(tmp_path),
        "AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path / "run"),
        "AUDITSVC_STORE": f"sqlite:///{tmp_path}/store.db",
        "AUDITSVC_HOST": "box",
    }


def test_looks_as_json(spool, tmp_path):
    """An object a line and a look; the events of our own ancestors are not in it."""
    words = ("top", "--format", "json", "--every", "0.1", "--by", "pid,auid")
    streams = {"stdout": subprocess.PIPE, "text": True}
    process = Begun(*words, environment=environment(tmp_path), **streams)
    serials = iter(range(2, 10_000))

    def look():
        spool.append((opening(next(serials), pid=os.getpid()) + opening(next(serials))).encode())
        return json.loads(process.stdout.readline())

    found = until(lambda: (seen := look())["rows"] and seen)
    assert {row["pid"] for row in found["rows"]} == {100}
    assert found["rows"][0] == {"events": found["events"], "pid": 100, "auid": None}
    process.terminate()
    assert process.wait(timeout=60) == 0


def test_a_look_as_text(spool, tmp_path):
    """`--once` ends after one; without a terminal nothing clears a screen."""
    del spool
    done = run("top", "--once", "--every", "0.1", environment=environment(tmp_path), text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"0 events in \d+\.\d", done.stdout)
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--by", "name"], "there is no 'name'"), ([], "there is no spool")],
)
def test_wrong_usage(tmp_path, words, said):
    """One line, and exit status 2."""
    done = run("top", *words, environment=environment(tmp_path), text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
