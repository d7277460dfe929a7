"""What pages count and find by other ways than the views is what the views have."""

from __future__ import annotations

import re

import pytest
from fixtures.logs import SECOND, Pipe, call, load, opening, record, rows
from fixtures.web import Seen, client_of

from auditsvc.access.client import Access
from auditsvc.store.read.time_span import Span
from auditsvc.web import rare
from auditsvc.web.asking import Asking
from auditsvc.web.counts import CALL, Counts, Hours, call_names, names_of, programs
from auditsvc.web.overview import Narrowed
from auditsvc.web.period import Period

HOUR = 3600
PERIOD = Period(Span(SECOND - 40 * HOUR, SECOND + 40 * HOUR), "", "")
MOUNT, INIT_MODULE = 165, 175


def log(first):
    """Give calls of three days by several programs and users, changes among them."""
    made = ""
    for n in range(first, first + 40):
        where = {"second": SECOND + (n % 5 - 2) * 7 * HOUR, "auid": (None, 1000, 1001)[n % 3]}
        who = where | {"exe": f'"/bin/p{n % 7}"', "key": f'"k{n % 2}"' if n % 4 else None}
        if n % 8 == 0:
            made += call(n, nr=MOUNT if n % 16 else INIT_MODULE, **who)
        elif n % 8 == 1:
            change = f'auid=1000 ses=3 op=add_rule key="k{n}" list=4 res=1'
            made += call(n, nr=44, success="yes", exit=90, **who)
            made += record("CONFIG_CHANGE", n, change, second=where["second"])
        elif n % 8 == 2:
            said = f"pid=1 uid=0 auid=1000 ses=3 msg='op=add acct=\"u{n}\" res=success'"
            made += record("ADD_USER", n, said, second=where["second"])
        else:
            failed = {"success": "no", "exit": -13} if n % 3 == 0 else {}
            made += opening(n, f"/etc/f{n}", nr=(2, 257)[n % 2], **who, **failed)
    return made


@pytest.fixture(scope="module")
def url(common_url):
    """Give a store with counts that have joined the rows, and some that have not."""
    load(common_url, log(1))
    Pipe(common_url).load(log(101))
    assert rows(common_url, "SELECT count(*) AS n FROM activity_part")[0]["n"] > 0
    return common_url


@pytest.fixture
def asking(url):
    """Give what asks for a page."""
    return Asking(url, 60.0, Access())


def of_view(url, column, where):
    """Give calls and failed calls by a column of `activity`."""
    false = "0" if url.startswith("sqlite") else "false"
    found = rows(
        url,
        f"SELECT {column} AS value, sum(calls) AS calls, sum(CASE WHEN success = {false} THEN calls"
        f" ELSE 0 END) AS failed FROM activity WHERE {where} GROUP BY {column}",
    )
    return {row["value"]: (int(row["calls"]), int(row["failed"])) for row in found}


NARROWED = [
    ({}, ""),
    ({"exe": "/bin/p3"}, " AND exe = '/bin/p3'"),
    ({"auid": "unset"}, " AND auid IS NULL"),
    ({"auid": "1001", "key": "k1"}, " AND auid = 1001 AND key = 'k1'"),
    ({"syscall": "openat", "host": "box"}, " AND syscall = 'openat' AND host = 'box'"),
    ({"comm": "cat", "uid": "1000"}, " AND comm = 'cat' AND uid = 1000"),
    ({"syscall": "no such call"}, " AND 1 = 0"),
]


