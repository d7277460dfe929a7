"""Names of users and groups as they were when an event came."""

from __future__ import annotations

import pytest
from fixtures.days import TODAY, prune
from fixtures.logs import SECOND, Pipe, call, ledger, load, login, proctitle, record, rows
from fixtures.searching import found_ids

from auditsvc.decode import DECODERS
from auditsvc.processes.drawing import draw
from auditsvc.processes.report import Asked, find_trees
from auditsvc.report import several
from auditsvc.report.choice import Choice
from auditsvc.report.reader import open_reader
from auditsvc.search import interpret, summary
from auditsvc.search.criteria import Criteria
from auditsvc.search.select import found_events
from auditsvc.store import open_store
from auditsvc.store.read.time_span import ALL

WHO = "auid=4294967295 pid=1 uid=0 ses=4294967295 subj=unconfined res=success"


def name(serial, number, acct, *, kind="user", after=0, rest="", **options):
    """Give the service's record of a name."""
    told = "" if acct is None else f' acct="{acct}"'
    body = f"op=name kind={kind} id={number}{told} {WHO}{rest}"
    return record("DAEMON_CONFIG", serial, body, second=SECOND + after, **options)


def called(url):
    """Give the names of each call's ids, in the order of serials."""
    found = rows(url, "SELECT auid_name, uid_name, gid_name FROM syscalls ORDER BY serial")
    return [tuple(row.values()) for row in found]


def test_each_event_has_the_name_of_its_time(url):
    """Renamed, deleted, and given to another: no event takes a name of later."""
    log = [call(n, second=SECOND + 100 * n, auid=1000, uid=1000, gid=5) for n in range(1, 5)]
    log += [
        name(1001, 1000, "alice", after=110),  # recorded just after the first call came
        name(1002, 1000, "alicia", after=250),
        name(1003, 1000, None, after=350),
        name(1004, 1000, "bob", after=450),
        name(1005, 5, "tty", kind="group", after=110),
        name(1006, 1000, "daemon", kind="group", after=110),
    ]
    load(url, "".join(log), kind="spool")
    assert called(url) == [
        ("alice", "alice", "tty"),
        ("alice", "alice", "tty"),
        ("alicia", "alicia", "tty"),
        (None, None, "tty"),
    ]
    found = rows(url, "SELECT kind, id, name FROM names ORDER BY kind, id, since")
    assert [tuple(row.values()) for row in found] == [
        ("group", 5, "tty"),
        ("group", 1000, "daemon"),
        *(("user", 1000, each) for each in ("alice", "alicia", None, "bob")),
    ]


def test_events_and_processes_have_names(url):
    """As calls have; an id that is unset has none."""
    load(
        url,
        name(1, 1000, "alice") + name(2, 0, "root") + name(3, 4294967294, "nobody2")
        + login(4, ms=500) + call(5, auid=1000, uid=0, ms=500) + call(6, pid=7, ms=500),
        kind="spool",
    )  # fmt: skip
    assert rows(url, "SELECT auid_name, uid_name FROM events WHERE type = 'USER_LOGIN'") == [
        {"auid_name": "alice", "uid_name": "root"}
    ]
    found = rows(url, "SELECT auid_name, uid_name FROM processes ORDER BY pid")
    assert [tuple(row.values()) for row in found] == [(None, "alice"), ("alice", "root")]
    assert {("alice", "root"), ("system", "root")} <= told(url)


def told(url):
    """Give who did what as whom, as `story` says it."""
    return {tuple(row.values()) for row in rows(url, "SELECT actor, as_user FROM story")}


def test_a_name_of_digits_is_no_id(url):
    """Beside ids it stands in quotes, in words and in trees; a column of names has it as it is."""
    rest = '\x1dARCH=x86_64 SYSCALL=open AUID="1001" UID="root" GID="x" EUID="7"'
    log = (
        name(1, 5, "1000")
        + name(2, 1000, "77")
        + login(5, ms=500)
        + call(3, auid=5, uid=0, pid=50, ms=500)
    )
    load(url, log + call(4, auid=6, uid=7, pid=60, ms=500, rest=rest), kind="spool")
    assert {('"1000"', "0"), ('"1001"', '"7"'), ('"77"', "0")} <= told(url)
    assert ("1000", "0") not in told(url)
    found = rows(url, "SELECT auid_name FROM syscalls ORDER BY serial")
    assert [row["auid_name"] for row in found] == ["1000", "1001"]
    (tree,) = find_trees(url, Asked(ALL, pid=50), depth=0, limit=0)
    assert '  "1000" as 0  ' in next(draw([tree], lambda _host, _uid: None))


