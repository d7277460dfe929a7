"""`auditsvc report`: its forms and choices, what stands under it, hostile values."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from datetime import UTC, datetime

import pytest
from fixtures import commands
from fixtures.logs import SECOND, call, load, login, opening, path, proctitle, record
from fixtures.report_log import DAY, UNSET, report_log

from auditsvc.cli.report_words import plain
from auditsvc.errors import QueryError, UsageError
from auditsvc.report import details, several, summaries
from auditsvc.report.catalogue import BY_NAME, REPORTS
from auditsvc.report.choice import Choice
from auditsvc.report.columns import calls, folded, lone, lone_parts
from auditsvc.report.counting import by_context, has_context_of
from auditsvc.report.dialect import SQLITE
from auditsvc.report.groups import GROUPS, parse
from auditsvc.report.reader import open_reader
from auditsvc.report.report import TOTALS, Question, answer, check, make_daily, make_report
from auditsvc.report.summaries import sums
from auditsvc.report.writing import write_csv, write_json, write_table
from auditsvc.store.read.ausearch_times import start_second
from auditsvc.store.read.limits import Limits
from auditsvc.store.read.time_span import Span

EVIL = '=cmd|"/c calc"!A1\x1b[31m<b>\u202e'


def ask(url, *words):
    """Run the command on a store."""
    environment = os.environ | {"AUDITSVC_STORE": url}
    return commands.run("report", *words, environment=environment, text=True)


def written(url, form, question):
    """Give a report in a form."""
    out = io.StringIO()
    with make_report(url, question) as made:
        form(made, out)
    return out.getvalue()


def rows(url, question):
    """Give the objects that a report's JSON has."""
    return json.loads(written(url, write_json, question))["rows"]


# -- what stands under a report -----------------------------------------------------------


@pytest.mark.one_database
@pytest.mark.parametrize(("name", "meant"), [("exe", "executable"), ("logn", "login")])
def test_a_report_that_is_nearly_named(url, name, meant):
    """It is asked whether another was meant, and all are named, `daily` too."""
    load(url, login(1))
    told = ask(url, name).stderr
    assert f"did you mean {meant}; there are anomaly, " in told
    assert ", daily, " in told


def test_the_proof_stands_under_every_report(url):
    """The ledger adds up to what was received, and what is missing is named."""
    lost = record("DAEMON_ERR", 9, "op=lost kernel=17 spool=4 auid=0 pid=5 uid=0 ses=1 res=failed")
    load(url, report_log() + lost)
    with open_reader(url) as reader:
        for name in (TOTALS, *BY_NAME):
            proof = answer(reader, Question(name)).proof
            assert proof.adds_up
            assert proof.received == report_log().count("\n") + 1
            assert proof.lost["gap"] > 0
            assert "ledger of the store" in proof.line
            assert "coverage of this time: not known" in proof.line


def test_the_coverage_of_the_time_is_the_lowest_share_of_its_looks(url):
    """What the service wrote in its own spool; a log of others proves nothing."""
    looks = "".join(
        record(
            "DAEMON_CONFIG",
            n,
            f"op=coverage-look share={share} pid=1 res=success",
            second=SECOND + n,
        )
        for n, share in ((1, "0.5000"), (2, "0.9900"), (3, "?"), (4, "0.9800"))
    )
    load(url, looks, kind="spool")
    with open_reader(url) as reader:
        whole = answer(reader, Question()).proof.coverage
        later = answer(reader, Question(choice=Choice(span=Span(SECOND + 2)))).proof.coverage
    assert (whole.looks, whole.lowest) == (4, 0.5)
    assert (later.looks, later.lowest) == (3, 0.98)


def test_looks_of_a_log_of_others_are_no_proof(url):
    """Its lines are events like others."""
    load(url, record("DAEMON_CONFIG", 1, "op=coverage-look share=1.0 pid=1 res=success"))
    with open_reader(url) as reader:
        assert answer(reader, Question()).proof.coverage is None


