"""What `auditsvc search` has beyond ausearch: paths, SQL conditions, its SQL, plans."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from fixtures import searching
from fixtures.logs import SECOND, call, load, login, path, proctitle, record, rows

from auditsvc.search import callers, named_files
from auditsvc.search.arrivals import StoreArrivals
from auditsvc.search.criteria import Criteria
from auditsvc.search.dialect import dialect_of
from auditsvc.search.select import explained
from auditsvc.search.statement import Page, statement
from auditsvc.store import open_store
from auditsvc.store.read.selection import Process
from auditsvc.store.read.sql import run_query
from auditsvc.store.read.time_span import Span

DATA = Path(__file__).parent.parent / "data"


def opened(serial, cwd, name):
    """Give a call that opened a file by a name, in a working directory."""
    parts = call(serial), record("CWD", serial, f'cwd="{cwd}"'), path(serial, name)
    return "".join((*parts, proctitle(serial)))


FILES = {
    1: ("/root", "/etc/shadow"),
    2: ("/etc", "shadow"),
    3: ("/etc", "./shadow"),
    4: ("/", "etc/shadow"),
    5: ("/", "./etc/shadow"),
    6: ("/root", "shadow"),
    7: ("/etc/ssh", "sshd_config"),
    8: ("/etc", "ssh/sshd_config"),
    9: ("/", "etc/ssh/sshd_config"),
    10: ("/root", "/etc/ssh/sshd_config"),
    11: ("/root", "/etcetera/shadow"),
    12: ("/etc", "../root/shadow"),
    13: ("/etcetera", "shadow"),
    14: ("/etc/shadow", "x"),
    15: ("/root", "/etc/shadow-"),
    16: ("/root", "/ETC/shadow"),
}


@pytest.fixture(scope="module")
def store(common_url):
    """Give a store with files of all kinds of names, and a recorded log."""
    lines = "".join(opened(serial, *where) for serial, where in FILES.items())
    lines += login(50) + call(51, success="no", exit=-13, key='"a%_b"', second=SECOND + 10)
    load(common_url, lines.encode() + (DATA / "mixed.log").read_bytes())
    return common_url


def serials(url, *words):
    """Give the serials that are found of those that this module made."""
    return {serial for second, _, serial in searching.found(url, *words) if second <= SECOND + 10}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("/etc/shadow", {1, 2, 3, 4, 5, 14}),
        ("/etc/shadow/", {1, 2, 3, 4, 5, 14}),
        ("/etc/ssh", {7, 8, 9, 10}),
        ("/etc/ssh/sshd_config", {7, 8, 9, 10}),
        ("/etc", {1, 2, 3, 4, 5, 7, 8, 9, 10, 14, 15}),
        ("/etcetera", {11, 13}),
        ("/nowhere", set()),
    ],
)
def test_a_path_is_found_however_it_was_named(store, asked, found):
    """By its full name, and by those relative to the working directory; folders above it too."""
    assert serials(store, "--path", asked) == found


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("serial = 3", {3}),
        ("exe LIKE '%/cat' AND serial < 3", {1, 2}),
        ("cwd = '/etc' OR cwd = '/etc/ssh' -- comment", {2, 3, 7, 8, 12}),
        ("exit = -13 AND key = 'a%_b'", {51}),
        ("event_id IN (SELECT event_id FROM paths WHERE name = 'etc/shadow')", {4}),
        ("time >= '2025-06-15 15:06:50' AND time < '2025-06-15 15:07'", {51}),
    ],
)
def test_a_condition_in_sql(store, condition, found):
    """Only system calls that fulfil it."""
    assert serials(store, "--where", condition) == found
    assert serials(store, "--where", condition, "-sv", "no") == found & {51}


@pytest.mark.one_database
def test_a_text_is_no_pattern(store):
    """Wildcards of SQL are letters, quotes end nothing, and case counts."""
    assert serials(store, "-k", "a%_b") == {51}
    assert serials(store, "-k", "%") == {51}
    assert serials(store, "-k", "_") == {51}
    assert serials(store, "-f", "/ETC") == {16}
    for text in ("' OR '1'='1", "'; -- \\", '"%s" :a ? {0}'):
        assert serials(store, "-k", text, "-x", text) == set()


@pytest.mark.postgres
def test_a_backslash_ends_no_text(postgres_url):
    """Also where a server reads backslashes in texts as escapes."""
    load(postgres_url, call(1, key='"k"') + proctitle(1))
    name = postgres_url.rpartition("/")[2]
    database = open_store(postgres_url)
    with database.engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET standard_conforming_strings = off")
    database.close()
    assert serials(postgres_url, "-k", "k\\' OR 1=1 --") == set()
    assert serials(postgres_url, "-k", "k") == {1}
    with StoreArrivals(postgres_url, Criteria(key="k\\' OR 1=1 --")) as following:
        assert list(following.new(Criteria(key="k\\'"))) == []


def test_times_of_both_kinds(store):
    """--since and --until are UTC, and the end is not in it; -ts and -te are seconds that are."""
    assert serials(store, "--since", f"@{SECOND + 1}") == {51}
    assert serials(store, "--until", f"@{SECOND + 10}") == {*FILES, 50}
    assert serials(store, "-te", f"@{SECOND + 10}") == {*FILES, 50, 51}
    assert serials(store, "--since", "2025-06-15T17:06:50+02:00", "-k", "a") == {51}


SEARCHES = [
    "-x cat",
    "-k files -sv yes",
    "-f /etc",
    "-w -f /etc/shadow -c cat",
    "--path /etc -ui 1000",
    "-m AVC,CONFIG_CHANGE",
    "-m PATH -ts this-year",
    "-hn 192.0.2 -se unconfined",
    "-a 50",
    "-ul 4242 -e -2",
    "--where exit<0",
    "-te now --just-one",
    "-uu x",
]


@pytest.mark.parametrize("words", SEARCHES)
def test_explained_sql_gives_the_same_events(store, words):
    """What --explain shows, pasted into `auditsvc query`, gives the ids of the events found."""
    page = Page(1 if "--just-one" in words else None)
    criteria = searching.options(*words.split()).criteria(store)
    shown = explained(store, criteria, page)
    ids = [row["event_id"] for row in rows(store, shown)]
    assert [each >> 30 for each in ids] == [
        second for second, _, _ in searching.found(store, *words.split(), page=page)
    ]
    assert len(set(ids)) == len(ids)


def test_processes_can_be_left_out(store):
    """Calls of a process on a host, from one id to another."""
    (row,) = rows(store, "SELECT event_id, host, pid FROM syscalls WHERE serial = 51")
    leaving_out = Process(row["host"], row["pid"], row["event_id"], row["event_id"] + 1)
    for exclude, count in (((leaving_out,), 0), ((leaving_out._replace(pid=1),), 1)):
        sql = explained(store, Criteria(key="a%_b", exclude=exclude))
        assert len(rows(store, sql)) == count


@pytest.mark.parametrize("more", [{}, {"auid": 1000}, {"syscall": "openat"}, {"file": "shadow"}])
def test_a_path_is_found_by_the_views_alone_too(store, more):
    """As an archive and a fleet are asked, which have no indexes: the same events."""
    asked = ("/", "/etc/", "/etc/shadow", "/root", "/etcetera", "/etc/x'y")
    for each in asked:
        criteria = Criteria(path=each, **more)
        dialect = dialect_of(store)
        plain, alone = (
            [row["event_id"] for row in rows(store, statement(criteria, dialect, views_only=only))]
            for only in (False, True)
        )
        assert alone == plain, each
        assert plain or more or each == "/etc/x'y"


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """Give an empty store, which has the statistics that every store has."""
    url = f"sqlite:///{tmp_path_factory.mktemp('empty')}/store.db"
    open_store(url).close()
    return url


SMALL = (
    *("c", "a", "e", "name", "found", "records", "type", "(subquery"),
    *("nf", "nl", "np", "d", "context", "k", "o", "counted", "callers_0", "number_of_calls_0"),
    *(f"named_{each}_{n}" for each in ("files", "paths") for n in range(3)),
)
"""What may be read whole: contexts (k: those of a folder), addresses, other events, texts (d: those
of other events), results, and events by the files they name (o); and the uses of files (np) where
more than `named_files.FEW` have a name."""

INDEXED = {
    "program": Criteria(exe="sshd"),
    "command": Criteria(comm="sshd", whole=True),
    "key": Criteria(key="files"),
    "user": Criteria(uid=0),
    "any user": Criteria(any_uid=0),
    "login user": Criteria(auid=1000),
    "session": Criteria(session=3),
    "process": Criteria(pid=5),
    "terminal": Criteria(terminal="pts0"),
    "call": Criteria(syscall="openat", arch=0xC000003E),
    "failed": Criteria(success=False),
    "errno": Criteria(exit=-13),
    "exec": Criteria(types=("EXECVE",)),
    "login": Criteria(types=("USER_LOGIN",)),
    "file": Criteria(file="/etc/shadow"),
    "whole file": Criteria(file="/etc/shadow", whole=True),
    "path": Criteria(path="/etc/ssh"),
    "address": Criteria(remote="192.0.2.1"),
    "label": Criteria(context="unconfined"),
    "several": Criteria(exe="sshd", file="/etc/shadow", success=False),
    "condition": Criteria(where="exe LIKE '/usr/%'"),
}
LATELY = Span(1_800_000_000, 1_800_000_600)


def plan(url, criteria):
    """Give the lines of SQLite's plan."""
    with run_query(url, f"EXPLAIN QUERY PLAN {explained(url, criteria)}") as result:
        return [str(row[3]) for row in result]


