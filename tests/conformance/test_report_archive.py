"""`report --archive`: what the store has forgotten is reported on as if it had all of it."""

from __future__ import annotations

import json
import os

import pytest
from fixtures import archived as made
from fixtures.commands import run
from fixtures.days import prune
from fixtures.logs import SECOND, Pipe, load, opening, record, rows
from fixtures.repeats import some
from fixtures.report_log import report_log

from auditsvc.archive import made_store, place
from auditsvc.archive.made_store import Wanted
from auditsvc.errors import ArchiveError
from auditsvc.report.catalogue import REPORTS
from auditsvc.report.choice import Choice
from auditsvc.report.daily import review_of, week_before
from auditsvc.report.groups import GROUPS
from auditsvc.report.report import TOTALS, Question, make_daily, make_report
from auditsvc.store.read.time_span import Span

DAY = 86400
HOUR = 3600
FIRST = SECOND // DAY
"""The first day of the log."""
NOW = (FIRST + 3) * DAY + HOUR
"""The third day is over, too."""
TWO_DAYS = Span(FIRST * DAY, (FIRST + 2) * DAY - 1)
CHOICES = {
    "all": Choice(),
    "seconds": Choice(span=Span(SECOND + 1, (FIRST + 1) * DAY + 5 * HOUR)),
    "failed": Choice(success=False),
    "host": Choice(span=TWO_DAYS, hosts=("web.example",)),
    "user": Choice(auid=1000, no_config=True),
}

ASKED = ["all", *some([*CHOICES][1:], "choices", 2)]
"""The other ones with --long: each takes two seconds."""


def log():
    """Give what every report has something of, on three days, in two days of more hosts."""
    made = report_log()
    for n in range(12):
        where = {"second": SECOND + n * 5 * HOUR}
        made += opening(
            7000 + n, f"./f{n % 5}", nr=(2, 257)[n % 2], exe=f'"/bin/tie{n % 3}"', **where
        )
        path = f'item=0 name="../lone{n % 2}" inode=1 mode=0100644 nametype=NORMAL'
        made += record("PATH", 7100 + n, path, **where)
        for seq in range(1 + n % 3):
            saddr = f"saddr=02000035C0000{2 + (n + seq) % 3}000000000000000000"
            call = opening(7200 + n, nr=42, **where)
            made += (call if not seq else "") + record("SOCKADDR", 7200 + n, saddr, **where)
            made += record("SOCKADDR", 7300 + n, saddr, **where)
        names = '\x1dAUID="mia" UID="root"'
        said = (
            f"pid={n} uid=0 auid=1000 ses=3 msg='op=login acct=\"m\" hostname=h{n % 2} res=failed'"
        )
        made += record("USER_LOGIN", 7400 + n, said + names, **where)
        made += opening(7500 + n, rest=names, auid=1000, **where)
    return made


REVIEWED = Span((FIRST + 1) * DAY, (FIRST + 2) * DAY - 1)
OWN = (
    record("DAEMON_CONFIG", 1, "op=coverage-look share=0.75 res=success", second=SECOND + 60)
    + record("DAEMON_CONFIG", 2, "op=coverage-look share=0.5 res=success", second=SECOND + 2 * DAY)
    + record(
        "DAEMON_ACCEPT",
        3,
        'op=access id=x pid=1 uid=0 auid=1000 ses=1 acct="mia" command=review'
        f' data="{review_of(REVIEWED)}" res=success',
        second=SECOND + 2 * DAY,
    )
)


def answers(url, choice):
    """Give every report on a store, its list and its sums, as values."""
    found = {}
    for report in REPORTS:
        for kind in (False, True):
            if kind and report.object is None:
                continue
            question = Question(report.name, choice, summary=kind, interpret=kind)
            with make_report(url, question) as answer:
                found[report.name, kind] = answer.columns, list(answer.rows), answer.proof.line
    by = (GROUPS["host"], GROUPS["day"])
    with make_report(url, Question(TOTALS, choice)) as answer:
        found[TOTALS] = list(answer.rows), answer.hosts
    with make_report(url, Question("file", choice, summary=True, by=by)) as answer:
        found["by"] = list(answer.rows)
    return found