def test_what_is_no_id_has_no_name_in_a_story(url):
    """Not that of root, whose id is what SQL makes of a word."""
    words = ("abc", "0x0", "00", "-0", "0 ", "18446744073709551616")
    log = [name(1, 0, "root")]
    for serial, word in enumerate(words, 2):
        text = word.encode().hex().upper() if " " in word else word
        log.append(
            record(
                "USER_ACCT", serial, f"pid=1 uid={text} auid=5 ses=1 msg='op=x res=success'", ms=500
            )
        )
    load(url, "".join(log), kind="spool")
    assert ("5", "root") not in told(url)
    assert len([1 for actor, _ in told(url) if actor == "5"]) == len(words)


def test_only_our_own_service_is_believed(url):
    """Not a log that others wrote, nor a line that was passed on, nor what is no name."""
    log = [
        name(1, 1000, "mallory", rest="\x1dFOREIGN=1"),
        name(2, "x", "mallory"),
        name(3, 4294967295, "mallory"),
        name(4, -1, "mallory"),
        name(8, "9" * 5000, "mallory"),
        name(9, "\u0661", "mallory"),
        name(5, 1000, "mallory", kind="role"),
        record("DAEMON_CONFIG", 6, f'op=other kind=user id=1000 acct="mallory" {WHO}'),
        record("USER_ACCT", 7, f'op=name kind=user id=1000 acct="mallory" {WHO}'),
    ]
    load(url, "".join(log) + call(10, uid=1000, ms=500), kind="spool")
    load(url, name(11, 1000, "eve") + call(12, ms=500), "other", kind="file")
    assert rows(url, "SELECT * FROM names") == []
    assert called(url) == [(None, None, None)] * 2
    assert ledger(url)["raw"] == 0


def test_a_name_that_came_by_another_log_first(url):
    """Once our own spool has the same record, it is believed."""
    load(url, name(1, 1000, "alice"), "copy", kind="file")
    load(url, name(1, 1000, "alice") + call(2, uid=1000, ms=500), kind="spool")
    assert called(url) == [(None, "alice", None)]


def test_an_enriched_log_brings_its_names(url):
    """What auditd wrote into the record is the name of that moment."""
    rest = '\x1dARCH=x86_64 SYSCALL=open AUID="unset" UID="carol" GID="staff" EUID="root"'
    load(url, call(1, rest=rest, gid=5))
    assert called(url) == [(None, "carol", "staff")]
    assert told(url) == {("system", "root")}


SAID = 'AUID="root" UID="root" ID="root" (AUID="root") OLD-AUID="root" SADDR={ x=1 }'


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("label", ["", "subj=xmsg='a "])
@pytest.mark.parametrize("mark", ["", "\x1d", "' ", "#035"])
def test_a_program_does_not_say_who_it_was(url, decoder, mark, label, monkeypatch):
    """What its message has under auditd's names of enriched fields is kept as words.

    A program may send any message (CAP_AUDIT_WRITE), so root in a container may, too.
    """
    body = f"pid=5 uid=1000 auid=1001 ses=1 {label}msg='op=x {mark}{SAID} acct=\"bob\" res=success'"
    line = record("USER_ACCT", 1, body)
    behind = '\x1dUID="carol" AUID="dave" ID="bob"'
    monkeypatch.setattr(Pipe, "decoder", decoder)
    load(url, line)
    load(url, record("USER_ACCT", 2, body + behind), "enriched")
    names = rows(url, "SELECT auid_name, uid_name FROM events ORDER BY serial")
    assert [tuple(row.values()) for row in names] == [(None, None), ("dave", "carol")]
    assert told(url) == {("1001", "1000"), ("dave", "carol")}
    (words,) = rows(url, "SELECT fields ->> '_' AS words FROM events WHERE serial = 1")
    assert all(word in words["words"] for word in SAID.split(" (", maxsplit=1)[0].split())


def test_a_hostile_name_is_a_text(url):
    """Encoded as the kernel encodes untrusted text."""
    text = b"a b\x1b\xff\n".hex().upper()
    load(url, name(1, 1000, "x").replace('"x"', text) + call(2, uid=1000, ms=500), kind="spool")
    assert called(url) == [(None, "a b\x1b\\xFF\n", None)]


def test_names_of_pruned_days_go(url):
    """They are recorded again every day."""
    after = TODAY * 86_400 - SECOND
    log = name(1, 1000, "alice", after=after - 3 * 86_400) + name(2, 1000, "alice", after=after)
    load(url, log + call(3, second=TODAY * 86_400 - 200_000), kind="spool")
    with open_store(url) as store:
        prune(store.database, keep="1d")
    assert len(rows(url, "SELECT * FROM names")) == 1


