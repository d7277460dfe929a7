"""`auditsvc tree`: the trees of a host whose processes are known, and how they are drawn."""

from __future__ import annotations

import json
import os
import random

import pytest
from fixtures.commands import run
from fixtures.logs import SECOND, call, load, record, rows
from fixtures.process_model import CLONE, EXECVE, EXIT_GROUP, READ, Host

from auditsvc.errors import QueryError
from auditsvc.processes.drawing import as_values, draw
from auditsvc.processes.report import Asked, find_trees
from auditsvc.store.read.time_span import ALL, Span

SHELL = {"pid": 100, "ppid": 1, "exe": '"/bin/sh"', "ses": 3, "auid": 1000}
LS = {"pid": 200, "ppid": 100, "exe": '"/bin/ls"', "ses": 3, "auid": 1000, "uid": 0}
LOG = "".join(
    (
        call(1, nr=EXECVE, ms=50, exit=0, **SHELL),
        record("EXECVE", 1, 'argc=2 a0="sh" a1="-l"', ms=50),
        call(2, nr=CLONE, ms=100, exit=200, a0="1200011", **SHELL),
        call(3, nr=EXECVE, ms=104, exit=0, **LS),
        record("EXECVE", 3, "argc=2 a0=6C73 a1=1B5D303B780761206221", ms=104),
        call(4, nr=EXIT_GROUP, ms=200, success=None, a0="102", **LS),
        call(5, nr=CLONE, ms=300, exit=201, a0="1200011", **SHELL),
        call(6, nr=READ, ms=304, **SHELL | {"pid": 201, "ppid": 100}),
        record("ANOM_ABEND", 7, "auid=1000 uid=0 gid=0 ses=3 pid=201 comm=x sig=11 res=1", ms=500),
    )
)


def users(_, uid):
    """Give a name to one user."""
    return {1000: "alice", 0: "ro\x1bot"}.get(uid)


@pytest.fixture(scope="module")
def small(common_url):
    """Give a store with a shell and two children."""
    load(common_url, LOG)
    return common_url


def trees(url, period=ALL, *, depth=0, limit=0, **asked):
    """Give the trees that are asked for."""
    return find_trees(url, Asked(period, **asked), depth=depth, limit=limit)


def test_it_is_drawn_with_time_user_and_outcome(small):
    """Hidden characters are escaped; what is inferred is marked."""
    lines = [line.split("  ") for line in draw(trees(small, pid=100), users)]
    told = [[part.strip() for part in line if part.strip()] for line in lines]
    assert told == [
        ["2025-06-15 15:06:40.050", "alice", "~sh[100] sh -l"],
        [
            "2025-06-15 15:06:40.100",
            "alice as ro\\x1bot",
            "|- ls[200] ls '\\x1b]0;x\\x07a b!'",
            "exited 2, 100 ms",
        ],
        ["2025-06-15 15:06:40.300", "alice", "`- sh[201]", "killed by SIGSEGV, 200 ms"],
    ]


def test_names_are_those_of_then(url):
    """What the service recorded comes before what this host says now."""
    body = 'op=name kind=user id=1000 acct="carol" auid=0 pid=1 uid=0 ses=0 res=success'
    load(url, LOG + record("DAEMON_CONFIG", 99, body), kind="spool")
    first, *_ = draw(trees(url, pid=100), users)
    assert first.split("  ")[1] == "carol"


@pytest.mark.parametrize("what", ["pid", "event", "stamp"])
def test_a_process_is_named_by_its_pid_or_by_an_event(small, what):
    """Its ancestors come first."""
    (event,) = rows(small, "SELECT event_id FROM syscalls WHERE serial = 3")
    asked = {"pid": 200, "event": event["event_id"], "stamp": (SECOND, 3)}
    (tree,) = trees(small, **{what: asked[what]})
    assert [life.begun.pid for life in tree.ancestors] == [100]
    assert tree.root.life.begun.pid == 200
    assert tree.root.children == ()


