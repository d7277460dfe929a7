"""`logins`: sessions as aulast lists them, with the events that prove them; failed logins; boots.

A LOGIN (its pid, auid and session) opens a session. USER_LOGIN of the same process, user and
session tells from where and on which terminal; USER_END of the same three closes it (`logout`),
another LOGIN of that session (`gone`), or a boot (`down`). A boot is closed by a shutdown
(`down`), or by the next boot (`crash`). These are aulast's rules (audit-userspace,
tools/aulast); but a session without a USER_LOGIN, as cron has them, is a row here too, with
`user_login_event_id` NULL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.record.types import LOGIN
from auditsvc.store.views import words
from auditsvc.store.views.changes import TOLD
from auditsvc.store.views.dialect import time

if TYPE_CHECKING:
    from auditsvc.store.views.dialect import Dialect

_USER_END, _USER_LOGIN, _BOOT, _SHUTDOWN = 1106, 1112, 1127, 1128


def logins(d: Dialect) -> str:
    """Give the view."""
    in_event = d.json.format("told.value", "e.id")
    in_record = d.json.format("told.value", "r.event")
    # Boots are counted in the number of each session's events: a session ends with them.
    return f"""
        WITH told AS (
            SELECT e.id, e.host, e.ms, e.type, {_ids(d, in_event)}, {_fields(d, in_event)}
            FROM event e
            JOIN text told ON told.id = e.fields
            WHERE e.type IN ({LOGIN}, {_USER_LOGIN}, {_USER_END})
            UNION ALL
            SELECT s.id, c.host, s.ms, r.type, {_ids(d, in_record)}, {_fields(d, in_record)}
            FROM record r
            JOIN text told ON told.id = r.fields
            JOIN syscall s ON s.id = r.event
            JOIN context c ON c.id = s.context
            WHERE {TOLD} AND r.type = {LOGIN}
        ),
        placed AS (
            SELECT told.*, coalesce((SELECT max(b.id) FROM event b WHERE b.type = {_BOOT}
                AND b.host = told.host AND b.id < told.id), 0) AS boot
            FROM told
        ),
        numbered AS (
            SELECT placed.*, sum(CASE WHEN type = {LOGIN} THEN 1 ELSE 0 END) OVER (
                PARTITION BY host, boot, ses ORDER BY id ROWS UNBOUNDED PRECEDING) AS number
            FROM placed
        ),
        opened AS (
            SELECT numbered.*, min(CASE WHEN type = {LOGIN} THEN pid END) OVER life AS login_pid,
                min(CASE WHEN type = {LOGIN} THEN auid END) OVER life AS login_auid
            FROM numbered
            WINDOW life AS (PARTITION BY host, boot, ses, number)
        ),
        marked AS (
            SELECT opened.*, CASE WHEN number > 0 AND ses IS NOT NULL AND pid = login_pid
                AND (auid = login_auid OR type = {_USER_LOGIN} AND user_id = login_auid)
                THEN 1 ELSE 0 END AS matches
            FROM opened
        ),
        sessions AS (
            SELECT host, boot, ses, min(CASE WHEN type = {LOGIN} THEN id END) AS id,
                min(CASE WHEN type = {LOGIN} THEN ms END) AS ms, login_pid AS pid,
                login_auid AS auid, number,
                min(CASE WHEN matches = 1 AND type = {_USER_LOGIN} THEN id END) AS user_login,
                min(CASE WHEN matches = 1 AND (type = {_USER_END} OR type = {_USER_LOGIN}
                    AND outcome = 'failed') THEN id END) AS closing
            FROM marked
            WHERE number > 0
            GROUP BY host, boot, ses, number, login_pid, login_auid
        ),
        ended AS (
            SELECT sessions.*, CASE WHEN closing IS NULL THEN lead(id) OVER (
                    PARTITION BY host, boot, ses ORDER BY number) END AS following,
                (SELECT min(b.id) FROM event b WHERE b.type = {_BOOT} AND b.host = sessions.host
                    AND b.id > sessions.id) AS next_boot
            FROM sessions
        ),
        boots AS (
            SELECT e.id, e.ms, e.host, lead(e.id) OVER (PARTITION BY e.host ORDER BY e.id) AS next
            FROM event e
            WHERE e.type = {_BOOT}
        )
        SELECT x.id AS event_id, {_host("x.host")} AS host, {time(d, "x")} AS time,
            CASE WHEN u.outcome = 'failed' THEN 'failed' ELSE 'session' END AS kind,
            x.auid, u.account, x.ses, x.pid, u.terminal, u.address,
            {_moment(d, "coalesce(x.closing, x.following, x.next_boot)")} AS ended,
            CASE WHEN x.closing IS NOT NULL THEN
                    CASE WHEN u.outcome = 'failed' THEN 'failed' ELSE 'logout' END
                WHEN x.following IS NOT NULL THEN 'gone'
                WHEN x.next_boot IS NOT NULL THEN 'down' END AS how_ended,
            x.user_login AS user_login_event_id,
            coalesce(x.closing, x.following, x.next_boot) AS end_event_id
        FROM ended x
        LEFT JOIN marked u ON u.id = x.user_login AND u.type = {_USER_LOGIN}
        UNION ALL
        SELECT x.id, {_host("x.host")}, {time(d, "x")}, 'failed', coalesce(x.auid, x.user_id),
            x.account, x.ses, x.pid, x.terminal, x.address, {time(d, "x")}, 'failed', x.id, x.id
        FROM marked x
        WHERE x.type = {_USER_LOGIN} AND x.outcome = 'failed' AND x.matches = 0
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


_UNSET: Final = 4294967295


def _ids(d: Dialect, source: str) -> str:
    """Give the ids that a record tells; of USER_LOGIN `id` is the user who logged in."""
    ids = ", ".join(
        f"nullif({d.number.format(words.field(d, source, name))}, {_UNSET}) AS {name}"
        for name in ("pid", "auid", "ses")
    )
    user = d.number.format(
        f"coalesce({words.field(d, source, 'id')}, {words.last_field(d, source, 'uid')})"
    )
    return f"{ids}, {user} AS user_id"


def _fields(d: Dialect, source: str) -> str:
    def told(name: str) -> str:
        return words.known(words.field(d, source, name))

    return (
        f"{told('acct')} AS account, {told('terminal')} AS terminal,"
        f" coalesce({told('hostname')}, {told('addr')}) AS address,"
        f" CASE WHEN lower({told('res')}) IN ('success', '1', 'yes') THEN 'success'"
        f" WHEN {told('res')} IS NOT NULL THEN 'failed' END AS outcome"
    )


def _host(key: str) -> str:
    return f"(SELECT h.name FROM host h WHERE h.id = {key})"  # noqa: S608 - ours


def _moment(d: Dialect, event: str) -> str:
    """Give the time of an event of either table."""
    parts = (
        f"(SELECT {time(d, short)} FROM {table} {short} WHERE {short}.id = {event})"  # noqa: S608
        for table, short in (("event", "e"), ("syscall", "s"))
    )
    return f"coalesce({', '.join(parts)})"
