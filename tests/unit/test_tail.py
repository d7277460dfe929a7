"""`auditsvc tail`: each event that arrives comes once, however late, and nothing is written."""

from __future__ import annotations

import os
import signal
from functools import partial

import pytest
from fixtures import searching
from fixtures.commands import AUDITSVC, Begun, run
from fixtures.logs import SECOND, Pipe, call, login, opening, proctitle
from fixtures.terminal import Terminal
from fixtures.waiting import until

from auditsvc.errors import ClashError
from auditsvc.host.processes import start_second
from auditsvc.search import arrivals
from auditsvc.search.arrivals import SpoolArrivals, StoreArrivals
from auditsvc.search.criteria import Criteria
from auditsvc.search.lines import identity
from auditsvc.search.live_places import LivePlaces
from auditsvc.search.own_processes import own_processes
from auditsvc.spool.writer import SpoolWriter
from auditsvc.store import open_store

ALL = Criteria()


@pytest.fixture
def spool(tmp_path):
    """Give a spool that has an event, to be written on."""
    with SpoolWriter(tmp_path / "spool", segment_bytes=1 << 20, fsync="none") as writer:
        writer.append(opening(1).encode())
        yield writer


@pytest.fixture
def following(spool, tmp_path):
    """Follow that spool."""
    del spool  # it is there
    with SpoolArrivals(tmp_path / "spool", "box") as made:
        yield made


def new(following, criteria=ALL):
    """Give the serials of the events that are new."""
    return [identity(event)[2] for event in following.new(criteria)]


def test_what_arrives_comes_once_and_in_its_order(spool, following):
    """What was there before is not new; what arrives is, in the order of arrival."""
    assert new(following) == []
    spool.append((opening(3) + login(2)).encode())
    assert sorted(new(following)) == [2, 3]
    assert new(following) == []
    spool.append(opening(4).encode())
    assert new(following) == [4]


def test_however_late(spool, following):
    """A call that began hours ago, and one of the future, come when they arrive."""
    spool.append(opening(5).encode())
    assert new(following) == [5]
    for serial, second in ((6, SECOND - 86400), (7, SECOND + 86400), (8, 1)):
        spool.append(opening(serial, second=second).encode())
        assert new(following) == [serial]


def test_an_event_waits_for_its_end(spool, following):
    """Records that arrive one by one are one event, also over a rotation of the spool."""
    spool.append(call(5).encode())
    assert new(following) == []
    spool.rotate()
    spool.append(proctitle(5).encode())
    assert new(following) == [5]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["-k", "files"], [10, 11]),
        (["-k", "other"], []),
        (["-f", "/etc/shadow"], [11]),
        (["--path", "/etc"], [10, 11]),
        (["-m", "USER_LOGIN"], [12]),
        (["-sv", "no"], [12]),
        (["--where", "serial = 10"], [10]),
        (["-x", "cat", "-f", "passwd"], [10]),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_the_filters_are_those_of_search(spool, following, words, found):
    """The same options find the same events."""
    criteria = searching.options(*words).criteria("sqlite:////spool")
    spool.append((opening(10) + opening(11, name="/etc/shadow") + login(12)).encode())
    assert sorted(new(following, criteria)) == found


def test_the_events_of_a_unit_or_container(spool, following, monkeypatch):
    """By /proc now; of a process that has ended where it was last, or where its parent is."""
    docker = "0::/system.slice/docker-" + "ab" * 32 + ".scope\n"
    groups = {50: b"0::/system.slice/ssh.service\n", 60: docker.encode(), 70: b"0::/\n"}
    monkeypatch.setattr(arrivals, "LivePlaces", partial(LivePlaces, read=groups.get))

    def arrived(first):
        lines = [opening(first + n, pid=pid, ppid=50) for n, pid in enumerate((50, 60, 70, 80))]
        lines.append(opening(first + 9, pid=50, node="node=other "))
        spool.append("".join(lines).encode())

    arrived(10)
    ssh = searching.options("--unit", "ssh").criteria("sqlite:////spool")
    assert new(following, ssh) == [10, 13]
    for process in (50, 60):
        del groups[process]
    arrived(20)
    assert new(following, ssh) == [20, 23]


def test_a_container_of_what_arrives(spool, following, monkeypatch):
    """By its id or the beginning of it, as in a search."""
    docker = "0::/system.slice/docker-" + "ab" * 32 + ".scope\n"
    groups = {60: docker.encode(), 70: b"0::/\n"}
    monkeypatch.setattr(arrivals, "LivePlaces", partial(LivePlaces, read=groups.get))
    found = searching.options("--container", "abababababab").criteria("sqlite:////spool")
    spool.append((opening(10, pid=60) + opening(11, pid=70)).encode())
    assert new(following, found) == [10]