def test_what_the_service_notes_is_no_change_of_configuration(url):
    """There are hundreds of notes, and they change nothing: no user is said to have."""
    notes = (
        "op=reconfigure auid=0 pid=5 res=success",
        "op=coverage began=1.0 state=covered pid=1 auid=0 res=success",
        "op=coverage-look share=1.0 pid=1 res=success",
        "op=name kind=user id=1000 acct=mia pid=1 res=success",
        "op=cgroup cgroup=/user.slice pid=7 auid=1000 res=success",
    )
    load(
        url,
        "".join(record("DAEMON_CONFIG", serial, note) for serial, note in enumerate(notes)),
        kind="spool",
    )
    with open_reader(url) as reader:
        assert [row[-1] for row in answer(reader, Question("config")).rows] == [0]
        totals = dict(answer(reader, Question()).rows)
    assert totals["changes in configuration"] == 1
    with make_daily(url, Choice(span=Span(SECOND, SECOND + 59))) as answered:
        found = {each.name: [row[0] for row in each.rows] for each in answered.sections}
    assert found["config"] == found["audit"] == [1]


# -- forms --------------------------------------------------------------------------------


@pytest.fixture
def hostile(url):
    """Load events whose every text is hostile."""
    name = EVIL.encode().hex().upper()
    load(
        url,
        call(1, auid=0, ses=3, comm=name, exe=name, key=name)
        + path(1, "/x").replace('name="/x"', f"name={name}")
        + proctitle(1)
        + record(
            "USER_LOGIN", 2, f"pid=1 uid=0 auid=0 ses=1 msg='acct={name} exe={name} res=failed'"
        ),
    )
    return url


@pytest.mark.one_database
def test_a_hostile_name_is_harmless_in_every_form(hostile):
    """No escape sequence in a table, no formula in CSV, the exact text in JSON."""
    for name in ("executable", "file", "key", "login", "command"):
        for summary in (False, True) if name != "login" else (False,):
            question = Question(name, summary=summary)
            table = written(hostile, write_table, question)
            assert "\\x1b[31m" in table
            assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", table)
            lines = csv.reader(io.StringIO(written(hostile, write_csv, question)))
            cells = [cell for row in lines for cell in row]
            assert f"'{EVIL}" in cells
            assert EVIL not in cells
            assert EVIL in [each for row in rows(hostile, question) for each in row.values()]


def test_the_forms_have_the_same_rows(url):
    """CSV has all columns, with the proof on stderr; JSON has it as a member."""
    load(url, report_log())
    done = ask(url, "login", "--format", "csv")
    by_csv = list(csv.DictReader(io.StringIO(done.stdout)))
    by_json = rows(url, Question("login"))
    assert [{k: str(v) for k, v in row.items()} for row in by_json] == by_csv
    assert done.stderr.startswith("auditsvc: ledger of the store")
    assert set(by_csv[0]) == {
        *("event_id", "time", "node", "auid", "host", "term", "exe", "success", "event")
    }
    whole = json.loads(written(url, write_json, Question("login")))
    assert whole["proof"]["adds_up"] is True


def test_nothing_found_is_said(url):
    """In every form it is a whole answer."""
    load(url, login(1))
    assert "<no events of interest were found>" in written(url, write_table, Question("avc"))
    assert rows(url, Question("avc")) == []
    assert written(url, write_csv, Question("avc")).count("\n") == 1


def test_the_host_is_shown_where_there_are_several(url):
    """A table has the column only then."""
    load(url, login(1))
    assert "node" not in written(url, write_table, Question("login"))
    load(url, login(2), name="other", host="second")
    assert "node" in written(url, write_table, Question("login"))


# -- choices ------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["day", "hour", "host", "auid", "host,day"])
def test_groups_add_up_to_the_whole(by, url):
    """Each report's sums by a group, added, are its sums."""
    load(url, report_log())
    with open_reader(url) as reader:
        for report in REPORTS:
            if report.object is None:
                continue
            whole = {
                each.value: each.hits for each in sums(reader, report, Choice(), interpret=False)
            }
            added = {}
            for each in sums(reader, report, Choice(), parse(by), interpret=False):
                added[each.value] = added.get(each.value, 0) + each.hits
            assert added == whole, report.name