@pytest.mark.parametrize("name", INDEXED)
def test_a_search_is_served_by_an_index(empty, name):
    """No usual search reads all calls or all paths; further records, which have none, are."""
    scanned = [
        re.match(r"SCAN (?!CONSTANT|\(subquery)(\S+)", line)
        for line in plan(empty, INDEXED[name])
        if "syscall_failed" not in line
    ]
    tables = Counter(each[1] for each in scanned if each and each[1] not in SMALL)
    # Of `records`, the parts that cannot have the type are not read: its name is looked at
    # first. The further records themselves have no index by type.
    parts = explained(empty, INDEXED[name]).count("FROM records")
    assert tables.keys() <= {"r", "f", "s", "p"}
    assert all(count <= parts for count in tables.values()), tables


@pytest.mark.parametrize("name", INDEXED)
def test_a_period_is_a_range_of_ids(empty, name):
    """With a period, calls, paths and further records are read in its range or by their ids."""
    criteria = INDEXED[name]
    asked = Criteria(**{f: getattr(criteria, f) for f in criteria.__slots__} | {"period": LATELY})
    for line in plan(empty, asked):
        scanned = re.match(r"SCAN (\S+)", line)
        assert not scanned or scanned[1] not in ("r", "p", "np", "s") or "syscall_failed" in line, (
            line
        )