def test_a_session(small):
    """All of it hangs on the process that nobody in it has made."""
    (tree,) = trees(small, session=3)
    assert (tree.root.life.begun.pid, len(tree.root.children)) == (100, 2)
    with pytest.raises(QueryError, match="no process of session 4"):
        trees(small, session=4)


def test_a_period_leaves_out_what_was_before_it(url):
    """But not what something later descends from."""
    hour = 3600
    later = {"second": SECOND + hour}
    load(
        url,
        LOG
        + call(8, nr=CLONE, exit=300, a0="11", **later, **SHELL)
        + call(9, ms=130, **later, **SHELL | {"pid": 300, "ppid": 100}),
    )
    (tree,) = trees(url, Span(SECOND + hour - 1, ALL.high), pid=100)
    assert [child.life.begun.pid for child in tree.root.children] == [300]
    (tree,) = trees(url, Span(0, SECOND + hour - 1), pid=100)
    assert [child.life.begun.pid for child in tree.root.children] == [200, 201]
    with pytest.raises(QueryError, match="no process of pid 300"):
        trees(url, Span(0, SECOND + hour - 1), pid=300)


def test_generations_and_processes_are_limited(small):
    """What is not shown is counted."""
    (tree,) = trees(small, pid=100, depth=0, limit=2)
    assert (len(tree.root.children), tree.root.more) == (1, 1)
    assert any("(1 process more)" in line for line in draw([tree], users))


@pytest.mark.parametrize("seed", range(2))
def test_all_descendants_of_a_process(url, seed):
    """Of a host whose processes are known: each below the one that made it."""
    made = Host(random.Random(seed))
    for _ in range(200):
        made.step()
    load(url, "".join(made.events))
    (tree,) = trees(url, pid=250)
    shown = {}
    waiting = [(tree.root, None)]
    while waiting:
        node, parent = waiting.pop()
        shown[node.life.begun.pid, node.life.begun.at] = parent and parent.life.begun[1:3]
        waiting += [(child, node) for child in node.children]
    assert shown == {
        (life.pid, life.began): None
        if life.first_parent is made.init
        else (life.first_parent.pid, life.first_parent.began)
        for life in made.lives
    }
    values = as_values(tree)["processes"]
    assert values[0]["pid"] == 250
    assert len(values) == len(made.lives)


def test_a_chain_deeper_than_pythons_stack(url):
    """Each process makes one more."""
    log = []
    for n in range(1500):
        log += [
            call(2 * n, nr=CLONE, pid=1000 + n, ppid=999 + n, exit=1001 + n, a0="11", ms=n % 1000,
                 second=SECOND + n // 1000),
        ]  # fmt: skip
    load(url, "".join(log))
    (tree,) = trees(url, pid=1000)
    assert len(list(draw([tree], users))) == 1500


@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        (["100"], 0, ""),
        ([], 2, "give a pid, an event, or --session N"),
        (["100", "--session", "3"], 2, "give a pid, an event, or --session N"),
        (["sh"], 2, "'sh' is neither a pid nor an event"),
        (["4711"], 1, "no process of pid 4711 is in the store"),
        (["8589934591.999:4294967295"], 1, "no process of that event is in the store"),
        (["8589934592.000:1"], 2, "is neither a pid nor an event"),
        (["100", "--host", "other"], 1, "no process of pid 100"),
        (["100", "--since", "never"], 2, "'never' is not a time"),
        (["100", "--since", "2025-06-16"], 0, ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_the_command(tmp_path_factory, words, status, error):
    """JSON for programs; each error is one line."""
    url = f"sqlite:///{tmp_path_factory.getbasetemp()}/tree.db"
    load(url, LOG)
    done = run("tree", *words, environment=os.environ | {"AUDITSVC_STORE": url}, text=True)
    assert done.returncode == status
    assert error in done.stderr
    assert done.stderr.count("\n") == bool(error)
    if not status:
        assert json.loads(done.stdout)[0]["processes"][0]["pid"] == 100