def test_it_does_not_show_its_own_calls(spool, following):
    """Calls of this process and of its ancestors are left out, those of others are not."""
    own = own_processes("box")
    pids = [each.pid for each in own]
    assert pids[:2] == [os.getpid(), os.getppid()]
    assert 1 not in pids
    assert own[0].since >> 30 == start_second(os.getpid())
    late = 1 << 32
    lines = [opening(n, pid=pid, second=late) for n, pid in enumerate([*pids, 1, 4194304], 20)]
    spool.append("".join(lines).encode())
    criteria = Criteria(exclude=own)
    assert len(new(following, criteria)) == 2


def test_segments_that_went_are_counted(spool, following, tmp_path):
    """What was deleted before it was read is no silence."""
    for serial in (5, 6, 7):
        spool.append(opening(serial).encode())
        assert new(following) == [serial]
    spool.rotate()
    spool.append(opening(8).encode())
    spool.rotate()
    spool.append(opening(9).encode())
    following._reader.close()
    for segment in sorted((tmp_path / "spool").glob("audit-*.log"))[:2]:
        segment.unlink()
    assert new(following) == [9]
    assert following.missing == 2


def test_many_events_do_not_stay(spool, following, monkeypatch):
    """The rows are let go of after some thousand events, and no event with them."""
    monkeypatch.setattr(arrivals, "_FULL", 3)
    seen = []
    for serial in range(100, 120):
        spool.append((opening(serial) + call(serial + 100)).encode())
        seen += new(following)
        if serial == 110:
            spool.append(proctitle(serial + 100).encode())
    assert [each for each in seen if each < 200] == list(range(100, 120))
    assert 210 in seen


def test_texts_with_one_id(spool, following, monkeypatch):
    """If two texts have one id, a store with another secret takes their place."""
    write, failed = SpoolArrivals._write, []

    def clash(self, batch):
        if not failed:
            failed.append(batch)
            raise ClashError([])
        write(self, batch)

    spool.append(call(5).encode())
    assert new(following) == []
    monkeypatch.setattr(SpoolArrivals, "_write", clash)
    spool.append((proctitle(5) + opening(6)).encode())
    assert new(following) == [5, 6]
    assert failed


def test_a_store_is_followed_read_only(tmp_path, monkeypatch):
    """Without a spool the latest ids are asked for: new ones, and those that are some time late."""
    url = f"sqlite:///{tmp_path}/store.db"
    open_store(url).close()
    monkeypatch.setattr(arrivals.time, "time", lambda: SECOND + 100.0)
    clock = [0.0]
    monkeypatch.setattr(arrivals.time, "monotonic", lambda: clock[0])
    pipe = Pipe(url)
    log = opening(1, second=SECOND + 99)
    pipe.load(log)
    with StoreArrivals(url, ALL) as following:
        assert new(following) == []
        log += opening(2, second=SECOND + 99) + opening(3, second=SECOND)
        pipe.load(log)
        assert new(following) == [2]
        clock[0] += 10
        assert new(following) == [3]
        assert new(following) == []
        log += opening(4, second=SECOND + 99)
        pipe.load(log)
        assert new(following) == [4]
    pipe.close()


def test_the_command(spool, tmp_path):
    """A line for each event, at once; a signal ends it with status 0, and nothing is left."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = os.environ | {
        "AUDITSVC_STATE_DIRECTORY": str(tmp_path),
        "AUDITSVC_HOST": "box",
        "TMPDIR": str(temporary),
    }
    shown = tmp_path / "shown"
    with shown.open("wb") as out:
        tail = Begun("tail", "-k", "files", stdout=out, environment=environment)
    serials = iter(range(5, 1 << 20))

    def lines():
        spool.append(opening(next(serials), success="no", exit=-13).encode())
        return shown.read_text().splitlines()

    try:
        assert until(lines)[0].endswith("cat[100] open /etc/passwd: EACCES")
    finally:
        tail.send_signal(signal.SIGTERM)
        assert tail.wait(60) == 0
    assert list(temporary.iterdir()) == []


def test_on_a_terminal_it_says_from_when(spool, tmp_path):
    """What happens after that line is shown."""
    environment = os.environ | {"AUDITSVC_STATE_DIRECTORY": str(tmp_path), "AUDITSVC_HOST": "box"}
    with Terminal(AUDITSVC, "tail", environment=environment) as terminal:
        terminal.until("Ctrl-C ends it")
        spool.append(opening(5, success="no", exit=-13).encode())
        assert "following the spool in" in terminal.until("open /etc/passwd: EACCES")


def test_without_a_spool(tmp_path):
    """One line says what to do."""
    environment = os.environ | {"AUDITSVC_STATE_DIRECTORY": str(tmp_path / "none")}
    done = run("tail", environment=environment, text=True)
    assert done.returncode == 2
    assert "there is no spool" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "none").exists()