@pytest.mark.one_database
@pytest.mark.parametrize("many", [False, True])
def test_a_part_of_few_names_and_of_many(url, monkeypatch, many):
    """The same events are found, whether each file is looked up or all uses are read."""
    monkeypatch.setattr(named_files, "FEW", 2 if many else 1000)
    log = "".join(opened(n, "/root", f"/usr/lib{n % 9}/x{n}") for n in range(1, 40))
    load(url, log + opened(50, "/root", "/etc/passwd") + opened(51, "/usr", "lib3/y"))
    assert serials(url, "-f", "lib3") == {3, 12, 21, 30, 39, 51}
    assert serials(url, "--path", "/usr/lib3") == {3, 12, 21, 30, 39, 51}
    assert serials(url, "-f", "/usr/l", "-a", "5") == {5}
    later = serials(url, "-f", "lib", "--since", f"@{SECOND + 1}")
    assert later == set()


@pytest.mark.parametrize("few", [0, 1000])
def test_names_below_a_folder_of_few_calls_and_of_many(url, monkeypatch, few):
    """The same events are found, whether each call is asked for its names or these come first."""
    monkeypatch.setattr(callers, "_COUNTED", {False: few + 1, True: few + 1})
    monkeypatch.setattr(named_files, "FEW", few)
    names = ("etc/x", "./x", "../x", "x", "/etc/x", "/root/x")
    folders = ("/", "/root", "/root/a", "/rooted")
    asked = [(folder, name) for folder in folders for name in names]
    load(url, "".join(opened(n, *each) for n, each in enumerate(asked, 1)))
    below = [("/root", "/root/a"), ("etc/x", "./x", "x")]
    wanted = {
        n
        for n, (folder, name) in enumerate(asked, 1)
        if name == "/root/x" or (folder in below[0] and name in below[1])
    }
    assert serials(url, "--path", "/root") == wanted


