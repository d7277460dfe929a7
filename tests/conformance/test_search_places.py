"""`search --container` and `--unit`: the events whose process was there, as the views say."""

from __future__ import annotations

import random

import pytest
from fixtures import searching
from fixtures.archived import archive, settings_of
from fixtures.logs import SECOND, call, load, record, rows
from fixtures.process_model import CLONE, EXECVE, Host
from fixtures.repeats import seeds

from auditsvc.search import slices, sources
from auditsvc.search.dialect import SQLITE
from auditsvc.search.lines import identity
from auditsvc.search.statement import statement
from auditsvc.store import open_store
from auditsvc.store.partitions import DAY
from auditsvc.store.write.prune import Pruner, ids_of

ID = "0123456789abcdef" * 4
WEB = f"unit=docker-{ID}.scope container={ID} runtime=docker name=7765622031"


def told(serial, pid, rest="", *, second=SECOND, ms=0):
    """Give the service's record of a process's place; the name is "web 1"."""
    ids = f"auid=4294967295 pid={pid} uid=0 ses=4294967295 subj=unconfined res=success"
    body = f'op=cgroup cgroup="/x" {rest} {ids}'
    return record("DAEMON_CONFIG", serial, body, second=second, ms=ms)


def serials(url, *words):
    """Give the serials of the events that a search finds, without the records of places."""
    return [serial for _, _, serial in searching.found(url, *words) if serial < 900]


LOG = (
    told(900, 100, WEB, second=SECOND + 1)
    + call(1, pid=100, ppid=1)
    + call(2, nr=CLONE, pid=100, ppid=1, exit=200, a0="11", second=SECOND + 2)
    + call(3, nr=EXECVE, pid=200, ppid=100, exe='"/bin/ls"', second=SECOND + 3)
    + record("ANOM_ABEND", 4, "auid=0 uid=0 gid=0 ses=3 pid=200 sig=6 res=1", second=SECOND + 4)
    + told(901, 100, "unit=moved.service", second=SECOND + 5)
    + call(5, pid=100, ppid=1, key='"moved"', second=SECOND + 6)
    + call(6, pid=200, ppid=50, exe='"/bin/other"', second=SECOND + 7)
    + told(902, 300, "unit=ssh.service", second=SECOND + 9)
    + call(7, pid=300, ppid=1, second=SECOND + 8)
    + call(8, pid=301, ppid=300, exe='"/bin/sh"', second=SECOND + 9)
)


@pytest.fixture(autouse=True, params=(2, 4000))
def first_calls(request, monkeypatch):
    """Ask each of so many calls where its process was, and find the others by the processes."""
    monkeypatch.setattr(slices, "_FIRST_PLACED", request.param)


@pytest.fixture(scope="module")
def store(common_url):
    """Give the store of a host with a container and units."""
    load(common_url, LOG, kind="spool")
    return common_url


ASKED = [
    (["--container", ID], [1, 2, 3, 4]),
    (["--container", ID[:12]], [1, 2, 3, 4]),
    (["--container", "web 1"], [1, 2, 3, 4]),
    (["--container", "web"], []),
    (["--container", ID[1:13]], []),
    (["-w", "--container", ID[:12]], []),
    (["--unit", "moved"], [5]),
    (["--unit", "moved.service"], [5]),
    (["--unit", "ssh"], [7, 8]),
    (["--unit", "ss"], []),
    (["--unit", f"docker-{ID}.scope", "--container", "web 1"], [1, 2, 3, 4]),
    (["--unit", "ssh", "--container", "web 1"], []),
    (["--container", "web 1", "-x", "/bin/ls"], [3]),
    (["--container", "web 1", "-m", "ANOM_ABEND"], [4]),
    (["--container", "web 1", "-p", "200", "--since", f"@{SECOND + 4}"], [4]),
    (["--container", "web 1", "-a", "2"], [2]),
    (["--container", "web 1", "-k", "files", "--where", "pid = 100"], [1, 2]),
    (["--container", "' OR 1=1 --"], []),
    (["--unit", "x' UNION SELECT 1 --"], []),
]


@pytest.mark.parametrize(("words", "found"), ASKED)
def test_events_of_a_container_or_unit(store, words, found):
    """Its processes and those that they made, until they are moved or their pid is another's."""
    assert serials(store, *words) == found


@pytest.fixture(scope="module")
def archived(tmp_path_factory):
    """Give the source of archive and store: of the same log, of whose days the archive has two.

    The store has lost the first of them. There is a day with nothing but what is not believed.
    """
    folder = tmp_path_factory.mktemp("archived")
    url = f"sqlite:///{folder}/store.db"
    later = LOG.replace(f"{SECOND + 8}.", f"{SECOND + DAY}.").replace(
        f"{SECOND + 9}.", f"{SECOND + DAY + 1}."
    )
    last = call(9, pid=200, ppid=50, second=SECOND + 3 * DAY) + call(
        10, pid=302, ppid=301, second=SECOND + 3 * DAY
    )
    load(url, later + last, kind="spool")
    forged = told(903, 200, "unit=moved.service", second=SECOND + 2 * DAY)
    load(url, forged + forged.replace("op=cgroup", "FOREIGN=1 op=cgroup"), name="of others")
    settings = settings_of(url, folder)
    assert len(archive(settings, now=SECOND + 3 * DAY).events) == 3
    with open_store(url) as store:
        pruner = Pruner(store.database)
        pruner.begin()
        with pruner.turn() as connection:
            assert pruner.delete_slice(connection, *ids_of(SECOND // DAY), 1000).events == 8
        pruner.end()
    return url, sources.archive(settings)


@pytest.mark.parametrize(("words", "found"), ASKED[1::3])
def test_events_of_archive_and_store(archived, words, found):
    """The same, although what says where a process was is in the archive alone."""
    url, source = archived
    with source.found(searching.options(*words).criteria(url)) as events:
        found_serials = [identity(event)[2] for event in events.events]
    later = [10] if found == [7, 8] else []
    assert [each for each in found_serials if each < 900] == [*found, *later]


@pytest.mark.parametrize("seed", seeds(4, 100))
def test_they_are_those_that_the_views_tell(url, seed):
    """On a host whose processes are made, moved and recorded at any time, also in one ms."""
    chance = random.Random(seed)
    made = Host(chance)
    for _ in range(150):
        made.step()
        if chance.random() < 0.2:
            serial = next(made.serials)
            second, ms = divmod(made.now + chance.choice((-4, 0, 0, 1, 900)), 1000)
            pid = chance.choice((*made.pids, 250, 1))
            unit = chance.choice(("unit=a.service", f"unit=b.service {WEB[5:]}", ""))
            made.events.append(told(serial, pid, unit, second=second, ms=ms))
    load(url, "".join(made.events), kind="spool")
    for column, value, option in (
        ("unit", "a.service", "--unit"),
        ("unit", "b.service", "--unit"),
        ("container", ID, "--container"),
    ):
        known = rows(url, f"SELECT event_id, {column} AS it FROM syscalls ORDER BY event_id")
        wanted = [row["event_id"] for row in known if row["it"] == value]
        calls = {row["event_id"] for row in known}
        assert [n for n in searching.found_ids(url, option, value) if n in calls] == wanted
        if url.startswith("sqlite"):  # by views alone, as an archive is asked
            criteria = searching.options(option, value).criteria(url)
            asked = rows(url, statement(criteria, SQLITE, views_only=True))
            assert [row["event_id"] for row in asked] == searching.found_ids(url, option, value)
        assert wanted or seed > 3
