"""The view `logins` has the sessions that aulast's rules give, whatever the log holds."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from fixtures.logs import SECOND, call, load, record, rows

from auditsvc.store.views import logins

UNSET = 4294967295
SEED = 20251129
KINDS = ("LOGIN", "LOGIN", "USER_LOGIN", "USER_LOGIN", "USER_END", "USER_END")
RARE = ("SYSTEM_BOOT", "SYSTEM_SHUTDOWN")


class Told:
    """One event of a made log."""

    def __init__(self, chance, serial):
        self.serial, self.second = serial, SECOND + serial // 3
        self.kind = chance.choice(KINDS + RARE if chance.random() < 0.2 else KINDS)
        self.pid, self.ses = chance.choice((7, 7, 8)), chance.choice((1, 1, 2, UNSET))
        self.auid, self.user = chance.choice((0, 1000, UNSET)), chance.choice((0, 1000))
        self.failed = chance.random() < 0.4
        self.in_call = self.kind == "LOGIN" and chance.random() < 0.5
        self.failed_login = self.kind == "USER_LOGIN" and self.failed
        self.event_id = 0

    @property
    def line(self):
        """Give its records."""
        ids = f"pid={self.pid} uid=0 auid={self.auid} ses={self.ses}"
        when = {"second": self.second, "ms": 0}
        if self.kind == "LOGIN":
            body = f"pid={self.pid} uid=0 old-auid={UNSET} auid={self.auid} ses={self.ses} res=1"
            own = record("LOGIN", self.serial, body, **when)
            return (call(self.serial, nr=1, pid=1, **when) if self.in_call else "") + own
        result = "failed" if self.failed else "success"
        said = f'op=x id={self.user} acct="u{self.serial}" res={result}'
        return record(self.kind, self.serial, f"{ids} msg='{said}'", **when)


def of_rules(told):
    """Give the rows of one host's log, in the order of events."""
    found, boots = [], [each for each in told if each.kind == "SYSTEM_BOOT"]
    lives = []
    # Without a session it was refused, or takes the user away.
    for login in (each for each in told if each.kind == "LOGIN" and each.ses != UNSET):
        after = [each for each in told if each.event_id > login.event_id]
        boot = next((each for each in after if each.kind == "SYSTEM_BOOT"), None)
        life = after[: after.index(boot)] if boot else after
        again = next((e for e in life if e.kind == "LOGIN" and e.ses == login.ses), None)
        life = life[: life.index(again)] if again else life
        own = [e for e in life if login.ses != UNSET and e.ses == login.ses and e.pid == login.pid]
        own = [e for e in own if login.auid != UNSET and is_of(e, login.auid)]
        lives += own
        first = next((e for e in own if e.kind == "USER_LOGIN"), None)
        closing = next((e for e in own if e.kind == "USER_END" or e.failed_login), None)
        failed = first is not None and first.failed
        how = ("failed" if failed else "logout") if closing else "gone" if again else None
        how = how or ("down" if boot else None)
        ended = closing or again or boot
        kind = "failed" if failed else "session"
        found.append((login, kind, login.auid, first, (ended, how)))
    for each in told:
        if each.failed_login and each not in lives:
            auid = each.user if each.auid == UNSET else each.auid
            found.append((each, "failed", auid, each, (each, "failed")))
    for boot, following in pairwise([*boots, None]):
        after = [e for e in told if e.event_id > boot.event_id]
        after = after[: after.index(following)] if following else after
        down = next((e for e in after if e.kind == "SYSTEM_SHUTDOWN"), None)
        how = "down" if down else "crash" if following else None
        found.append((boot, "boot", UNSET, None, (down or following, how)))
    return [shown(*each) for each in sorted(found, key=lambda row: row[0].event_id)]


def is_of(told, auid):
    """Whether an event in a session's life and process is of its user."""
    if told.kind not in ("USER_LOGIN", "USER_END"):
        return False
    return told.auid == auid or (told.kind == "USER_LOGIN" and told.user == auid)


def shown(told, kind, auid, user_login, ended_by):
    """Give a row as the view has it."""
    ended, how = ended_by
    of_boot = kind == "boot"
    return {
        "event_id": told.event_id,
        "kind": kind,
        "auid": None if auid == UNSET else auid,
        "account": user_login and f"u{user_login.serial}",
        "ses": None if of_boot or told.ses == UNSET else told.ses,
        "pid": None if of_boot else told.pid,
        "how_ended": how,
        "user_login_event_id": user_login and user_login.event_id,
        "end_event_id": ended and ended.event_id,
    }


@pytest.mark.one_database
@pytest.mark.parametrize(
    "number", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 12))]
)
def test_sessions_are_those_of_the_rules(url, number):
    """Random logins, ends and boots: in calls and alone, of equal pids, sessions and users."""
    chance = random.Random(SEED + number)
    logs = {}
    for host in ("box", "other"):
        first = 1 if host == "box" else 500
        told = [Told(chance, serial) for serial in range(first, first + 120)]
        load(url, "".join(each.line for each in told), host, host=host)
        ids = "SELECT event_id, serial FROM {} WHERE host = '{}'"
        found = {
            row["serial"]: row["event_id"]
            for view in ("events", "syscalls")
            for row in rows(url, ids.format(view, host))
        }
        for each in told:
            each.event_id = found[each.serial]
        logs[host] = told
    columns = ", ".join(shown(logs["box"][0], "boot", 0, None, (None, None)))
    for host, told in logs.items():
        sql = f"SELECT {columns} FROM logins WHERE host = '{host}' ORDER BY event_id"
        assert rows(url, sql) == of_rules(told)
    every = rows(url, "SELECT * FROM logins ORDER BY time DESC, event_id DESC")
    for limit in (1, 7, 40):
        last = f"SELECT * FROM logins ORDER BY time DESC, event_id DESC LIMIT {limit}"
        assert rows(url, last) == every[:limit]
    if url.startswith("sqlite"):  # too many texts to look at each
        said = "pid=1 uid=0 auid=1 ses=1 msg='op=x acct=\"n{}\" res=success'"
        many = (record("USER_LOGIN", n, said.format(n)) for n in range(logins.FEW + 1))
        load(url, "".join(many), "many", host="many")
        assert rows(url, "SELECT * FROM logins ORDER BY time DESC, event_id DESC") == every


FORGED = (
    'acct="m" res=failed',
    "op=x RES=success res=failed",
    'op=x,"res":"success" res=failed',
    'op=x a"res=success res=failed',
    'op=x ,"res":"success",=1 res=failed',
    "res=success res=failed",
)


def test_no_words_make_a_failed_login_another(url):
    """What looks like the outcome, in another field's name or value, is not."""
    made = "".join(
        record("USER_LOGIN", n, f"pid=7 uid=0 auid=1000 ses=1 msg='{said}'")
        for n, said in enumerate(FORGED, 1)
    )
    # The last is that of libaudit.
    for n, said in enumerate(("op=x res=success", "res=failed res=success"), 90):
        made += record("USER_LOGIN", n, f"pid=7 uid=0 auid=1000 ses=1 msg='{said}'")
    load(url, made)
    failed = "SELECT e.serial FROM logins l JOIN events e USING (event_id) WHERE l.kind = 'failed'"
    assert sorted(row["serial"] for row in rows(url, failed)) == [1, 2, 3, 4, 5, 6]
