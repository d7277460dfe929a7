"""`logins`: sessions as aulast lists them, with the events that prove them; failed logins; boots.

A LOGIN (its pid, auid and session) opens a session. USER_LOGIN of the same process, user and
session tells from where and on which terminal; USER_END of the same three closes it (`logout`),
another LOGIN of that session (`gone`), or a boot (`down`). A LOGIN without a session opens none:
it was refused, as anybody may try one, or it takes the user away. A boot is closed by a shutdown
(`down`), or by the next boot (`crash`). These are aulast's rules (audit-userspace,
tools/aulast); but a session without a USER_LOGIN, as cron has them, is a row here too, with
`user_login_event_id` NULL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.record.types import LOGIN
from auditsvc.store.schema import LOGIN_TYPES, USER_LOGIN
from auditsvc.store.views import words
from auditsvc.store.views.changes import TOLD
from auditsvc.store.views.dialect import SQLITE, time

if TYPE_CHECKING:
    from auditsvc.store.views.dialect import Dialect

_USER_END, _BOOT, _SHUTDOWN = 1106, 1127, 1128
_LAST: Final = (1 << 63) - 1
_SUCCEEDED: Final = """',"res":"success"'"""
"""In the JSON of a login's fields that did not fail, and of no other: in a name or a value a quote
has a backslash before it. So most need not be read as JSON."""


def _of(short: str, kind: int) -> str:
    """Give the condition for events of a kind that the index `event_login` has."""
    return f"{short}.type IN ({', '.join(map(str, LOGIN_TYPES))}) AND {short}.type = {kind}"


def logins(d: Dialect) -> str:
    """Give the view.

    What a session's end follows from is looked up for each session that is shown: a store has
    many more USER_LOGIN and USER_END than anybody asks for at once.
    """
    in_record = d.json.format("told.value", "r.event")
    in_login = d.json.format("told.value", "u.id")
    shown = _fields(d, in_login)
    ids = ", ".join(f"{_number(d, in_record, name)} AS {name}" for name in ("pid", "auid", "ses"))
    # Boots are counted in the number of each session's events: a session ends with them.
    return f"""
        WITH {_said(d)} login AS (
            SELECT e.id, e.host, e.ms, e.pid, e.auid, e.ses
            FROM event e
            WHERE {_of("e", LOGIN)} AND e.ses IS NOT NULL
            UNION ALL
            SELECT s.id, c.host, s.ms, {ids}
            FROM record r
            JOIN text told ON told.id = r.fields
            JOIN syscall s ON s.id = r.event
            JOIN context c ON c.id = s.context
            WHERE {TOLD} AND r.type = {LOGIN} AND {_number(d, in_record, "ses")} IS NOT NULL
        ),
        placed AS (
            SELECT login.*, {_boot("login.host", "login.id")} AS boot,
                (SELECT min(b.id) FROM event b WHERE b.type = {_BOOT} AND b.host = login.host
                    AND b.id > login.id) AS next_boot
            FROM login
        ),
        opened AS (
            SELECT placed.*, lead(id) OVER (PARTITION BY host, boot, ses ORDER BY id) AS following
            FROM placed
        ),
        ended AS (
            SELECT x.*, {_first(d, USER_LOGIN)} AS user_login,
                {d.least.format(_first(d, _USER_END), _first(d, USER_LOGIN, "failed"))} AS closing
            FROM opened x
        ),
        boots AS (
            SELECT e.id, e.ms, e.host, lead(e.id) OVER (PARTITION BY e.host ORDER BY e.id) AS next
            FROM event e
            WHERE e.type = {_BOOT}
        )
        SELECT x.id AS event_id, {_host("x.host")} AS host, {time(d, "x")} AS time,
            CASE WHEN {shown["outcome"]} = 'failed' THEN 'failed' ELSE 'session' END AS kind,
            x.auid, {shown["account"]} AS account, x.ses, x.pid, {shown["terminal"]} AS terminal,
            {shown["address"]} AS address,
            {_moment(d, "coalesce(x.closing, x.following, x.next_boot)")} AS ended,
            CASE WHEN x.closing IS NOT NULL THEN
                    CASE WHEN {shown["outcome"]} = 'failed' THEN 'failed' ELSE 'logout' END
                WHEN x.following IS NOT NULL THEN 'gone'
                WHEN x.next_boot IS NOT NULL THEN 'down' END AS how_ended,
            x.user_login AS user_login_event_id,
            coalesce(x.closing, x.following, x.next_boot) AS end_event_id
        FROM ended x
        LEFT JOIN event u ON u.id = x.user_login
        LEFT JOIN text told ON told.id = u.fields
        UNION ALL
        {_failed(d)}
        UNION ALL
        SELECT x.id, {_host("x.host")}, {time(d, "x")}, 'boot', CAST(NULL AS bigint),
            CAST(NULL AS text), CAST(NULL AS bigint), CAST(NULL AS bigint), CAST(NULL AS text),
            CAST(NULL AS text), {_moment(d, "x.ending")},
            CASE WHEN x.ending IS NULL THEN NULL WHEN x.ending = x.next THEN 'crash'
                ELSE 'down' END, CAST(NULL AS bigint), x.ending
        FROM (
            SELECT boots.*, coalesce((SELECT min(e.id) FROM event e WHERE e.type = {_SHUTDOWN}
                AND e.host = boots.host AND e.id > boots.id
                AND (boots.next IS NULL OR e.id < boots.next)), boots.next) AS ending
            FROM boots
        ) x"""  # noqa: S608 - of this package's texts only


def _failed(d: Dialect) -> str:
    """Give the USER_LOGIN that failed and that no session ended with."""
    source = d.json.format("told.value", "e.id")
    told, user = _fields(d, source), _user_id(d, source)
    read = _refused(d, told | {"who": user}, "event e JOIN text told ON told.id = e.fields")
    if d is not SQLITE:
        return read
    # A text that tells it is read once, and not for each event: if they are few.
    once = {name: f"f.{name}" for name in ("account", "terminal", "address", "who")}
    found = _refused(d, once, "refused f CROSS JOIN event e", "e.fields = f.id")
    return f"{found} UNION ALL {read} AND {_ARE_MANY}"


def _refused(d: Dialect, told: dict[str, str], source: str, joined: str = "") -> str:
    """Give their rows; `told`: what their text says."""
    tests = joined or (
        f"NOT {d.holds.format('told.value', _SUCCEEDED)} AND {told['outcome']} = 'failed'"
    )
    kind = f"e.type = {USER_LOGIN}" if joined else _of("e", USER_LOGIN)
    return f"""SELECT e.id, {_host("e.host")}, {time(d, "e")}, 'failed',
            coalesce(e.auid, {told["who"]}), {told["account"]}, e.ses, e.pid, {told["terminal"]},
            {told["address"]}, {time(d, "e")}, 'failed', e.id, e.id
        FROM {source}
        WHERE {kind} AND {tests}
            AND (e.ses IS NULL OR NOT EXISTS (SELECT 1 FROM opened x WHERE x.ses = e.ses
                AND x.host = e.host AND x.id < e.id AND coalesce(x.following, {_LAST}) > e.id
                AND x.boot = {_boot("e.host", "e.id")} AND x.pid = e.pid
                AND (x.auid = e.auid OR x.auid = {told["who"]})))"""  # noqa: S608 - of this package's texts only


FEW: Final = 1000
"""Different texts of USER_LOGIN up to which each of them is looked at."""
_ARE_MANY: Final = f"(SELECT count(*) FROM said) > {FEW}"  # noqa: S608 - a number


def _said(d: Dialect) -> str:
    """Give the tables of the texts of USER_LOGIN, and of those that tell of a refusal."""
    if d is not SQLITE:
        return ""
    source = d.json.format("told.value", "said.fields")
    told = _fields(d, source)

    def following(behind: str) -> str:
        return (
            f"(SELECT d.fields FROM event d WHERE d.type = {USER_LOGIN} {behind}"  # noqa: S608 - ours
            " ORDER BY d.fields LIMIT 1)"
        )

    return f"""RECURSIVE said (fields) AS (
            SELECT {following("")}
            UNION ALL SELECT {following("AND d.fields > said.fields")}
            FROM said WHERE said.fields IS NOT NULL LIMIT {FEW + 1}
        ),
        refused AS MATERIALIZED (
            SELECT told.id, {told["account"]} AS account, {told["terminal"]} AS terminal,
                {told["address"]} AS address, {_user_id(d, source)} AS who
            FROM said JOIN text told ON told.id = said.fields
            WHERE NOT {_ARE_MANY} AND NOT {d.holds.format("told.value", _SUCCEEDED)}
                AND {told["outcome"]} = 'failed'
        ),"""  # noqa: S608 - ours


_UNSET: Final = 4294967295


def _boot(host: str, event: str) -> str:
    """Give the boot that an event is in; 0 before the first one that is known."""
    return (
        f"coalesce((SELECT max(b.id) FROM event b WHERE b.type = {_BOOT} AND b.host = {host}"  # noqa: S608
        f" AND b.id < {event}), 0)"
    )


def _first(d: Dialect, kind: int, outcome: str = "") -> str:
    """Give the first event of a kind, and of an outcome, that belongs to the session `x`."""
    source = d.json.format("told.value", "m.id")
    whose = "m.auid = x.auid"
    if kind == USER_LOGIN:
        whose = f"({whose} OR {_user_id(d, source)} = x.auid)"
    if outcome:
        whose += f" AND {_fields(d, source)['outcome']} = '{outcome}'"
    return (
        "(SELECT min(m.id) FROM event m JOIN text told ON told.id = m.fields"  # noqa: S608 - ours
        f" WHERE {_of('m', kind)} AND m.ses = x.ses AND m.host = x.host AND m.pid = x.pid"
        f" AND m.id > x.id AND m.id < coalesce(x.following, x.next_boot, {_LAST}) AND {whose})"
    )


def _number(d: Dialect, source: str, name: str) -> str:
    return f"nullif({d.number.format(words.field(d, source, name))}, {_UNSET})"


def _user_id(d: Dialect, source: str) -> str:
    """Give the user who logged in, as USER_LOGIN tells it."""
    told = f"coalesce({words.field(d, source, 'id')}, {words.last_field(d, source, 'uid')})"
    return d.number.format(told)


def _fields(d: Dialect, source: str) -> dict[str, str]:
    def told(name: str) -> str:
        return words.own_field(d, source, name)

    return {
        "account": words.known(words.field(d, source, "acct")),
        "terminal": told("terminal"),
        "address": f"coalesce({told('hostname')}, {told('addr')})",
        "outcome": f"CASE WHEN lower({told('res')}) IN ('success', '1', 'yes') THEN 'success'"
        f" WHEN {told('res')} IS NOT NULL THEN 'failed' END",
    }


def _host(key: str) -> str:
    return f"(SELECT h.name FROM host h WHERE h.id = {key})"  # noqa: S608 - ours


def _moment(d: Dialect, event: str) -> str:
    """Give the time of an event of either table."""
    parts = (
        f"(SELECT {time(d, short)} FROM {table} {short} WHERE {short}.id = {event})"  # noqa: S608
        for table, short in (("event", "e"), ("syscall", "s"))
    )
    return f"coalesce({', '.join(parts)})"