@pytest.mark.one_database
def test_the_summary_of_each_day_is_that_of_a_report_on_the_day(url):
    """A row a day, with every number."""
    load(url, report_log())
    with open_reader(url) as reader:
        grouped = answer(reader, Question(by=(GROUPS["day"],)))
        days = {row[0]: row[1:] for row in grouped.rows}
        for day, start in (("2025-06-15", SECOND), ("2025-06-16", SECOND + DAY)):
            midnight = start - start % DAY
            choice = Choice(span=Span(midnight, midnight + DAY - 1))
            alone = [value for _, value in answer(reader, Question(choice=choice)).rows]
            assert list(days.pop(day)) == alone
        assert days == {}


def test_a_login_user_can_be_chosen(url):
    """One of a number, or those without one."""
    load(url, report_log())
    for auid, shown in ((1001, {1001}), (0, {0}), (UNSET, {"unset", None})):
        found = {row["auid"] for row in rows(url, Question("event", Choice(auid=auid)))}
        assert found <= shown
        assert found


def test_a_log_is_read_without_a_store(tmp_path):
    """-if makes a store for this report alone; the other words of aureport are taken too."""
    log = tmp_path / "audit.log"
    log.write_text(report_log())
    words = ("-if", str(log), "--input-logs", "--eoe-timeout", "3", "-l", "--summary")
    done = ask("sqlite:////nowhere/none.db", *words)
    assert done.returncode == 0, done.stderr
    assert "una" in done.stdout


def test_times_of_the_logs(url):
    """A line a source, with the times of its first and last event."""
    load(url, login(1, second=SECOND) + login(2, second=SECOND + 5), name="one")
    load(url, login(3, second=SECOND + 2), name="two", kind="spool")
    load(url, login(4, second=SECOND + 9), name="three")
    found = rows(url, Question("log"))
    shown = {row["source"]: (row["kind"], row["first"], row["last"]) for row in found}
    assert shown == {
        "one": ("file", "2025-06-15 15:06:40.123", "2025-06-15 15:06:45.123"),
        "two": ("spool", "2025-06-15 15:06:42.123", "2025-06-15 15:06:42.123"),
        "three": ("file", "2025-06-15 15:06:49.123", "2025-06-15 15:06:49.123"),
    }


def test_aureports_words_are_those_of_this_program():
    """Its options are names of reports, its times one value, and what reads a log has no effect."""
    words = ["-au", "--failed", "-ts", "06/15/25", "10:00", "-te", "today", "--debug", "-i"]
    wanted = ["auth", "--failed", "--start", "06/15/25 10:00", "--end", "today", "-i"]
    assert plain(words) == wanted
    assert plain(["--node", "-l", "-x"]) == ["executable", "--node", "-l"]


@pytest.mark.parametrize(
    ("ask_for", "arguments"),
    [
        (plain, [["-au", "-l"]]),
        (plain, [["-ts"]]),
        (parse, ["week"]),
        (check, [Question("tty", summary=True)]),
        (check, [Question(by=parse("auid"))]),
        (start_second, ["someday", datetime(2025, 6, 17, tzinfo=UTC)]),
    ],
    ids=["two reports", "no time", "no group", "no sums", "no such groups", "not a time"],
)
def test_what_cannot_be_asked_for(ask_for, arguments):
    """It is the user's error, with what to do."""
    with pytest.raises(UsageError) as error:
        ask_for(*arguments)
    assert error.value.hint


