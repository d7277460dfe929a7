"""A raw copy of a log and auditd's ENRICHED copy of it are one log, on every store.

What is compared is all that users see: with the names left out it is what the raw log alone
gives, and with them what the enriched log alone gives.
"""

from __future__ import annotations

import random
from contextlib import ExitStack

import pytest
from fixtures.enriched import RECORDED, enriched, raw
from fixtures.logs import (
    Pipe,
    balanced,
    call,
    end,
    everything,
    ledger,
    load,
    login,
    opening,
    path,
    record,
    rows,
)
from fixtures.repeats import examples
from fixtures.rotated import EVENTS, ingest, some_lines
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from auditsvc.decode import DECODERS

SADDR = "saddr=020000507F0000010000000000000000"
ODD = '"a\xff"'
KINDS = {
    "open": opening(1) + end(1),
    "exec": call(2, nr=59, items=2, auid=1001)
    + record("EXECVE", 2, 'argc=2 a0="ls" a1="-l"')
    + record("CWD", 2, 'cwd="/"')
    + path(2, "/bin/ls")
    + path(2, "/lib/ld.so", item=1)
    + end(2),
    "connect": call(3, nr=42, items=0) + record("SOCKADDR", 3, SADDR) + end(3),
    "kill": call(4, nr=62, items=0)
    + record("OBJ_PID", 4, "opid=1 oauid=1000 ouid=0 oses=1 ocomm=1")
    + record("OBJ_PID", 4, "opid=2 oauid=1001 ouid=0 oses=1 ocomm=2")
    + end(4),
    "denied": record("AVC", 5, 'apparmor="DENIED" operation="open" pid=1 comm="x" fsuid=0 ouid=0')
    + call(5, items=0)
    + end(5),
    "login": login(6),
    "account": record("ADD_USER", 7, "pid=1 uid=0 auid=1000 ses=1 msg='op=add id=1001 res=1'"),
    "session": record("LOGIN", 8, "pid=1 uid=0 old-auid=4294967295 auid=1000 old-ses=1 ses=2"),
    "configuration": record("CONFIG_CHANGE", 9, "auid=1000 ses=1 op=remove_rule key=1 list=4"),
    "orphans": path(10, "/orphan") + path(10, "/other", item=1) + end(10),
    "no exit": call(11, items=0, success=None) + end(11),
    "ring": record("URINGOP", 12, "uring_op=18 items=1 pid=1 uid=1000 gid=0 euid=0 key=(null)")
    + path(12, "/ring")
    + end(12),
    "other bytes": call(13, items=1, comm="61FF", rest=" extra=1 odd=\xff")
    + record("PATH", 13, 'item=0 name="/a" ouid=0 ogid=0 nametype=NORMAL odd=\xff')
    + record("OBJ_PID", 13, "opid=1 oauid=1 ocomm=61FF odd=\xff")
    + end(13),
    "another node": call(14, items=1, node="node=web ") + path(14, "/b", node="node=web "),
    "unreadable": record("SYSCALL", 15, "arch=c000003e syscall=2 uid=1000 auid=1001 items=0"),
    "hostile": record("USER_CMD", 16, "pid=1 uid=0 msg='op=x UID=\"mallory\" ID=7 res=success'"),
}
"""An event of each kind that has names, with a serial of its own."""

COPIES = ["raw first", "enriched first"]


@pytest.fixture(autouse=True, params=list(DECODERS))
def decoder(request, monkeypatch):
    """Have the rows from each decoder."""
    monkeypatch.setattr(Pipe, "decoder", request.param)
    monkeypatch.setenv("AUDITSVC_DECODER", request.param)


def bytes_of(*texts):
    """Give text as bytes, a character above 0x7f as one."""
    return b"".join(text.encode("latin-1") for text in texts)


ALL = bytes_of(*KINDS.values())


def without_names(fields):
    """Give a record's fields without the names that auditd adds."""
    kept = {}
    for name, value in fields.items():
        if name.isupper() and (name.lower() in fields or name in ("UID", "AUID", "GID")):
            continue
        kept[name] = value
    return kept


