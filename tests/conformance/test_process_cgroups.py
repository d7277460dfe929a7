"""Where a process was: its control group, unit and container, from the records of our service."""

from __future__ import annotations

import random

import pytest
from fixtures.days import TODAY, prune
from fixtures.logs import SECOND, call, load, record, rows
from fixtures.process_model import CLONE, EXECVE, EXIT_GROUP, Host
from fixtures.repeats import seeds

from auditsvc.decode import make_decoder
from auditsvc.enrich.cgroup_watch import CgroupWatch, processes_of, words_of
from auditsvc.enrich.containers import Known
from auditsvc.record.daemon import DaemonRecords
from auditsvc.store import open_store

WHO = "auid=4294967295 pid={} uid=0 ses=4294967295 subj=unconfined res=success"
ID = "ab" * 32


def told(serial, pid, path, rest="", *, after=0, end="", kind="DAEMON_CONFIG", **options):
    """Give the service's record of a process's group."""
    body = f'op=cgroup cgroup="{path}"{rest} {WHO.format(pid)}{end}'
    return record(kind, serial, body, second=SECOND + after, **options)


def places(url, columns="pid, cgroup, cgroup_known_by"):
    """Give where all lives were, in the order in which they began."""
    found = rows(url, f"SELECT {columns} FROM processes ORDER BY began, pid")
    return [tuple(row.values()) for row in found]


def test_what_the_record_tells(url):
    """Unit, session, container, its name and image; also beside the call."""
    rest = f" unit=docker-{ID}.scope session=4 container={ID} runtime=docker name=7765622031"
    load(
        url,
        call(1, pid=100, ppid=1) + told(2, 100, "/x", f"{rest} image=nginx:1.25", after=1),
        kind="spool",
    )
    columns = "cgroup, unit, session, container, container_name, image, cgroup_known_by"
    unit = f"docker-{ID}.scope"
    assert places(url, columns) == [("/x", unit, "4", ID, "web 1", "nginx:1.25", "read")]
    assert rows(url, "SELECT unit, container FROM syscalls") == [{"unit": unit, "container": ID}]


def test_a_process_is_where_its_parent_was_when_it_began(url):
    """Through several parents, also one of which the log has no call; until it is recorded."""
    log = [
        told(900, 50, "/cron.service", after=5),
        call(1, pid=100, ppid=50, second=SECOND + 10),
        call(2, nr=CLONE, pid=100, ppid=50, exit=200, a0="1200011", second=SECOND + 20),
        call(3, nr=EXECVE, pid=200, ppid=100, exe='"/bin/ls"', second=SECOND + 21),
        call(4, nr=CLONE, pid=100, ppid=50, exit=201, a0="1200011", second=SECOND + 40),
        call(5, nr=EXECVE, pid=201, ppid=100, exe='"/bin/ls"', second=SECOND + 41),
        told(901, 100, "/moved.service", after=30),
        told(902, 201, "/own.service", after=42),
        call(6, pid=300, ppid=77, second=SECOND + 50),
    ]
    load(url, "".join(log), kind="spool")
    assert places(url) == [
        (100, "/moved.service", "read"),
        # Of its parent it is not known when it was moved: what was recorded next counts.
        (200, "/moved.service", "parent"),
        (201, "/own.service", "read"),
        (300, None, None),
    ]


def test_calls_before_and_after_a_move(url):
    """Each call has the group of its time."""
    log = [call(n, pid=100, ppid=1, second=SECOND + 10 * n) for n in (1, 2, 3)]
    log += [told(900, 100, "/a", " unit=a.service", after=11)]
    log += [told(901, 100, "/b", " unit=b.service", after=25)]
    load(url, "".join(log), kind="spool")
    found = rows(url, "SELECT unit FROM syscalls ORDER BY serial")
    assert [row["unit"] for row in found] == ["a.service", "a.service", "b.service"]


def test_a_pid_that_was_used_again(url):
    """No life has the group of another life of its pid."""
    log = [
        call(1, pid=100, ppid=1, second=SECOND + 10),
        told(900, 100, "/a", after=11),
        call(2, nr=EXIT_GROUP, pid=100, ppid=1, success=None, a0="0", second=SECOND + 12),
        call(3, pid=100, ppid=2, second=SECOND + 20, exe='"/bin/b"'),
        call(4, nr=EXIT_GROUP, pid=100, ppid=2, success=None, second=SECOND + 22, exe='"/bin/b"'),
        call(5, pid=100, ppid=3, second=SECOND + 30, exe='"/bin/c"'),
        told(901, 100, "/c", after=31),
    ]
    load(url, "".join(log), kind="spool")
    assert places(url) == [(100, "/a", "read"), (100, None, None), (100, "/c", "read")]


