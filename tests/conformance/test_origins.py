"""The source of a row: records of other logs are stored, but are no evidence for this host."""

from __future__ import annotations

import json
import random

import pytest
from fixtures import forms
from fixtures.logs import SECOND, Pipe, balanced, call, ledger, load, opening, path, record, rows
from fixtures.repeats import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from auditsvc.decode import DECODERS, make_decoder
from auditsvc.record.daemon import DaemonRecords
from auditsvc.record.line import mark_foreign, parse_line
from auditsvc.store import open_store


@pytest.fixture(autouse=True, params=list(DECODERS))
def decoder(request, monkeypatch):
    """Have the rows from each decoder."""
    monkeypatch.setattr(Pipe, "decoder", request.param)
    return request.param


FOREIGN_KINDS = ("file", "followed", "journal")
TAMPER = record("DAEMON_CONFIG", 3, "op=tamper what=rule_deleted detail=x pid=1 res=success")
COVERAGE = record("DAEMON_CONFIG", 4, "op=coverage pid=1 state=covered res=success")
LOST = record("DAEMON_ERR", 5, "op=lost kernel=7 spool=8 res=success")
OURS = TAMPER + COVERAGE + LOST


def told(url):
    """Give what the views say of this host, and the number of events."""
    count = ledger(url)
    return {
        "tamper": len(rows(url, "SELECT * FROM tamper")),
        "coverage": len(rows(url, "SELECT * FROM coverage")),
        "lost": (count.get("kernel_lost", 0), count.get("spool_lost", 0)),
        "events": len(rows(url, "SELECT * FROM events")),
    }


def origins(url):
    """Give serial, kind and source of all events, in order."""
    sql = """
        SELECT serial, kind, source FROM origins JOIN (
            SELECT event_id, serial FROM syscalls UNION ALL SELECT event_id, serial FROM events
        ) e USING (event_id) ORDER BY serial, event_id"""
    return [(row["serial"], row["kind"], row["source"]) for row in rows(url, sql)]


BELIEVED = {"tamper": 1, "coverage": 1, "lost": (7, 8), "events": 3}
KEPT = {"tamper": 0, "coverage": 0, "lost": (0, 0), "events": 3}


def test_our_own_spool_is_believed(url):
    """What the collector wrote is in the views and in the ledger."""
    load(url, OURS, kind="spool")
    assert told(url) == BELIEVED


@pytest.mark.parametrize("kind", FOREIGN_KINDS)
def test_no_other_log_speaks_for_this_host(url, kind):
    """The same lines in a log of any other kind are ordinary events."""
    load(url, OURS, kind=kind)
    assert told(url) == KEPT
    assert balanced(url)


@pytest.mark.one_database
def test_lines_of_another_node_or_program_in_our_spool_do_not(url):
    """Lines from standard input are in our spool, but were not written by the service."""
    for n, text in enumerate(OURS.splitlines()):
        marked = mark_foreign(text.encode()) + b"\n"
        load(url, marked, f"marked{n}", kind="spool")
    assert told(url) == KEPT
    load(url, LOST.replace("type=", "node=box type=", 1).replace(":5)", ":6)"), kind="spool")
    assert told(url)["lost"] == (0, 0)


@pytest.mark.parametrize("first", ["spool", "file"])
def test_our_copy_is_believed_whichever_comes_first(url, first):
    """An ingested copy of our log does not change what our spool has recorded."""
    for kind in ["spool", "file"] if first == "spool" else ["file", "spool"]:
        load(url, OURS + opening(9), kind=kind)
    assert told(url) == BELIEVED | {"lost": (7, 8)}
    assert {kind for _, kind, _ in origins(url)} == {"spool"}