CLAIMS = (
    'pid=1 uid=0 auid=0 ses=1 ppid=1 euid=0 gid=0 egid=0 arch=c000003e key="root-key"'
    ' acct="bob" exe="/usr/sbin/sshd" res=success'
)
OF_THE_KERNEL = [
    "--ppid 1",
    "-ue 0",
    "-gi 0",
    "-ge 0",
    "-ga 0",
    "-k root-key",
    "-p 1",
    "-ul 0",
    "--arch x86_64",
]


@pytest.mark.one_database
@pytest.mark.parametrize(
    "kind", ["USER_LOGIN", "USER_CMD", "USER", "UNKNOWN[1199]", "UNKNOWN[2998]"]
)
def test_a_program_claims_no_user_and_no_key_of_a_rule(url, kind):
    """What only the kernel says stays the kernel's, whatever fields the message's own text has."""
    load(url, record(kind, 1, f"pid=500 uid=1000 auid=1001 ses=7 msg='op=x {CLAIMS}'"))
    (told,) = rows(url, "SELECT actor, as_user, key, pid, uid, auid, ses FROM story")
    assert tuple(told.values()) == ("1001", "1000", None, 500, 1000, 1001, 7)
    (whole,) = rows(url, "SELECT pid, uid, auid, ses, key FROM all_events")
    assert tuple(whole.values()) == (500, 1000, 1001, 7, None)
    assert len(found_ids(url, "-ui", "1000")) == 1  # it cannot hide itself
    for words in OF_THE_KERNEL:
        assert found_ids(url, *words.split()) == [], words
    with found_events(url, Criteria()) as found:
        told = summary.summary(next(iter(found.events)))
    assert (told.key, told.acting) == ("", interpret.user("1000"))
    with open_reader(url) as reader:
        assert list(several.counts(reader, "key", Choice(), ())) == []


PROMISCUOUS = "prom=256 old_prom=0 auid=1000 uid=1000 gid=1000 ses=3"
NETFILTER = 'family=1 entries=1 op=nft_register_table pid=777 subj=unconfined comm="nft"'


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    "case",
    [
        ("ANOM_PROMISCUOUS", "dev", "a\x1dauid=0\x1duid=0", PROMISCUOUS, (None, 1000, 1000, 3)),
        ("ANOM_PROMISCUOUS", "dev", 'aAUID="root"', PROMISCUOUS, (None, 1000, 1000, 3)),
        ("ANOM_PROMISCUOUS", "dev", 'a\x1dAUID="root"', PROMISCUOUS, (None, 1000, 1000, 3)),
        (
            *("NETFILTER_CFG", "table"),
            'x pid=1 auid=0 uid=0 ses=1 AUID="root" key="k" family=2 comm="systemd"',
            *(NETFILTER, (777, None, None, None)),
        ),
        ("NETFILTER_CFG", "table", "x msg='pid=1 \"{ ", NETFILTER, (777, None, None, None)),
    ],
)
def test_a_name_that_a_user_chose_says_nothing(url, decoder, case, monkeypatch):
    """The kernel writes names of devices and of nftables' tables as they are, before its own.

    Any user makes such in a user namespace of his own; alone, the record is all that tells who.
    """
    kind, field, chosen, rest, who = case
    monkeypatch.setattr(Pipe, "decoder", decoder)
    load(url, record(kind, 1, f"{field}={chosen} {rest}"))
    (row,) = rows(
        url, f"SELECT pid, uid, auid, ses, auid_name, fields ->> '{field}' AS name FROM events"
    )
    assert tuple(row.values()) == (*who, None, chosen)
    (told,) = rows(url, "SELECT pid, auid, uid, key FROM changes")
    assert (told["pid"], told["uid"], told["auid"], told["key"]) == (*who[:3], None)


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_name_that_a_user_chose_parts_no_record_from_its_call(url, decoder, monkeypatch):
    """The pid in it is not that of another task."""
    monkeypatch.setattr(Pipe, "decoder", decoder)
    name = record("NETFILTER_CFG", 1, f"table=x pid=1 {NETFILTER}")
    second = record("NETFILTER_CFG", 1, f"table=y pid=2 {NETFILTER}")
    load(url, name + second + call(1, pid=777, items=0) + proctitle(1))
    assert rows(url, "SELECT count(*) AS n FROM syscalls") == [{"n": 1}]
    assert rows(url, "SELECT count(*) AS n FROM events") == [{"n": 0}]