def test_wrong_usage_is_one_line(tmp_path):
    """Exit status 2, and no store is made."""
    for words in (("nothing",), ("--success", "--failed"), ("--auid", "no-such-user-here")):
        done = ask(f"sqlite:///{tmp_path}/none.db", *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    done = ask(f"sqlite:///{tmp_path}/none.db", "login")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert not (tmp_path / "none.db").exists()


def test_what_takes_too_long_is_ended(url):
    """Within a statement too, and with the message that `query` has."""
    load(url, login(1))
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    limits = Limits(seconds=0.2)
    with pytest.raises(QueryError, match="took longer"), open_reader(url, limits) as reader:
        reader.one(endless)


# -- plans --------------------------------------------------------------------------------

FACTS = {"s", "e", "r", "p", "k", "m", "x"}
# What may be read whole: the facts once, and the dimension tables that a report begins with.
SCANS = FACTS | {"a", "i", "j", "n", "g", "u", "w"}


def _statements(reader, choice):
    for report in REPORTS:
        if report.name in ("avc", "log"):
            continue
        yield from details.statements(report, choice, SQLITE)
        name = report.object.source if report.object else ""
        if has_context_of(name):
            yield by_context(name, choice, (), SQLITE)
    yield from several.file_counts(reader, choice, ())
    yield from several.other_key_counts(SQLITE, choice, ())
    yield calls(["exe", "host", "file", "key"], choice, SQLITE).select()
    yield lone(["exe", "host", "file", "key"], choice, SQLITE).select()
    yield folded(["exe", "key"], choice, SQLITE).select()
    for part in lone_parts(["host"], choice, SQLITE):
        yield part.select()
    for only_values in (False, True):
        yield from summaries._peers(choice, SQLITE, only_values=only_values)
    yield from summaries.used_peers(choice, SQLITE)


def test_every_statement_reads_by_an_index_or_once(made):
    """No table is read whole inside another's rows, and none is sorted that has an order."""
    with open_reader(f"sqlite:///{made}") as reader:
        for sql in _statements(reader, Choice()):
            steps = list(reader.rows(f"EXPLAIN QUERY PLAN {sql}"))
            plan = [row[3] for row in steps]
            loops = [(row[1], *row[3].split()[:2]) for row in steps if row[3][:2] in ("SC", "SE")]
            of_select = {parent: [] for parent, *_ in loops}
            for parent, how, table in loops:
                of_select[parent].append((how, table))
            inner = {loop for each in of_select.values() for loop in each[1:]}
            assert not inner & {("SCAN", table) for table in FACTS}, (sql, plan)
            scans = [line for line in plan if line.startswith("SCAN")]
            assert {line.split()[1] for line in scans} <= SCANS, (sql, plan)
            assert not any("AUTOMATIC" in line for line in plan), (sql, plan)


def test_a_range_of_time_is_a_range_of_ids(made):
    """Then no fact is read whole."""
    choice = Choice(span=Span(SECOND, SECOND + 1))
    with open_reader(f"sqlite:///{made}") as reader:
        for sql in _statements(reader, choice):
            plan = [row[3] for row in reader.rows(f"EXPLAIN QUERY PLAN {sql}", choice.values)]
            scanned = {line.split()[1] for line in plan if line.startswith("SCAN")}
            # Rows that a SELECT inside has made are no fact.
            made_of = ("MATERIALIZE", "CO-ROUTINE")
            scanned -= {line.split()[1] for line in plan if line.startswith(made_of)}
            assert not scanned & FACTS, (sql, plan)


@pytest.mark.parametrize(("name", "soon"), [("file", True), ("key", True), ("mods", False)])
def test_what_has_the_order_of_events_is_planned_for_its_first_lines(url, monkeypatch, name, soon):
    """PostgreSQL looked up the names of 2.4 million calls before it put them in order: 60 s."""
    load(url, opening(1))
    asked = []
    with open_reader(url) as reader:
        rows_of = reader.rows

        def seen(sql, values=None, *, first=1):
            asked.append(first)
            return rows_of(sql, values, first=first)

        monkeypatch.setattr(reader, "rows", seen)
        list(details.lines(reader, BY_NAME[name], Choice(), interpret=False))
        assert (min(asked) < 0.001) == soon
        del asked[:]
        assert not list(
            details.lines(reader, BY_NAME[name], Choice(hosts=("no",)), interpret=False)
        )
        assert asked == [1], "no event is looked at for a host that the store does not have"
