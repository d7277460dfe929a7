"""`auditsvc report daily`: what happened in a day, against the week before, in every form."""

from __future__ import annotations

import io
import json
import os
import re
from datetime import UTC, datetime

import pytest
from fixtures import commands
from fixtures.logs import SECOND, call, load, path, proctitle, record

from auditsvc.report.choice import Choice
from auditsvc.report.page import daily_page, page
from auditsvc.report.plots import bars
from auditsvc.report.report import Question, make_daily, make_report
from auditsvc.report.writing import write_daily, write_daily_json
from auditsvc.store.read.time_span import Span

DAY = 86400
MIDNIGHT = SECOND - SECOND % DAY
WHOLE = Choice(span=Span(MIDNIGHT, MIDNIGHT + DAY - 1))
EVIL = "<script>alert(1)</script>\x1b[31m"
DENIED = "avc:  denied  { read } for "
ABEND = "auid=1000 uid=0 gid=0 ses=3 pid=1"
MADE = datetime(2025, 6, 16, tzinfo=UTC)


def user(kind, serial, said, *, auid=1000, second=SECOND):
    """Give a message of a program."""
    head = f"pid=1 uid=0 auid={auid} ses=3"
    return record(kind, serial, f"{head} msg='{said}'", second=second)


def run(serial, exe, *, second=SECOND, name="", **fields):
    """Give a call of a program, with the name of a file."""
    return (
        call(serial, exe=f'"{exe}"', second=second, **{"auid": 1000, "ses": 3} | fields)
        + (path(serial, name, second=second) if name else "")
        + proctitle(serial, second=second)
    )


def a_day():
    """Give the log of a day with something for every section, and some of the week before."""
    where = 'exe="/usr/sbin/sshd" hostname=new.example addr=192.0.2.9 terminal=ssh'
    old = 'exe="/usr/sbin/sshd" hostname=old.example addr=192.0.2.8 terminal=ssh'
    refused = {"success": "no", "exit": -13, "nr": 257}
    evil = EVIL.encode().hex().upper()
    return "".join(
        [
            user("USER_LOGIN", 1, f"op=login id=1000 {old} res=success", second=SECOND - 3 * DAY),
            run(2, "/usr/bin/old", second=SECOND - 3 * DAY),
            run(3, "/usr/bin/older", second=SECOND - 9 * DAY),
            user("USER_LOGIN", 10, f'op=login acct="eve" {where} res=failed', auid=4294967295),
            user("USER_LOGIN", 11, f'op=login acct="eve" {where} res=failed', auid=4294967295),
            user("USER_LOGIN", 12, f"op=login id=1000 {old} res=success"),
            run(20, "/usr/bin/old", name="/etc/shadow", **refused),
            run(21, "/usr/bin/old", name="/etc/shadow", **refused),
            run(22, "/usr/bin/older", nr=59, euid=0),
            run(23, "/usr/bin/new", nr=175),
            user("USER_CMD", 30, f'cwd="/" cmd={evil} terminal=pts/1 res=success'),
            record("CONFIG_CHANGE", 31, 'auid=1000 ses=3 op=add_rule key="k" list=4 res=1'),
            user("ADD_USER", 32, f'op=add-user acct="mia" {old} res=success'),
            record("AVC", 33, f"{DENIED} pid=1 scontext=a tcontext=b tclass=file"),
            record("ANOM_ABEND", 34, f'{ABEND} comm="c" exe="/x" sig=6 res=1'),
            record("DAEMON_ERR", 35, "op=lost kernel=17 spool=4 auid=0 pid=5 res=failed"),
        ]
    )  # fmt: skip


@pytest.fixture
def review(url):
    """Give the report of the day."""
    load(url, a_day(), kind="spool")
    with make_daily(url, WHOLE) as report:
        return report


def test_every_section_has_what_happened(review):
    """Sums of the day alone, largest first."""
    found = {section.name: section.rows for section in review.sections}
    assert found["failed-logins"] == ((2, "eve", "new.example", "ssh", "/usr/sbin/sshd"),)
    assert found["logins"] == ((1, "1000", "old.example", "ssh", "/usr/sbin/sshd"),)
    assert found["refused"] == ((2, 1000, "/usr/bin/old", "openat"),)
    assert found["refused-files"] == ((2, "/etc/shadow", 1000),)
    assert found["as-root"] == ((1, 1000, "/usr/bin/older"),)
    assert found["security-calls"] == ((1, "init_module", "/usr/bin/new", 1000),)
    assert found["sudo"] == ((1, 1000, EVIL, "yes"),)
    assert found["config"] == ((1, "CONFIG_CHANGE", 1000),)
    assert found["accounts"] == ((1, "ADD_USER", 1000, "mia", "/usr/sbin/sshd", "yes"),)
    assert found["denials"] == ((1, "b"),)
    assert found["anomalies"] == ((1, "ANOM_ABEND", 1000),)
    assert found["audit"] == ((1, "DAEMON_ERR", "lost", 0, "no"),)
    assert review.proof.lost["kernel_lost"] == 17