def review(url, span):
    """Give the daily report as values."""
    with make_daily(url, Choice(span=span)) as daily:
        sections = {each.name: (each.rows, each.hits, each.note) for each in daily.sections}
        return sections, daily.hours, daily.events, daily.hosts, daily.proof.line


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.long)])
def both(request, store_of_kind, tmp_path_factory):
    """Give settings of a store that has the last day alone, and what it said when it had all."""
    url = store_of_kind(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, "_sync", lambda *_: None)
        load(url, log())
        load(url, OWN, kind="spool", name="own")
        known = {name: answers(url, CHOICES[name]) for name in ASKED}
        known["daily"] = review(url, REVIEWED)
        settings = made.settings_of(url, tmp_path_factory.mktemp("archive"))
        made.archive(settings, now=NOW - DAY)
        pipe = Pipe(url)
        before = rows(url, "SELECT count(*) AS n FROM all_events")[0]["n"]
        prune(pipe.store.database, keep="1d", now=NOW)
        pipe.close()
    assert 0 < rows(url, "SELECT count(*) AS n FROM all_events")[0]["n"] < before / 2
    return settings, known


@pytest.mark.parametrize("name", ASKED)
def test_every_report_is_that_of_the_whole_store(both, name):
    """Lists, sums, groups, the summary, and what stands under them."""
    settings, known = both
    choice = CHOICES[name]
    with made_store.made_store(settings, Wanted(choice.span, with_names=True)) as url:
        found = answers(url, choice)
    logs = [key for key in found if key[0] == "log"]
    for key in found:
        if key not in logs or choice == Choice():
            assert found[key] == known[name][key], key
    if choice == Choice():
        assert "50.00% of tasks or more, in 2 looks" in found["file", True][2]


def test_the_daily_review_is_that_of_the_whole_store(both):
    """Of the week before only programs and hosts are copied: what is new is the same."""
    settings, known = both
    span = REVIEWED
    with made_store.made_store(settings, Wanted(span, thin=week_before(span))) as url:
        found = review(url, span)
    for name in found[0]:
        assert found[0][name] == known["daily"][0][name], name
    assert found[1:] == known["daily"][1:]
    assert found[0]["new-programs"][0]
    assert found[0]["reviews"][0]


def test_a_store_without_that_time(both):
    """Nothing is found, and nothing fails."""
    settings, _ = both
    span = Span((FIRST - 9) * DAY, (FIRST - 8) * DAY)
    question = Question(TOTALS, Choice(span=span))
    with made_store.made_store(settings, Wanted(span)) as url, make_report(url, question) as answer:
        assert list(answer.rows)[-1] == ("events", 0)


@pytest.mark.parametrize("events", [1, 40])
def test_in_steps(both, events, monkeypatch):
    """Of few events each: the same."""
    settings, known = both
    monkeypatch.setattr(made_store, "_AT_ONCE", events)
    with made_store.made_store(settings, Wanted()) as url:
        with make_report(url, Question(TOTALS)) as answer:
            assert list(answer.rows) == known["all"][TOTALS][0]
        with make_report(url, Question("log")) as answer:
            assert list(answer.rows) == known["all"]["log", False][1]


def test_a_full_disk_is_said_before(both, monkeypatch):
    """With what can be done."""
    settings, _ = both
    monkeypatch.setattr(made_store, "_ROOM", 1 << 60)
    with (
        pytest.raises(ArchiveError, match="no room") as caught,
        made_store.made_store(settings, Wanted()),
    ):
        pass
    assert "TMPDIR" in caught.value.hint


def command(settings, *words):
    """Run the command."""
    given = {"AUDITSVC_STORE": settings.store, "AUDITSVC_ARCHIVE__TO": settings.archive.to}
    given |= {"AUDITSVC_STATE_DIRECTORY": str(settings.state_directory)}
    return run("report", *words, environment=os.environ | given, text=True)


def test_the_command(both):
    """What it adds to the report of the store are the days that this has not."""
    settings, known = both
    with_archive, alone = (
        json.loads(command(settings, "--format", "json", *words).stdout)["rows"]
        for words in (("--archive",), ())
    )
    assert with_archive[-1] == {"what": "events", "number": known["all"][TOTALS][0][-1][1]}
    assert alone[-1]["number"] < with_archive[-1]["number"]
    day = ("--since", "2025-06-16", "--until", "2025-06-17")
    shown = json.loads(command(settings, "daily", "--archive", *day, "--format", "json").stdout)
    assert shown["figures"]["events"] == known["daily"][2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--archive", "-if", "/x"), "neither --input"),
        (("daily", "--archive", "--reviewed"), "nor"),
    ],
)
def test_what_it_does_not_go_with(both, words, said):
    """One line, and exit status 2."""
    done = command(both[0], *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