def plain(seen):
    """Give what users see, without names and the records that have nothing else."""
    result = dict(seen)
    result["events"] = [row | {"fields": without_names(row["fields"])} for row in seen["events"]]
    columns = {"ouid", "ogid", "auid", "uid", "gid", "euid", "suid", "fsuid", "egid", "sgid"}
    records = []
    for row in seen["records"]:
        fields = {n: v for n, v in row["fields"].items() if n.lower() not in columns or n.islower()}
        fields = without_names(fields)
        fields = {n: v for n, v in fields.items() if n not in ("FSGID", "OAUID", "OUID", "SADDR")}
        if fields or row["type"] != "SYSCALL":
            records.append(row | {"fields": fields})
    result["records"] = records
    return result


def names(url):
    """Give the names beside the ids of calls and events."""
    wanted = "serial, auid_name, uid_name"
    return rows(url, f"SELECT {wanted}, gid_name, euid_name FROM syscalls ORDER BY serial") + rows(
        url, f"SELECT {wanted} FROM events ORDER BY serial, type"
    )


@pytest.mark.one_database
@pytest.mark.parametrize("order", COPIES)
def test_a_raw_and_an_enriched_copy_are_one_log(url, order, tmp_path):
    """Of any kind of event: each is stored once, and has the names."""
    del tmp_path
    copies = [ALL, enriched(ALL)] if order == "raw first" else [enriched(ALL), ALL]
    first, second = [load(url, log, f"log{n}") for n, log in enumerate(copies)]
    assert (second[0].events, second[0].duplicates) == (0, ledger(url)["stored"])
    assert first[0].events == len(KINDS)
    assert balanced(url)
    seen = everything(url)
    found = {row["serial"]: row for row in names(url)}
    assert found[1] == {
        "serial": 1, "auid_name": None, "uid_name": "ann", "gid_name": "root", "euid_name": "root"
    }  # fmt: skip
    assert found[6] == {"serial": 6, "auid_name": "ann", "uid_name": "root"}
    assert any(row["fields"].get("OUID") == "root" for row in seen["records"])
    for n, log in enumerate(copies):
        (again,) = load(url, log, f"again{n}")
        assert again.events == 0
    assert everything(url) == seen


@pytest.mark.parametrize("order", COPIES)
def test_the_two_copies_end_as_one_of_them_alone(stores, order):
    """Without the names as the raw one, with them as the enriched one."""
    alone, with_names, both = stores.url(), stores.url(), stores.url()
    load(alone, ALL)
    load(with_names, enriched(ALL))
    copies = [ALL, enriched(ALL)] if order == "raw first" else [enriched(ALL), ALL]
    for n, log in enumerate(copies):
        load(both, log, f"log{n}")
    assert everything(both) == everything(with_names)
    assert plain(everything(both)) == plain(everything(alone))
    assert names(both) == names(with_names)


@pytest.mark.parametrize("order", COPIES)
def test_what_auditd_really_writes(url, order):
    """Its own raw log and its ENRICHED log of the same events."""
    copies = [raw(RECORDED), RECORDED]
    if order == "enriched first":
        copies.reverse()
    results = [load(url, log, f"log{n}")[0] for n, log in enumerate(copies)]
    assert [result.events for result in results] == [14, 0]
    assert balanced(url)
    (row,) = rows(url, "SELECT * FROM syscalls WHERE syscall = 'connect'")
    assert (row["uid_name"], row["auid_name"]) == ("root", "unknown(2000999001)")
    assert len(rows(url, "SELECT * FROM sockaddrs")) == 2
    (event,) = rows(url, "SELECT fields FROM events WHERE type = 'ADD_USER'")
    assert event["fields"]["ID"] == "ann"


@pytest.mark.parametrize("separator", [b"#035", b"^]", b"\\x1d", b""], ids=ascii)
def test_copies_that_a_relay_passed_on(url, separator):
    """Rsyslog writes auditd's separator in another way, and some programs drop it."""
    named = RECORDED.replace(b"\x1d", separator)
    if not separator:  # `key=(null)AUID="x"`: behind a quote nothing is lost that could be told
        named = b"".join(each for each in named.splitlines(True) if b"'UID" not in each)
    load(url, raw(RECORDED))
    (result,) = load(url, named, "relayed")
    assert result.events == 0