@pytest.mark.parametrize(("values", "where"), NARROWED, ids=[str(each[0]) for each in NARROWED])
def test_counts_are_those_of_activity(url, asking, values, where):
    """By hour and by each value, in a part of the time, with and without calls."""
    low, high = SECOND // HOUR - 10, SECOND // HOUR + 10
    shown = f"hour BETWEEN '{_hour(low)}' AND '{_hour(high)}'{where}"
    conditions = Narrowed(values).on_activity(asking)
    counts = Counts.of(asking, Hours(low, high), conditions)
    texts = names_of(asking, [*counts.values["exe"], *counts.values["key"]])
    for column in ("exe", "key"):
        found = {texts.get(id_): (n.calls, n.failed) for id_, n in counts.values[column].items()}
        assert found == of_view(url, column, shown)
    users = counts.values["auid"].items()
    found = {None if user == -1 else user: (n.calls, n.failed) for user, n in users}
    assert found == of_view(url, "auid", shown)
    calls = call_names(asking, counts.values[CALL])
    found = {calls[call]: (n.calls, n.failed) for call, n in counts.values[CALL].items()}
    assert found == of_view(url, "syscall", shown)
    total = sum(n.calls for n in counts.values[CALL].values())
    assert total == sum(n.calls for n in counts.hours.values())
    hours = {_hour(hour): (n.calls, n.failed) for hour, n in counts.hours.items()}
    assert hours == {
        str(at)[:19].replace("T", " "): n for at, n in of_view(url, "hour", shown).items()
    }
    without = Counts.of(asking, Hours(low, high), conditions, calls=False)
    assert without.hours == counts.hours
    assert not without.values[CALL]


def _hour(number):
    at = number * HOUR
    return f"2025-06-{15 + (at - SECOND // 86400 * 86400) // 86400:02} {at // HOUR % 24:02}:00:00"


def test_programs_of_some_hours(url, asking):
    """Each once, also of what has not joined the rows yet."""
    low, high = SECOND // HOUR - 8, SECOND // HOUR
    found = names_of(asking, programs(asking, Hours(low, high))).values()
    where = f"hour BETWEEN '{_hour(low)}' AND '{_hour(high)}'"
    assert sorted(found) == sorted(of_view(url, "exe", where))
    assert programs(asking, Hours(5, 4)) == set()


@pytest.mark.parametrize("few", [0, 20_000], ids=["by time", "by caller"])
@pytest.mark.parametrize("values", [{}, {"auid": "1000"}, {"auid": "unset"}], ids=str)
def test_changes_are_those_of_the_view(url, asking, monkeypatch, few, values):
    """Newest first, whichever way they are found, and if they are more than is read at once."""
    monkeypatch.setattr(rare, "_FEW", few)
    monkeypatch.setattr(rare, "_AT_ONCE", 3)
    narrowed = Narrowed(values)
    where = " AND ".join([*PERIOD.span.conditions, *narrowed.on_views()])
    whole = [row["event_id"] for row in rows(url, f"SELECT event_id FROM changes WHERE {where}")]
    assert len(whole) > 2
    table = rare.newest_changes(asking, PERIOD, narrowed, 100)
    assert [row[0] for row in table.rows] == sorted(whole, reverse=True)
    assert not table.more
    table = rare.newest_changes(asking, PERIOD, narrowed, len(whole) - 1)
    assert [row[0] for row in table.rows] == sorted(whole, reverse=True)[:-1]
    assert table.more


@pytest.mark.one_database
def test_a_session_with_very_many_processes(new_url, tmp_path, monkeypatch):
    """Its newest are looked at, and the page says so; a child is below its parent."""
    monkeypatch.setattr("auditsvc.web.groups._OF_SESSION", 5)
    log = "".join(call(n, nr=59, pid=100 + n, ppid=99, ses=7, second=SECOND + n) for n in range(9))
    load(new_url, log)
    seen = Seen(client_of(new_url, tmp_path).get("/who?session=7").text)
    processes = [each for each in seen.attributes if each[1] == "href" and "/process?" in each[2]]
    assert len(processes) == 5
    assert "Of its processes, the newest" in seen.text
    monkeypatch.setattr("auditsvc.web.groups._OF_SESSION", 9)
    text = Seen(client_of(new_url, tmp_path).get("/who?session=7").text).text
    assert "Of its processes" not in text
    assert len(re.findall(r"cat\[10\d\]", text)) == 9
