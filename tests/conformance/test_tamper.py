"""The view `tamper`, on both databases and with both decoders: what the guard's lines say."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from fixtures import logs
from fixtures.logs import SECOND, call, opening, record, rows

from auditsvc.decode import DECODERS, make_decoder
from auditsvc.guard.config_change import ActorInfo, ConfigChange
from auditsvc.guard.finding import GuardFinding
from auditsvc.record.daemon import Actor, DaemonRecords
from auditsvc.rule import Condition, parse, printing
from auditsvc.rule.fields import EQUAL, KEY
from auditsvc.store import open_store

load = partial(logs.load, kind="spool")

RULE = parse("-a always,exit -S all -F auid=1000")[0].command.rule
WHO = ActorInfo(Actor(4321, 0, 1000, 3), b"auditctl", b"/usr/sbin/auditctl", "call")
CHANGE = ConfigChange(f"{SECOND}.123:6", SECOND, "remove_rule")
# Every text is then read, and the view's conditions on it are asked first.
SCAN_ALL = (
    "DO $$ BEGIN"
    " EXECUTE format('ALTER DATABASE %%I SET enable_nestloop = off', current_database());"
    " EXECUTE format('ALTER DATABASE %%I SET enable_mergejoin = off', current_database());"
    " END $$"
)


def line(finding):
    """Give the line of a finding."""
    return DaemonRecords().line("DAEMON_CONFIG", finding.fields()).decode()


def tamper(url):
    """Give the rows of the view, without what each run has anew."""
    return rows(
        url,
        "SELECT what, detail, restored, auid, pid, exe, comm, ses, evidence, known_by"
        " FROM tamper ORDER BY event_id",
    )


def test_a_finding_is_a_row_that_leads_to_its_call(url):
    """Every column, and the event id under which `syscalls` has the call that did it."""
    finding = GuardFinding(
        "rule_deleted", printing.text(RULE), RULE, restored="yes", who=WHO, change=CHANGE
    )
    load(url, call(6, nr=44) + line(finding))
    assert tamper(url) == [
        {
            "what": "rule_deleted",
            "detail": "-a always,exit -S all -F auid=1000",
            "restored": "yes",
            "auid": 1000,
            "pid": 4321,
            "exe": "/usr/sbin/auditctl",
            "comm": "auditctl",
            "ses": 3,
            "evidence": f"{SECOND}.123:6",
            "known_by": "call",
        }
    ]
    joined = "FROM tamper t JOIN syscalls s ON s.event_id = t.evidence_event_id"
    assert rows(url, f"SELECT s.syscall, s.host = t.host AS one {joined}") in (
        [{"syscall": "sendto", "one": True}],
        [{"syscall": "sendto", "one": 1}],
    )


def test_what_is_not_known_is_null(url):
    """A finding of which nothing tells who it was."""
    load(url, line(GuardFinding("given_up", "the kernel had stopped sending records to us")))
    (row,) = tamper(url)
    assert row == dict.fromkeys(row) | {
        "what": "given_up",
        "detail": "the kernel had stopped sending records to us",
        "restored": "no",
    }
    assert rows(url, "SELECT evidence_event_id FROM tamper") == [{"evidence_event_id": None}]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    "hostile",
    [
        b"/x restored=yes evidence=1.000:1 pid=1",
        b"a\" restored=yes msg='what=none pid=9'",
        b"\n\ntype=DAEMON_CONFIG msg=audit(1.000:1): op=tamper what=none",
        b"\x1d\\x20\xff",
    ],
)
def test_hostile_texts_stay_in_their_columns(url, monkeypatch, decoder, hostile):
    """Programs and rules that look like fields make no row, no column and no value of their own."""
    monkeypatch.setattr(logs, "make_decoder", lambda _, **given: make_decoder(decoder, **given))
    key = Condition(KEY, EQUAL, hostile.decode(errors="surrogateescape"))
    rule = replace(RULE, conditions=(*RULE.conditions, key))
    who = ActorInfo(WHO.actor, hostile, hostile, "call")
    load(url, line(GuardFinding("rule_deleted", printing.text(rule), rule, who=who, change=CHANGE)))
    (row,) = tamper(url)
    assert row["exe"] == row["comm"]
    shown = hostile.decode(errors="replace").replace("\ufffd", "\\xFF")
    assert row["exe"] == shown
    assert row["detail"].startswith("-a always,exit -S all -F auid=1000 -F key=")
    assert (row["what"], row["restored"], row["pid"], row["ses"]) == ("rule_deleted", "no", 4321, 3)
    assert row["evidence"] == CHANGE.stamp


def test_texts_that_are_no_json_are_not_asked(url):
    """Whatever way the planner takes, it reads no other text as a finding's fields."""
    calls = "".join(opening(n, name=f"/f{n}", second=SECOND + n) for n in range(7, 400))
    events = "".join(record("USER_CMD", n, f"pid={n} res=success") for n in range(500, 900))
    load(
        url,
        calls
        + events
        + line(GuardFinding("rule_deleted", printing.text(RULE), RULE, who=WHO, change=CHANGE)),
    )
    if url.startswith("postgres"):
        with open_store(url) as store, store.engine.begin() as connection:
            connection.exec_driver_sql(SCAN_ALL)
    assert len(rows(url, "SELECT * FROM tamper")) == 1
    sql = "SELECT count(*) AS n FROM tamper WHERE what = 'rule_deleted' AND comm = 'auditctl'"
    assert rows(url, sql) == [{"n": 1}]
    assert rows(url, f"{sql} AND evidence_event_id IS NOT NULL") == [{"n": 1}]


def test_foreign_lines_break_nothing(url):
    """Lines of a log that somebody else wrote: other operations, and evidence that is none."""
    body = "op=tamper what=x evidence={} pid=1 res=success"
    load(
        url,
        record("DAEMON_CONFIG", 1, "op=reconfigure state=no-change pid=1 res=success")
        + record("DAEMON_CONFIG", 2, body.format("nonsense"))
        + record("DAEMON_CONFIG", 3, body.format("99999999999999999999.000:1"))
        + record("DAEMON_CONFIG", 4, body.format("1.000:2 evidence=1.000:3"))
        + record("DAEMON_ERR", 5, body.format("1.000:4")),
    )
    found = rows(url, "SELECT evidence_event_id FROM tamper ORDER BY event_id")
    assert len(found) == 3
    assert found[0] == {"evidence_event_id": None}