def test_only_our_own_service_is_believed(url):
    """Not a log that others wrote, nor a line that was passed on, nor another record."""
    log = [
        told(1, 100, "/evil", end="\x1dFOREIGN=1"),
        told(2, 100, "/evil", kind="USER_CMD"),
        told(3, 0, "/evil"),
        told(4, 4294967295, "/evil"),
        record("DAEMON_CONFIG", 5, f"op=cgroup {WHO.format(100)}"),
        record("DAEMON_CONFIG", 6, f'op=other cgroup="/evil" {WHO.format(100)}'),
    ]
    load(url, "".join(log) + call(10, pid=100, ms=500), kind="spool")
    load(url, told(11, 100, "/evil") + call(12, pid=100, ms=500), "other", kind="file")
    assert set(places(url)) == {(100, None, None)}


def test_groups_of_pruned_days_go(url):
    """They are recorded again every day."""
    after = TODAY * 86_400 - SECOND
    log = told(1, 100, "/a", after=after - 3 * 86_400) + told(2, 100, "/a", after=after)
    load(url, log + call(3, second=TODAY * 86_400 - 200_000), kind="spool")
    with open_store(url) as store:
        prune(store.database, keep="1d")
        with store.engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT count(*) FROM process_cgroup").scalar()
    assert found == 1


class Groups(Host):
    """A host whose processes are in groups: some are moved before their first call."""

    def __init__(self, chance):
        super().__init__(chance)
        self.init.group = "/init.scope"
        self.daemon = DaemonRecords()
        self.decoder = make_decoder("auto", secret=b"", host="box")
        self.taken, self.told = 0, []
        """How many events were handed over; our records."""
        self.were_read = set()
        """Processes that ran when they were looked at."""
        self.watch = CgroupWatch(self._record, read=self._read, known=lambda *_: Known())

    def _begin(self, process):
        process.group = getattr(process.parent, "group", "/init.scope")
        # Else the same parent, pid and program could be in two groups: see decision 0023.
        if not process.is_again and self.chance.random() < 0.15:
            process.group = f"/{len(self.lives)}.service"
            process.exe = f"/usr/bin/of{len(self.lives)}"
        return super()._begin(process)

    def _running(self, pid):
        return next((each for each in [self.init, *self.alive] if each.pid == pid), None)

    def _read(self, pid):
        process = self._running(pid)
        return None if process is None else f"0::{process.group}\n".encode()

    def _record(self, pid, place, known):
        self.were_read.add(id(self._running(pid)))
        second, ms = divmod(self.now, 1000)
        line = self.daemon.cgroup(pid, *words_of(place, known))
        stamp = f"audit({second}.{ms:03d}:{next(self.serials) + 100_000_000}):".encode()
        self.told.append(
            (line[: line.index(b"audit(")] + stamp + line.partition(b"):")[2]).decode()
        )

    def look(self):
        """Hand over what has happened since, and look."""
        new, self.taken = self.events[self.taken :], len(self.events)
        self.decoder.feed("".join(new).encode(), 0.0)
        self.decoder.finish()
        batch = self.decoder.take()
        pids = {each.pid for each in processes_of(batch)}
        self.were_read |= {id(each) for each in self.alive if each.pid in pids}
        self.watch.seen(batch)
        self.now += 1
        self.watch.look()

    def expected(self, process):
        """Give the group that the log tells: its own, if it was read, or else its parent's."""
        while id(process) not in self.were_read:
            if process.first_parent is None:
                return None
            process = process.first_parent
        return process.group


@pytest.mark.parametrize("seed", seeds(2, 100))
def test_all_groups_of_a_host(url, seed):
    """Of a known host: who was read is where it was, all others where their parents were."""
    made = Groups(random.Random(seed))
    for number in range(250):
        made.step()
        if number % 7 == seed % 7:
            made.look()
    load(url, "".join([*made.events, *made.told]), kind="spool")
    found = rows(url, "SELECT process_id, cgroup FROM processes")
    shown = {row["process_id"]: row["cgroup"] for row in found}
    wrong = []
    for life in made.lives:
        if life.calls:
            second, ms = divmod(life.began, 1000)
            group = shown[(second << 30) | ((ms >> 2) << 22) | life.pid]
            if group != made.expected(life):
                wrong.append((life.pid, life.began, group, made.expected(life)))
    assert wrong == []
    assert len(made.told) < len(made.lives)