def test_new_is_what_the_week_before_had_not(review):
    """What was nine days ago is new again; what was three days ago is not."""
    found = {section.name: section.rows for section in review.sections}
    assert {value for _, value in found["new-programs"]} == {"/usr/bin/older", "/usr/bin/new", "/x"}
    assert found["new-hosts"] == ((2, "new.example"),)


def test_the_hours_and_figures_add_up(review):
    """Plots and figures count the same events as the sections."""
    hours = {each.name: sum(count for _, count in each.counts) for each in review.hours}
    assert hours == {"events": 13, "refused": 2, "failed-logins": 2}
    assert review.events == 13
    assert review.figures["failed logins"] == 2
    assert review.figures["changes"] == 3


def test_without_a_week_before_nothing_is_called_new_for_review(url):
    """All programs are new to a new store; that is said, and no alarm."""
    load(url, run(1, "/usr/bin/first"))
    with make_daily(url, WHOLE) as report:
        (section,) = [each for each in report.sections if each.name == "new-programs"]
    assert not section.alarms
    assert "all are new" in section.note


def test_what_changed_audit_is_in_the_review(url):
    """The guard's finding, of our own spool."""
    said = 'op=tamper what=rule-deleted detail="-a x" restored=yes auid=1000 pid=7 res=success'
    load(url, record("DAEMON_CONFIG", 1, said), kind="spool")
    with make_daily(url, WHOLE) as report:
        (section,) = [each for each in report.sections if each.name == "tamper"]
        assert section in report.to_review
    assert section.rows[0][1:3] == ("rule-deleted", "-a x")


def test_every_form_is_harmless(review):
    """Text shows no escape sequence; the page runs no script and asks for nothing."""
    out = io.StringIO()
    write_daily(review, out)
    assert "! Logins that failed" in out.getvalue()
    assert not re.search("[\x00-\x09\x0b-\x1f]", out.getvalue())
    out = io.StringIO()
    write_daily_json(review, out)
    sections = {each["name"]: each for each in json.loads(out.getvalue())["sections"]}
    assert sections["sudo"]["rows"][0]["command"] == EVIL
    assert sections["failed-logins"]["to_review"] is True
    _is_a_safe_page(daily_page(review, MADE))


def test_the_page_of_a_report_is_harmless(url):
    """Any report; rows beyond the first thousands are counted, not shown."""
    load(url, a_day())
    for question in (Question("executable", summary=True), Question("event"), Question()):
        with make_report(url, question) as answer:
            _is_a_safe_page(page(answer, MADE))


def _is_a_safe_page(html):
    assert "<script" not in html
    assert "\x1b" not in html
    assert not re.search(r"(?:src|href)=\"(?!#)", html)
    assert "default-src 'none'" in html.replace("&#x27;", "'")
    assert html.count("<section") == html.count("</section>")
    assert html.endswith("</html>\n")


def test_a_plot_says_what_it_shows():
    """Each bar has its number as a title; without values it is an empty axis."""
    drawn = bars([("00:00", 0), ("01:00", 5), ("<b>", 10)], "Events")
    assert drawn.count("<rect") == 2
    assert "15 in all, at most 10" in drawn
    assert "&lt;b&gt;: 10" in drawn
    assert "<rect" not in bars([], "Events")


def test_the_command_reports_on_yesterday(tmp_path):
    """By default; a store without events of it says so on the page, and a sum of all is refused."""
    url = f"sqlite:///{tmp_path}/store.db"
    load(url, a_day())
    environment = os.environ | {"AUDITSVC_STORE": url}
    done = commands.run("report", "daily", "--format", "html", environment=environment, text=True)
    assert done.returncode == 0, done.stderr
    assert "The store has no event of this time." in done.stdout
    done = commands.run("report", "daily", "--summary", environment=environment, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_time_without_an_end_ends_now(url):
    """The report shows when it was made as its end, and not the last second that an id can have."""
    load(url, a_day())
    before = int(datetime.now(UTC).timestamp())
    done = commands.run(
        *("report", "daily", "--since", "0001-01-01", "--format", "json"),
        environment=os.environ | {"AUDITSVC_STORE": url},
        text=True,
    )
    told = json.loads(done.stdout)
    shown = re.findall(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:]{8}", json.dumps(told)[:300])
    end = datetime.fromisoformat(shown[1]).replace(tzinfo=UTC).timestamp()
    assert before <= end <= datetime.now(UTC).timestamp()


@pytest.mark.each_database
def test_a_day_with_many_kinds_of_events_is_read(url):
    """From some hundred kinds on SQLite looks at texts before it joins them; not all are JSON."""
    days, many = 2, 1000
    told = 'cwd="/" cmd=6C73 exe="/usr/bin/sudo" terminal=pts/1 res=success'
    log = [
        user("USER_CMD", n, told, auid=1000 + n // days, second=SECOND - DAY * (n % days))
        for n in range(days * many)
    ]
    load(url, "".join([*log, run(days * many, "/usr/bin/no JSON", nr=257)]))
    with make_daily(url, WHOLE) as report:
        found = {section.name: section.rows for section in report.sections}
    assert [value for _, value in found["new-programs"]] == ["/usr/bin/no JSON"]
    assert {section.name: section.hits for section in report.sections}["sudo"] == many