def test_a_file_without_a_name(url):
    """It is found by what the kernel writes, as ausearch finds it; a part of that is no name."""
    nameless = path(1, "x").replace('name="x"', "name=(null)")
    assert "name=(null)" in nameless
    load(url, call(1) + nameless + opened(2, "/root", "(null)") + opened(3, "/root", "/x"))
    assert serials(url, "-f", "(null)") == serials(url, "-f", "(null)", "-w") == {1, 2}
    assert serials(url, "-f", "null") == {2}


@pytest.mark.parametrize("few", [0, 1000])
def test_calls_of_few_callers_and_of_many(url, monkeypatch, few):
    """The same events are found, whether few callers have no such value or many."""
    monkeypatch.setattr(callers, "FEW", few)
    user = {"auid": 1000, "ses": 3}
    log = call(1, **user, key=None) + call(2, key=None) + call(3, **user) + call(4)
    log += call(5, key=None, exe='"/bin/no"') + call(6, **user, key='"a(null)b"')
    load(url, log + login(7))
    assert serials(url, "-ul", "unset") == serials(url, "--session", "-1") == {2, 4, 5}
    assert serials(url, "-ua", "unset") == {2, 4, 5}
    tables = explained(url, searching.options("-ua", "unset").criteria(url))
    assert url.startswith("sqlite") or "callers_0" in tables
    assert serials(url, "-ul", "unset", "-x", "/bin/no") == {5}
    assert serials(url, "-ul", "unset", "-k", "(null)") == {2, 5}
    assert serials(url, "-k", "(null)", "-w") == {1, 2, 5}
    assert serials(url, "-k", "(null)") == {1, 2, 5, 6}
    assert serials(url, "-k", "(null)", "--session", "-1", "-x", "/bin/no") == {5}
    assert serials(url, "-k", "files", "-ul", "unset") == {4}
    assert serials(url, "-ul", "unset", "--since", f"@{SECOND + 1}") == set()


@pytest.mark.parametrize("words", [("-sv", "yes"), ("-sv", "yes", "-k", "k"), ("-ul", "1000")])
def test_an_event_without_a_call_that_names_a_file(url, words):
    """It is found by the file and by what else is asked for, whichever is looked at first."""
    of = 'auid=1000 ses=3 op=updated_rules path="{}" key="{}" list=4 res={}'
    told = (("/etc/x", "k", 1), ("/etc/y", "k", 1), ("/etc/x", "no", 1), ("/etc/x", "k", 0))
    load(url, "".join(record("CONFIG_CHANGE", n, of.format(*each)) for n, each in enumerate(told)))
    wanted = {
        n
        for n, (path_, key, result) in enumerate(told)
        if path_ == "/etc/x"
        and (result or "-sv" not in words)
        and (key == "k" or "-k" not in words)
    }
    assert serials(url, "-f", "/etc/x", *words) == wanted
