"""The names of users and groups are recorded when they are first seen, and when they change."""

from __future__ import annotations

import os
import threading

import pytest
from fixtures.logs import call

from auditsvc.decode import make_decoder
from auditsvc.enrich import looker, names
from auditsvc.enrich.names import GROUP, USER, NameWatch, ids_of

DAY = 86_400


class Host:
    """A host with users, a clock, and what was recorded."""

    def __init__(self, tmp_path):
        self.users, self.groups, self.told = {0: b"root"}, {0: b"root"}, []
        self.passwd = tmp_path / "passwd"
        self.passwd.write_text("1")
        self.time = 10 * DAY + 100.0
        self.watch = NameWatch(
            lambda *told: self.told.append(told),
            lookups={USER: self.users.get, GROUP: self.groups.get},
            files=[self.passwd],
            now=lambda: self.time,
        )

    def see(self, *logs, decoder="auto"):
        """Have the loader hand over a batch; give what is recorded then."""
        made = make_decoder(decoder, secret=b"", host="box")
        made.feed("".join(logs).encode(), 0.0)
        made.finish()
        self.watch.seen(made.take())
        return self.look()

    def look(self):
        """Look once; give what is recorded."""
        self.told.clear()
        self.watch.look()
        return list(self.told)

    def change(self, text):
        """Change the file of users."""
        self.passwd.write_text(text)
        os.utime(self.passwd, (1, int(text)))


@pytest.fixture
def host(tmp_path):
    """Give a host."""
    return Host(tmp_path)


@pytest.mark.parametrize("decoder", ["native", "reference"])
def test_all_ids_of_a_call(decoder):
    """Each column of a context that has an id, by whichever decoder; unset ones are none."""
    fields = {name: n for n, name in enumerate(["auid", "uid", "euid", "suid", "fsuid"], 10)}
    groups = {name: n for n, name in enumerate(["gid", "egid", "sgid", "fsgid"], 20)}
    made = make_decoder(decoder, secret=b"", host="box")
    made.feed((call(1, **fields, **groups) + call(2)).encode(), 0.0)
    made.finish()
    found = ids_of(made.take())
    assert found == {USER: {*fields.values(), 0, 1000}, GROUP: {*groups.values(), 0}}


def test_a_name_is_recorded_when_its_id_is_first_seen(host):
    """Once; an id without a name is not."""
    host.users[1000] = b"alice"
    assert sorted(host.see(call(1, uid=1000), call(2, uid=1001))) == [
        (GROUP, 0, b"root"),
        (USER, 0, b"root"),
        (USER, 1000, b"alice"),
    ]
    assert host.see(call(3, uid=1000), call(4, uid=1001)) == []


def test_a_change_is_recorded(host):
    """When the files have changed, or after an hour; also that a name is gone, or is there now."""
    host.users[1000] = b"alice"
    host.see(call(1, uid=1000), call(2, uid=1001))
    host.users[1000] = b"alicia"
    assert host.look() == []  # not asked again yet
    host.change("2")
    assert host.look() == [(USER, 1000, b"alicia")]
    del host.users[1000]
    host.users[1001] = b"bob"
    host.time += 3601
    assert sorted(host.look()) == [(USER, 1000, None), (USER, 1001, b"bob")]
    assert host.look() == []


def test_each_day_has_all_names(host):
    """So that the log of a day tells them by itself; none twice."""
    host.see(call(1, uid=1000))
    host.time += DAY
    host.users[1000] = b"alice"
    assert sorted(host.see(call(2, uid=5, gid=6))) == [
        (GROUP, 0, b"root"),
        (USER, 0, b"root"),
        (USER, 1000, b"alice"),
    ]
    assert host.look() == []


def test_ids_are_bounded(host, monkeypatch):
    """Users of a namespace can be many."""
    monkeypatch.setattr(names, "MOST", 3)
    host.users |= dict.fromkeys(range(1000, 1100), b"x")
    assert len(host.see(*(call(n, uid=1000 + n) for n in range(50)))) <= 3
    assert host.see(*(call(n, uid=1050 + n) for n in range(50))) == []


def test_a_lookup_that_hangs_holds_nobody_up(host, monkeypatch):
    """The loader hands over, and the service ends, whatever the directory server does."""
    monkeypatch.setattr(looker, "_STOP_SECONDS", 0.1)
    entered, release = threading.Event(), threading.Event()

    def hang(_):
        entered.set()
        release.wait(60)

    host.watch._lookups = {USER: hang, GROUP: hang}
    host.watch.start()
    made = make_decoder("auto", secret=b"", host="box")
    made.feed(call(1).encode(), 0.0)
    made.finish()
    host.watch.seen(made.take())
    assert entered.wait(60)
    made.feed(call(2, uid=77).encode(), 0.0)
    made.finish()
    host.watch.seen(made.take())
    host.watch.finish()
    release.set()
    host.watch.join(60)
    assert host.watch.error is None


def test_what_comes_during_the_last_look_but_one_is_recorded(host, monkeypatch):
    """The service ends while a look goes on: what was handed over meanwhile has one of its own."""
    monkeypatch.setattr(looker, "_STOP_SECONDS", 0)
    entered, release = threading.Event(), threading.Event()

    def slow(number):
        entered.set()
        assert release.wait(60)
        return host.users.get(number)

    host.users[77] = b"late"
    host.watch._lookups = {USER: slow, GROUP: slow}
    host.watch.start()
    made = make_decoder("auto", secret=b"", host="box")
    made.feed(call(1).encode(), 0.0)
    made.finish()
    host.watch.seen(made.take())
    assert entered.wait(60)
    made.feed(call(2, uid=77).encode(), 0.0)
    made.finish()
    host.watch.seen(made.take())
    host.watch.finish()
    release.set()
    host.watch.join(60)
    assert host.watch.error is None
    assert (USER, 77, b"late") in host.told


def test_names_of_this_host():
    """As the system's own functions say; None for who has none."""
    assert names.user_name(0) == b"root"
    assert names.user_name(4_294_967_000) is None
    assert names.group_name(4_294_967_000) is None