@pytest.mark.one_database
def test_each_row_knows_its_source(url):
    """Events of three logs are mixed: each event has the log that it came from."""
    chance = random.Random(5)
    logs = {"spool": ("spool", "s"), "a": ("file", "a"), "b": ("followed", "b")}
    whose = {n: chance.choice(list(logs)) for n in range(200)}
    parts = [(name, n) for n, name in whose.items()]
    chance.shuffle(parts)
    for start in range(0, len(parts), 40):
        for name, (kind, source) in logs.items():
            ids = [n for who, n in parts[start : start + 40] if who == name]
            text = "".join(
                opening(n, second=SECOND + n // 7)
                if n % 3
                else record("USER_LOGIN", n, f"pid={n} uid=0 msg='op=x'", second=SECOND + n // 7)
                for n in ids
            )
            load(url, text, f"{source}{start}", kind=kind)
    found = origins(url)
    assert [(serial, kind) for serial, kind, _ in found] == [
        (n, logs[whose[n]][0]) for n in sorted(whose)
    ]
    assert all(source is None or source.startswith(logs[whose[n]][1]) for n, _, source in found)


@pytest.mark.one_database
def test_a_log_in_many_pieces_is_one_range(url):
    """A log that is followed needs one row, not one for each transaction."""
    text = "".join(opening(n, second=SECOND + n // 7) for n in range(60))
    load(url, text, batch=500)
    assert rows(url, "SELECT count(*) AS n FROM origin") == [{"n": 1}]
    load(url, opening(100, second=SECOND + 3), "own", kind="spool")
    assert rows(url, "SELECT count(*) AS n FROM origin") in ([{"n": 2}], [{"n": 1}])
    assert [kind for serial, kind, _ in origins(url) if serial == 100] == ["spool"]
    assert [kind for serial, kind, _ in origins(url) if serial != 100] == ["file"] * 60


@pytest.mark.one_database
def test_a_spool_alone_has_no_ranges(url):
    """A host that only collects needs no row."""
    load(url, "".join(opening(n) for n in range(50)), kind="spool", batch=500)
    assert rows(url, "SELECT count(*) AS n FROM origin") == [{"n": 0}]


def test_the_view_is_asked_by_its_key(url):
    """Asking for one event, or for what came from elsewhere, looks ranges up by their begin."""
    load(url, "".join(opening(n) for n in range(50)))
    there = rows(url, "SELECT max(event_id) AS id FROM syscalls")[0]["id"]
    sql = f"SELECT * FROM origins WHERE event_id = {there}"
    with open_store(url) as store, store.engine.connect() as connection:
        if store.engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET enable_seqscan = off")
            plan = connection.exec_driver_sql(f"EXPLAIN {sql}").all()
            assert "Seq Scan on syscall" not in str(plan)
            assert "origin_pkey" in str(plan)
        else:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}").all()
            assert "SCAN e" not in str(plan)
            assert "SCAN o" not in str(plan)


# --- copies -------------------------------------------------------------------------------

NC = (
    call(7, nr=59, items=1),
    record("EXECVE", 7, 'argc=4 a0="nc" a1="-e" a2="/bin/sh"'),
    path(7, "/bin/nc"),
    record("PROCTITLE", 7, "proctitle=6E63"),
)


@pytest.mark.one_database
def test_a_copy_does_not_replace_arguments(url):
    """Another log cannot replace the arguments of an event whose arguments are incomplete."""
    load(url, "".join(NC), kind="spool")
    (ours,) = rows(url, "SELECT event_id, argv FROM syscalls")
    forged = list(NC)
    forged[1] = record("EXECVE", 7, 'argc=2 a0="nc" a1="-h"')
    load(url, "".join(forged), "other")
    load(url, forged[1], "record")
    load(url, forged[1] + forged[2] + forged[3], "orphans")
    assert ours["argv"] == ["nc", "-e", "/bin/sh"]
    assert ours in rows(url, "SELECT event_id, argv FROM syscalls")


def test_a_copy_completes_arguments(url):
    """What was missing is added."""
    load(url, "".join(NC), kind="spool")
    whole = list(NC)
    whole[1] = record("EXECVE", 7, 'argc=4 a0="nc" a1="-e" a2="/bin/sh" a3="x"')
    load(url, "".join(whole), "other")
    assert rows(url, "SELECT argv, state FROM syscalls") == [
        {"argv": ["nc", "-e", "/bin/sh", "x"], "state": "complete"}
    ]


LINES = (
    "call",
    "other call",
    'EXECVE argc=3 a0="nc" a1="-e" a2="/bin/sh"',
    'EXECVE argc=2 a0="nc" a1="-h"',
    'EXECVE argc=3 a0="nc" a1="-e"',
    'CWD cwd="/a"',
    'CWD cwd="/b"',
    "PROCTITLE proctitle=6E63",
    "PROCTITLE proctitle=6563",
    'PATH item=0 name="/x" inode=1 nametype=NORMAL',
    'PATH item=0 name="/y" inode=2 nametype=NORMAL',
    'PATH item=1 name="/z" nametype=NORMAL',
    "SOCKADDR saddr=020000507F0000010000000000000000",
    "SOCKADDR saddr=020000517F0000010000000000000000",
    'AVC avc:  denied  { read } for pid=100 comm="cat"',
    'AVC avc:  denied  { write } for pid=100 comm="cat"',
    "CONFIG_CHANGE op=add_rule auid=1 ses=2 res=1",
    "CONFIG_CHANGE op=add_rule auid=3 ses=2 res=1",
    "USER_LOGIN pid=1 uid=0 auid=1 ses=1 msg='op=x res=failed'",
    "USER_LOGIN pid=1 uid=0 auid=1 ses=1 msg='op=x res=success'",
)


def lines_of(chosen):
    """Give the lines of a copy; all have one stamp."""
    made = []
    for text in chosen:
        if text.endswith("call"):
            made.append(call(7, nr=59, items=2, a0="0" if text == "call" else "1"))
        else:
            kind, body = text.split(" ", 1)
            made.append(record(kind, 7, body))
    return "".join(made)


def stored(url):
    """Give all that the store says of events, value for value."""
    said = set()
    for row in rows(url, "SELECT * FROM syscalls"):
        fixed = {k: v for k, v in row.items() if k not in ("event_id", "state", "argv", "time")}
        said |= {("call", row["event_id"], k, str(v)) for k, v in fixed.items() if v is not None}
        said.add(("call", row["event_id"], "argv", tuple(row["argv"] or ())))
    for row in rows(url, "SELECT * FROM paths"):
        said.add(("path", row["event_id"], row["item"], row["name"], row["inode"]))
    for row in rows(url, "SELECT * FROM sockaddrs"):
        said.add(("address", row["event_id"], row["port"]))
    for row in rows(url, "SELECT event_id, type, fields FROM records"):
        said.add(("record", row["event_id"], row["type"], json.dumps(row["fields"])))
    for row in rows(url, "SELECT event_id, type, fields FROM events"):
        said.add(("record", row["event_id"], row["type"], json.dumps(row["fields"])))
    return said


def is_among(part, whole):
    """Whether the values of a list are in another, in their order."""
    rest = iter(whole)
    return all(any(value == other for other in rest) for value in part)


def still_says(one, after):
    """Whether a value is still stored: as it was, or in the column that it belongs to."""
    if one in after:
        return True
    if one[0] == "call" and one[2] == "argv":
        lists = [other[3] for other in after if other[:3] == one[:3]]
        return any(is_among(one[3], other) for other in lists)
    if one[0] == "record":  # of an orphan, whose call came
        kind, event_id = one[2], one[1]
        columns = {"CWD": "cwd", "PROCTITLE": "proctitle", "EXECVE": "argv"}
        if kind in columns:
            values = [other[3] for other in after if other[:3] == ("call", event_id, columns[kind])]
            return any(value and _said(one[3], value) for value in values)
        if kind in ("PATH", "SOCKADDR"):
            table = "path" if kind == "PATH" else "address"
            return any(
                _said(one[3], str(each[3:] or each[2])) for each in after if each[0] == table
            )
    return False


def _said(fields, value):
    words = value if isinstance(value, tuple) else (value,)
    names = json.loads(fields)
    if "name" in names:
        return names["name"] in str(value)
    if "saddr" in names:
        return str(int(names["saddr"][4:8], 16)) in str(value)
    if "argc" in names:
        given = [names[f"a{n}"] for n in range(5) if f"a{n}" in names]
        return is_among(given, words)
    return any(str(each) == value for each in names.values())


COPIES = st.lists(st.sampled_from(LINES), min_size=1, max_size=8)


@examples(4, long=2000, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(COPIES, min_size=2, max_size=3))
def test_what_was_stored_first_stays(tmp_path_factory, made, copies):
    """Of any copies of an event, in any order, none takes away or changes what was there."""
    target = tmp_path_factory.mktemp("copies") / "store.db"
    target.write_bytes(made.read_bytes())
    url = f"sqlite:///{target}"
    before = set()
    for n, copy in enumerate(copies):
        load(url, lines_of(copy), f"log{n}", kind="spool" if n == 0 else "file")
        after = stored(url)
        for one in before:
            assert still_says(one, after), (one, copies)
        before = after
    assert balanced(url)
    target.unlink()


# --- the kernel's log ---------------------------------------------------------------------


def printk(lines, number):
    """Write lines as the kernel prints them."""
    return "".join(
        f"[ 1.2] audit: type={number} {line.split('msg=', 1)[1]}\n" for line in lines.splitlines()
    )


def with_trust(monkeypatch, *, trust):
    """Have decoders made with this setting."""

    def make(name, **given):
        return make_decoder(name, trust_kernel_log=trust, **given)

    monkeypatch.setattr("fixtures.logs.make_decoder", make)


@pytest.mark.parametrize("trust", [False, True])
def test_a_kernel_log_adds_to_our_own_events_if_it_is_trusted(url, monkeypatch, trust):
    """Anybody can write `audit: type=...` to a syslog file, so it completes no event of ours."""
    load(url, call(6, items=1), "own", kind="spool")
    with_trust(monkeypatch, trust=trust)
    load(url, printk(path(6, "/forged"), 1302), "syslog")
    (own,) = rows(url, "SELECT event_id FROM syscalls")
    found = rows(url, "SELECT event_id, name FROM paths")
    assert found == ([own | {"name": "/forged"}] if trust else [])
    # It is kept all the same, as an event of its source.
    kinds = sorted(kind for _, kind, _ in origins(url))
    assert kinds == (["spool"] if trust else ["file", "spool"])
    load(url, printk(path(6, "/forged"), 1302), "again")
    assert sorted(kind for _, kind, _ in origins(url)) == kinds
    assert balanced(url)


@pytest.mark.one_database
def test_no_form_of_a_relayed_line_adds_to_our_own_events(url):
    """A log that another program wrote, whatever stands before its lines, a header too."""
    load(url, call(6, items=1), "own", kind="spool")
    forged = path(6, "/forged")
    _, _, body = forged.strip().partition("): ")
    ms = forged.partition(".")[2][:3]
    copies = [each + forged for each in forms.RELAYED]
    copies += [forms.printed(6, each, body, 1302, ms) for each in forms.PRINTK if each]
    load(url, "".join(copies), "syslog")
    assert rows(url, "SELECT name FROM paths JOIN syscalls USING (event_id)") == []
    assert rows(url, "SELECT count(*) AS n FROM syscalls") == [{"n": 1}]
    assert sorted(kind for _, kind, _ in origins(url)) == ["file", "spool"]


def test_a_kernel_log_is_read_and_never_speaks_for_the_host(url):
    """All forms are records; a DAEMON_ERR there is an event like any other, in a spool too."""
    load(url, printk(LOST, 1209), "syslog")
    load(url, printk(LOST.replace(":5)", ":6)"), 1209), "spool", kind="spool")
    assert told(url) == KEPT | {"events": 2}


# --- lines that are too long --------------------------------------------------------------

MIB = 1 << 20


@pytest.mark.parametrize("piece", [1 << 16, 999_983, 8 << 20])
@pytest.mark.parametrize("extra", [0, 1, 7, MIB - 1, MIB, 2 * MIB])
def test_the_rest_of_a_long_line_is_no_record(decoder, piece, extra):
    """What stands behind the first MiB of a line begins no record, wherever input is cut."""
    head = record("USER_CMD", 1, "pid=1 cmd=").rstrip("\n").encode()
    head += b"x" * (MIB - len(head))
    data = head + b"y" * extra + TAMPER.encode() + opening(9).encode()
    machine = make_decoder(decoder, secret=b"s", host="h")
    counts, raw, types = {}, [], []
    for start in range(0, len(data), piece):
        machine.feed(data[start : start + piece], 0.0)
        again = make_decoder(decoder, secret=b"s", host="h")
        again.restore(machine.pending(), 0.0)
        batch = machine.take()
        _add(batch, counts, raw, types)
        machine = again
    machine.finish()
    _add(machine.take(), counts, raw, types)
    assert types == [1123]  # USER_CMD, and the call beside it
    assert b"".join(line for line, _ in raw) == b"y" * extra + TAMPER.encode().rstrip(b"\n")
    assert {why for _, why in raw} == {"rest of a line of more than 1 MiB"}
    assert counts["received"] == counts["stored"] + counts["end"] + counts["raw"]


def _add(batch, counts, raw, types):
    for cause, count in batch.counts.items():
        counts[cause] = counts.get(cause, 0) + count
    raw += [(line, why) for _, line, why in batch.raw]
    types += [row[4] for row in batch.facts.get("event", ())]


# --- standard input -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    ["op=lost kernel=1", 'op=lost kernel="', "op=lost msg='a", "op=lost a={ b", "op=lost FOREIGN="],
)
def test_the_mark_of_a_line_is_read_whatever_stands_before_it(decoder, body):
    """No record's body hides the mark of a line from standard input."""
    machine = make_decoder(decoder, secret=b"s", host="h")
    machine.feed(mark_foreign(record("DAEMON_ERR", 1, body).rstrip().encode()) + b"\n", 0.0)
    batch = machine.take()
    (fields,) = [row[1] for row in batch.dimensions["text"] if "op" in row[1]]
    assert '"FOREIGN"' in fields
    assert batch.counts["kernel_lost"] == 0


def test_a_mark_keeps_the_line():
    """The mark is added, and nothing else changes, in an escaped line too."""
    line = DaemonRecords().line("DAEMON_ERR", "op=x a=\n").rstrip(b"\n")
    found = parse_line(mark_foreign(line))
    assert found.body == parse_line(line).body + b"\x1dFOREIGN=1"
