"""Which processes' control groups are recorded: those that are not in their parent's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import structlog
from fixtures.logs import call

from auditsvc.decode import make_decoder
from auditsvc.enrich import cgroup_watch
from auditsvc.enrich.cgroup_watch import CgroupWatch, Seen, processes_of, read_cgroup, words_of
from auditsvc.enrich.containers import Known

DAY = 86_400


class Host:
    """A host with processes in groups, a clock, and what was recorded."""

    def __init__(self):
        self.groups, self.told, self.time = {}, [], 10 * DAY + 100.0
        self.decoder = make_decoder("auto", secret=b"", host="box")
        self.watch = CgroupWatch(
            lambda pid, place, known: self.told.append((pid, place.path.decode(), known)),
            read=self._read,
            known=lambda container, _: Known(f"name-{container}"),
            now=lambda: self.time,
        )

    def _read(self, pid):
        path = self.groups.get(pid)
        return None if path is None else f"0::{path}\n".encode()

    def see(self, *pairs, **fields):
        """Have the loader hand over processes, each a pid and its parent; give what is recorded."""
        for pid, ppid in pairs:
            self.decoder.feed(call(pid, pid=pid, ppid=ppid, **fields).encode(), 0.0)
        self.decoder.finish()
        self.watch.seen(self.decoder.take())
        return self.look()

    def look(self):
        """Look once; give what is recorded: pids and paths."""
        self.told.clear()
        self.watch.look()
        return [each[:2] for each in self.told]


@pytest.fixture
def host():
    """Give a host."""
    return Host()


@pytest.mark.parametrize("decoder", ["native", "reference"])
def test_the_processes_of_a_batch(decoder):
    """By whichever decoder; each with its parent and session."""
    made = make_decoder(decoder, secret=b"", host="box")
    lines = call(1, pid=5, ppid=4, ses=9) + call(2, pid=6, ppid=5) + call(3, pid=6, ppid=5, uid=3)
    made.feed(lines.encode(), 0.0)
    made.finish()
    found = processes_of(made.take())
    assert sorted(each[:3] for each in found) == [(5, 4, 9), (6, 5, None)]


def test_who_is_in_its_parents_group_has_no_record(host):
    """Only the first, whose parent is not known, and who was moved; parents come before."""
    host.groups |= {100: "/a.service", 101: "/a.service", 102: "/b.service", 103: "/b.service"}
    assert host.see((103, 102), (102, 101), (101, 100), (100, 1)) == [
        (100, "/a.service"),
        (102, "/b.service"),
    ]
    assert host.see((103, 102), (101, 100)) == []


def test_who_was_too_short_lived_counts_as_its_parent(host):
    """Its children, if they can be read, have no record if they are there too."""
    host.groups |= {100: "/a.service", 103: "/a.service", 104: "/b.service"}
    found = host.see((100, 1), (101, 100), (102, 101), (103, 102), (104, 102))
    assert found == [(100, "/a.service"), (104, "/b.service")]


def test_a_parent_that_made_no_call_is_read(host):
    """Once for all its children, whether they have ended or not; not if it has ended too."""
    host.groups |= {50: "/cron.service", 201: "/cron.service", 203: "/a.service"}
    assert host.see((200, 50)) == [(50, "/cron.service")]
    assert host.see((201, 50), (204, 50)) == []
    assert host.see((202, 51)) == []
    assert host.see((203, 51)) == [(203, "/a.service")]


def test_a_move_is_recorded(host):
    """When the process is seen again with another program; also back into its parent's group."""
    host.groups |= {100: "/init.scope", 1: "/init.scope"}
    assert host.see((1, 0), (100, 1)) == [(1, "/init.scope")]
    host.groups[100] = "/a.service"
    assert host.see((100, 1), exe='"/bin/a"') == [(100, "/a.service")]
    host.groups[100] = "/init.scope"
    assert host.see((100, 1), exe='"/bin/b"') == [(100, "/init.scope")]


def test_each_possible_life_of_a_recorded_process_has_a_record(host):
    """Another program, parent or session can be taken for another process of that pid."""
    host.groups[100] = "/a.service"
    assert host.see((100, 1)) == [(100, "/a.service")]
    for fields in ({"exe": '"/bin/a"'}, {"ses": 7}):
        assert host.see((100, 1), **fields) == [(100, "/a.service")]
    assert host.see((100, 2)) == [(100, "/a.service")]
    assert host.see((100, 2), uid=77) == []


def test_a_process_that_was_read_and_has_ended_tells_nothing_of_its_children(host):
    """It may be another one that ended: so a child is recorded."""
    host.groups |= {1: "/init.scope", 100: "/a.service"}
    host.see((1, 0), (100, 1))
    del host.groups[100]
    host.groups[101] = "/init.scope"
    assert host.see((100, 1), (101, 100), exe='"/bin/a"') == [(101, "/init.scope")]


def test_containers_are_named(host):
    """From the runtime's files; the record has all that is known."""
    container = "ab" * 32
    host.groups[100] = f"/system.slice/docker-{container}.scope"
    host.see((100, 1))
    ((pid, path, known),) = host.told
    assert (pid, known) == (100, Known(f"name-{container}"))
    place = cgroup_watch.place_of(f"0::{path}\n".encode())
    assert words_of(place, known)[1] == {
        "unit": f"docker-{container}.scope", "session": None, "container": container,
        "runtime": "docker", "name": f"name-{container}", "image": None,
    }  # fmt: skip


def test_each_day_has_all_that_run(host):
    """So that the log of a day tells it by itself."""
    host.groups |= {100: "/a.service", 101: "/b.service"}
    host.see((100, 1), (101, 1))
    del host.groups[101]
    host.time += DAY
    assert host.look() == [(100, "/a.service")]
    assert host.look() == []


def test_it_is_bounded(host, monkeypatch):
    """Of a process that was forgotten there is one record more, and no more than can wait."""
    monkeypatch.setattr(cgroup_watch, "MOST", 3)
    host.groups |= dict.fromkeys(range(100, 120), "/a.service")
    for pid in range(100, 120):
        assert host.see((pid, 1)) == [(pid, "/a.service")]
    assert len(host.watch._texts) == len(host.watch._recorded) == 3
    monkeypatch.setattr(cgroup_watch, "MOST_WAITING", 2)
    with structlog.testing.capture_logs() as logged:
        assert len(host.see(*((pid, 2) for pid in range(100, 110)))) == 2
        assert len(host.see(*((pid, 3) for pid in (100, 101)))) == 2
    assert [line["count"] for line in logged] == [8], "said once, with how many"


def test_the_thread_records_and_ends(host):
    """What was handed over before the end is recorded."""
    host.groups[100] = "/a.service"
    host.watch.start()
    host.decoder.feed(call(1, pid=100, ppid=1).encode(), 0.0)
    host.decoder.finish()
    host.watch.seen(host.decoder.take())
    host.watch.finish()
    host.watch.join(60)
    assert host.watch.error is None
    assert [each[:2] for each in host.told] == [(100, "/a.service")]


def test_an_error_of_the_thread_is_kept(host):
    """The service ends with it."""

    def fail(*_):
        raise OSError("no spool")

    host.watch._record = fail
    host.groups[100] = "/a.service"
    host.watch._new = {Seen(100, 1, None, None): None}
    host.watch._wake.set()
    host.watch.run()
    assert isinstance(host.watch.error, OSError)


def test_groups_of_this_host():
    """As /proc has them; none of a process that has ended."""
    assert read_cgroup(os.getpid()) == Path("/proc/self/cgroup").read_bytes()
    assert read_cgroup(4_194_305) is None