@pytest.mark.one_database
def test_two_events_that_differ_in_more_than_names_are_both_kept(url):
    """A name counts beside its field alone; else it is what the record says."""
    texts = [
        record("USER_CMD", 1, f"pid=1 msg='op=x {words}'")
        for words in ("", "FOO=1", "UID=7", "UID=8")
    ]
    for n, text in enumerate([*texts, *texts]):
        load(url, text, f"log{n}")
    assert len(rows(url, "SELECT * FROM events")) == 4
    load(url, call(2, uid=1000, rest='\x1dUID="ann"', items=0) + end(2), "one")
    load(url, call(2, uid=1001, rest='\x1dUID="ann"', items=0) + end(2), "two")
    assert len(rows(url, "SELECT * FROM syscalls")) == 2


def test_the_first_names_stay(url):
    """Of two machines that name one user differently."""
    one, two = (record("USER_CMD", 1, f"pid=1 uid=0 msg='op=x'\x1dUID=\"{n}\"") for n in "ab")
    for n, text in enumerate((one, two, one)):
        load(url, text, f"log{n}")
    (row,) = rows(url, "SELECT uid_name FROM events")
    assert row["uid_name"] == "a"


@st.composite
def copies(draw):
    """Draw a log, and copies of parts of it, raw or with some of the names, in some order."""
    if draw(st.booleans()):
        log = some_lines(draw)
    else:
        kinds = [each.encode("latin-1") for each in KINDS.values()] + EVENTS[-4:]
        log = b"".join(draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=5, unique=True)))
    lines = log.splitlines(keepends=True)
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(0, len(lines) - 1))
        last = draw(st.integers(first + 1, len(lines)))
        part = b"".join(lines[first:last])
        parts.append(enriched(part, most=draw(st.integers(1, 20))) if draw(st.booleans()) else part)
    return log, draw(st.permutations([log, enriched(log), *parts]))


def found_after(url, parts):
    """Give what users see after these were loaded one by one."""
    for n, part in enumerate(parts):
        load(url, part, f"log{n}")
        assert balanced(url)
    return everything(url)


def check(make, log, parts):
    """Check that copies end as their raw form does plus names: as their enriched form.

    Every record has its names at last, as one of the parts is the whole enriched log.
    """
    found = found_after(make(), parts)
    assert plain(found) == plain(found_after(make(), [raw(part) for part in parts]))
    assert found == found_after(make(), [enriched(raw(part)) for part in parts])
    assert len(found["syscalls"]) + len(found["events"]) <= log.count(b"\n")


@examples(2, long=4000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(copies())
def test_any_copies_in_any_order(stores, drawn):
    """Whole and cut, raw and enriched: an event is the same whatever names its copies have."""
    check(stores.url, *drawn)


@pytest.mark.postgres
@examples(1, long=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(copies())
def test_any_copies_on_postgres(made_in_postgres, postgres_server, drawn):
    """The same on the other database."""
    with ExitStack() as databases:
        check(lambda: databases.enter_context(postgres_server.database(made_in_postgres)), *drawn)


@pytest.mark.parametrize("calls", ["one", "several"])
@pytest.mark.parametrize("order", COPIES)
def test_files_of_both_formats(stores, tmp_path, order, calls):
    """Two logs by name, in one call or in two."""
    log = ALL
    files = [tmp_path / "raw.log", tmp_path / "named.log"]
    files[0].write_bytes(log)
    files[1].write_bytes(enriched(log))
    if order == "enriched first":
        files.reverse()
    url, with_names = stores.url(), stores.url()
    for group in [files] if calls == "one" else [[each] for each in files]:
        ingest(url, *group)
    load(with_names, enriched(log))
    assert everything(url) == everything(with_names)
    assert balanced(url)


def test_a_log_of_one_event_in_both_formats(stores, tmp_path):
    """The end of one file is open where the other begins."""
    chance = random.Random(5)
    for name in ("open", "session", "configuration", "orphans"):
        log = bytes_of(KINDS[name])
        files = [tmp_path / f"raw {name}.log", tmp_path / f"named {name}.log"]
        files[0].write_bytes(log)
        files[1].write_bytes(enriched(log))
        chance.shuffle(files)
        url, with_names = stores.url(), stores.url()
        ingest(url, *files)
        load(with_names, enriched(log))
        assert everything(url) == everything(with_names), name
