"""What reports count from the counts by hour, or of events taken together, is what each has."""

from __future__ import annotations

from collections import Counter

import pytest
from fixtures.logs import SECOND, Pipe, call, load, opening, record
from fixtures.report_log import report_log

from auditsvc.report import columns, daily, kinds, rollup, several, summaries, totals
from auditsvc.report.catalogue import BY_NAME, REPORTS
from auditsvc.report.choice import Choice
from auditsvc.report.groups import GROUPS
from auditsvc.report.reader import open_reader
from auditsvc.store.read.time_span import END, Span

HOUR = 3600
SUMMED = [report for report in REPORTS if report.object is not None]
NOON = SECOND // 86400 * 86400
EDGE = Span(NOON + 1, NOON + 86400 + 13 * HOUR + 17)
CHOICES = {
    "all": Choice(),
    "edges": Choice(span=EDGE),
    "failed": Choice(span=EDGE, success=False),
    "host": Choice(hosts=("web.example", "unknown")),
    "auid": Choice(span=EDGE, auid=1000),
    "unset": Choice(auid=4294967295, success=True),
    "hours": Choice(span=Span(NOON, NOON + 86400 + 14 * HOUR - 1)),
    "seconds": Choice(span=Span(NOON + 1, NOON + 86400)),
}


def log():
    """Give what every report has something of, with ties, several keys, and several addresses."""
    made = report_log()
    for n in range(6):
        where = {"second": SECOND + (7 - n) * HOUR}
        exe, key = f'"/bin/tie{n}"', ("a", "b", "c")[n % 3]
        joined = f"{key}\x01d".encode().hex().upper() if n % 2 else f'"{key}"'
        made += opening(7000 + n, f"/etc/t{n}", nr=(2, 257)[n % 2], exe=exe, key=joined, **where)
        made += call(7100 + n, nr=42, exit=0, **where)
        for seq in range(1 + n % 2):
            saddr = f"saddr=02000035C0000{2 + seq}0{n % 3}000000000000000"
            made += record("SOCKADDR", 7100 + n, saddr, **where)
        said = (
            f"pid={n} uid=0 auid=1000 ses=3 msg='op=login acct=\"m\" hostname=h{n % 2} res=failed'"
        )
        made += record("USER_LOGIN", 7200 + n, said, **where)
        made += record("USER_AUTH", 7300 + n, said.replace(f"hostname=h{n % 2} ", ""), **where)
        made += record("SOCKADDR", 7400 + n, saddr, **where)
        name = (f"./lone{n}", "/etc/lone", "../lone")[n % 3]
        path = f'item=0 name="{name}" inode=1 mode=0100644 nametype=NORMAL'
        made += record("PATH", 7500 + n, path, **where)
        made += record("URINGOP", 7600 + n, "uring_op=18 items=1 ppid=1 pid=2 uid=0", **where)
        made += record("PATH", 7600 + n, path, **where)
    return made


@pytest.fixture(scope="module")
def url(common_url):
    """Give a store, of which some counts have not joined the rows yet."""
    load(common_url, log())
    Pipe(common_url).load(call(7900, nr=42, exe='"/bin/late"', second=SECOND + HOUR))
    return common_url


@pytest.fixture
def one_by_one(monkeypatch):
    """Give what has each call and each event counted for itself."""

    def begin():
        monkeypatch.setattr(rollup, "suits", lambda _: False)
        monkeypatch.setattr(rollup, "rounded", lambda _, choice: choice)
        monkeypatch.setattr(Choice, "is_of_times", property(lambda _: False))
        monkeypatch.setattr(several, "HAS_OTHERS", "1 = 1")
        for module in (columns, summaries):
            monkeypatch.setattr(module, "WITH_OTHERS", "SELECT o.id FROM event o")
        monkeypatch.setattr(kinds.Kinds, "by_hour", lambda *_: None)

        def lone(*asked, of=None, **_):
            return columns.lone(*asked, of=of)

        for module in (columns, several, daily):
            monkeypatch.setattr(module, "folded", lone)
        for module in (summaries, daily, totals):
            monkeypatch.setattr(module, "lone_parts", lambda *asked, **more: [lone(*asked, **more)])

    return begin


@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_sums_are_those_of_each_event(url, choice, one_by_one):
    """Of each report, in their order; and those by host add up to them."""
    with open_reader(url) as reader:
        found = {
            each.name: summaries.sums(reader, each, choice, interpret=False) for each in SUMMED
        }
        one_by_one()
        for report in SUMMED:
            hosts = (GROUPS["host"],)
            grouped = summaries.sums(reader, report, choice, hosts, interpret=False)
            by_value: Counter[object] = Counter()
            for each in grouped:
                by_value[each.value] += each.hits
            assert {each.value: each.hits for each in found[report.name]} == by_value, report.name
            same = summaries.sums(reader, report, choice, interpret=False)
            assert [each[1:] for each in found[report.name]] == [each[1:] for each in same]


@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_the_summary_is_that_of_each_event(url, choice, one_by_one):
    """Each of its numbers; of all times what a time has that is as long as all of them."""
    with open_reader(url) as reader:
        found = totals.totals(reader, choice)
        one_by_one()
        if choice == Choice():
            choice = Choice(span=Span(1, END - 1))
        assert totals.totals(reader, choice) == found
        assert found[-1].value > 10


@pytest.mark.parametrize("most", [None, 1])
@pytest.mark.parametrize("choice", list(CHOICES.values())[1:], ids=list(CHOICES)[1:])
def test_the_daily_review_is_that_of_each_event(url, choice, one_by_one, monkeypatch, most):
    """Each section and plot; if there are too many kinds of events to keep, too."""
    if most is not None:
        monkeypatch.setattr(kinds, "_MOST", most)
    with open_reader(url) as reader:
        found = daily.daily(reader, choice)
        one_by_one()
        same = daily.daily(reader, choice)
        for one, other in zip(found.sections, same.sections, strict=True):
            assert Counter(one.rows) == Counter(other.rows), one.name
            assert one.hits == other.hits
        assert found.hours == same.hours
        assert found.events == same.events > 10


@pytest.mark.parametrize("kind", ["AVC", "USER_LOGIN"])
def test_files_of_an_event_whose_copy_has_none(url, kind):
    """It stays an orphan when a copy without them comes, so that reports find its files."""
    said = "pid=1 uid=0 auid=1 ses=1 msg='op=login exe=\"/x\" hostname=h addr=? res=success'"
    first = record(kind, 8000, said)
    path = f'item=0 name="/lone/{kind}" inode=1 mode=0100644 nametype=NORMAL'
    load(url, first + record("PATH", 8000, path), name=f"{kind}-a")
    load(url, first, name=f"{kind}-b")
    load(url, first + opening(8001), name=f"{kind}-c")
    with open_reader(url) as reader:
        found = summaries.sums(reader, BY_NAME["file"], Choice(), interpret=False)
    assert [each.hits for each in found if each.value == f"/lone/{kind}"] == [1]
