"""Views over all hosts: what one host's store cannot say. Columns and meaning: docs/fleet.md.

    select("hops", relation)    the view; `relation` gives the text of a view that it is made of

They are made of the other views (`auditsvc.fleet.views`), in SQL that DuckDB, Spark and Trino
have in common as far as it goes; those in `ONLY_DUCKDB` need DuckDB's JSON or recursion.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME: Final = re.compile(r"\$([a-z_]+)")


def _first_of(keys: str, rows: str) -> str:
    """Give for each value of `keys` where it was seen first, and on how many hosts.

    Counted by host first: ids grow with time in one store, and few rows are left to rank.
    """
    return f"""
        SELECT {keys}, first_time, first_host, first_store, first_event_id, last_time, hosts, times
        FROM (
            SELECT {keys}, since AS first_time, host AS first_host, store AS first_store,
                event_id AS first_event_id,
                max(until) OVER (PARTITION BY {keys}) AS last_time,
                sum(is_first) OVER (PARTITION BY {keys}) AS hosts,
                sum(times) OVER (PARTITION BY {keys}) AS times,
                row_number() OVER (PARTITION BY {keys} ORDER BY since, host, store) AS place
            FROM (
                SELECT {keys}, host, store, min(time) AS since, min(event_id) AS event_id,
                    max(time) AS until, count(*) AS times,
                    CASE WHEN row_number() OVER (PARTITION BY {keys}, host ORDER BY store) = 1
                        THEN 1 ELSE 0 END AS is_first
                FROM {rows}
                GROUP BY {keys}, host, store
            ) by_store
        ) ranked
        WHERE place = 1"""  # noqa: S608 - of this package's text


_SEEN: Final = (
    *("first_time", "first_host", "first_store", "first_event_id", "last_time", "hosts", "times"),
)
_HASHES: Final = """(
    SELECT host, store, event_id, time, json_extract_string(fields, '$.hash') AS hash,
        json_extract_string(fields, '$.file') AS file
    FROM (
        SELECT host, store, event_id, time, fields FROM $events WHERE type LIKE 'INTEGRITY%'
        UNION ALL
        SELECT r.host, r.store, r.event_id, s.time, r.fields
        FROM $records r
        JOIN $syscalls s ON s.host = r.host AND s.store = r.store AND s.event_id = r.event_id
        WHERE r.type LIKE 'INTEGRITY%'
    ) told
    WHERE json_extract_string(fields, '$.hash') IS NOT NULL
) hashed"""
_ADDRESSED: Final = """(
    SELECT host, store, event_id, time, action, address,
        CASE WHEN action IN ('connect', 'send', 'bind') THEN port END AS port
    FROM $connections
    WHERE family IN ('inet', 'inet6') AND address IS NOT NULL
) named"""

_HOST_ADDRESSES: Final = """
    SELECT host, address, min(known_by) AS known_by
    FROM (
        SELECT host, unnest(json_extract_string(fields, '$.addresses[*]')) AS address,
            'host' AS known_by
        FROM $told_batches
        UNION ALL
        SELECT host, json_extract_string(fields, '$.laddr'), 'log'
        FROM $events
        WHERE type IN ('CRYPTO_KEY_USER', 'CRYPTO_SESSION')
    ) told
    WHERE address IS NOT NULL AND address NOT LIKE '127.%' AND address <> '::1'
    GROUP BY host, address"""

# Logins from the network, each with the connections that it may have come by.
_PAIRS: Final = """
    SELECT m.host AS from_host, m.store AS from_store, m.event_id AS from_event_id,
        m.time AS connected, m.auid AS from_auid, m.ses AS from_ses, m.exe, m.address,
        e.host, e.store, e.event_id, e.time, e.auid, e.ses, e.account, e.address AS source, e.ended,
        a.host IS NOT NULL AS is_to,
        b.host IS NOT NULL OR e.address = m.host
            OR split_part(e.address, '.', 1) = split_part(m.host, '.', 1) AS is_from
    FROM (
        SELECT * FROM $logins
        WHERE kind = 'session' AND address IS NOT NULL AND ses IS NOT NULL
    ) e
    JOIN (
        SELECT * FROM $connections
        WHERE action = 'connect' AND family IN ('inet', 'inet6')
            AND coalesce(outcome, '') <> 'failed' AND (port = 22 OR exe LIKE '%/ssh')
    ) m ON m.host <> e.host AND m.time <= e.time + INTERVAL '600' SECOND
        AND m.time >= e.time - INTERVAL '600' SECOND
    LEFT JOIN $host_addresses a ON a.host = e.host AND a.address = m.address
    LEFT JOIN $host_addresses b ON b.host = m.host AND b.address = e.address
    LEFT JOIN (SELECT DISTINCT host FROM $host_addresses) has ON has.host = e.host
    LEFT JOIN (SELECT DISTINCT address FROM $host_addresses) known ON known.address = e.address
    WHERE (a.host IS NOT NULL OR has.host IS NULL)
        AND (b.host IS NOT NULL OR known.address IS NULL)"""

# A login comes at most LoginGraceTime of sshd, 120 seconds, after the connection.
_HOPS: Final = """
    SELECT host, store, event_id, time, auid, ses, account, source, ended, from_host, from_store,
        from_event_id, connected, from_auid, from_ses, exe, address,
        CASE WHEN is_from AND is_to THEN 'addresses' WHEN is_to THEN 'its address'
            WHEN is_from THEN 'the source' ELSE 'time' END AS known_by,
        candidates
    FROM (
        SELECT *, count(*) OVER (PARTITION BY host, store, event_id) AS candidates,
            row_number() OVER (PARTITION BY host, store, event_id
                ORDER BY CASE WHEN is_from AND is_to THEN 0 WHEN is_to OR is_from THEN 1 ELSE 2 END,
                    connected DESC, from_host, from_event_id) AS place
        FROM $pairs
        WHERE connected <= time AND connected >= time - INTERVAL '120' SECOND
    ) ranked
    WHERE place = 1"""

_WAYS: Final = """
    WITH RECURSIVE hop AS (SELECT * FROM $hops found),
    way AS (
        SELECT from_host AS first_host, from_ses AS first_ses, from_auid AS first_auid,
            connected AS began, host, store, event_id, time, ses, auid, 1 AS hops,
            from_host || ' > ' || host AS way
        FROM hop h
        WHERE NOT EXISTS (SELECT 1 FROM hop p WHERE p.host = h.from_host
            AND p.store = h.from_store AND p.ses = h.from_ses AND p.time <= h.connected)
        UNION ALL
        SELECT w.first_host, w.first_ses, w.first_auid, w.began, h.host, h.store, h.event_id,
            h.time, h.ses, h.auid, w.hops + 1, w.way || ' > ' || h.host
        FROM way w
        JOIN hop h ON h.from_host = w.host AND h.from_store = w.store AND h.from_ses = w.ses
            AND h.connected >= w.time
        WHERE w.hops < 64
    )
    SELECT first_host, first_ses, first_auid, began, host, store, event_id, time, ses, auid, hops,
        way
    FROM way"""

# By what both addresses are known; of each login the connection that is nearest.
_CLOCK_SKEW: Final = """
    SELECT host, from_host AS other_host, min(seconds) AS least_seconds,
        median(seconds) AS median_seconds, count(*) AS logins
    FROM (
        SELECT host, from_host, seconds, row_number() OVER (PARTITION BY host, store, event_id
            ORDER BY abs(seconds), from_event_id) AS place
        FROM (
            SELECT host, store, event_id, from_host, from_event_id,
                (epoch_ms(time) - epoch_ms(connected)) / 1000.0 AS seconds
            FROM $pairs found
            WHERE is_from AND is_to
        ) timed
    ) ranked
    WHERE place = 1
    GROUP BY host, from_host"""

_HOSTS: Final = """
    SELECT e.host, e.store, e.first_time, e.last_time, e.calls, e.others,
        coalesce(p.n, 0) AS partials, c.covered, c.not_covered, r.changes AS rule_changes,
        r.last_change AS last_rule_change,
        coalesce(t.n, 0) AS tampered, v.since AS service_since
    FROM (
        SELECT host, store, min(time) AS first_time, max(time) AS last_time,
            sum(CASE WHEN kind = 'call' THEN 1 ELSE 0 END) AS calls,
            sum(CASE WHEN kind = 'call' THEN 0 ELSE 1 END) AS others
        FROM $all_events
        GROUP BY host, store
    ) e
    LEFT JOIN (SELECT host, store, count(*) AS n FROM $partials GROUP BY host, store) p
        ON p.host = e.host AND p.store = e.store
    LEFT JOIN (
        SELECT host, store, sum(CASE WHEN state = 'covered' THEN 1 ELSE 0 END) AS covered,
            sum(CASE WHEN state = 'not covered' THEN 1 ELSE 0 END) AS not_covered
        FROM (
            SELECT host, store, state,
                row_number() OVER (PARTITION BY host, store, pid, began ORDER BY event_id DESC)
                    AS place
            FROM $coverage
        ) told
        WHERE place = 1
        GROUP BY host, store
    ) c ON c.host = e.host AND c.store = e.store
    LEFT JOIN (
        SELECT host, store, count(*) AS changes, max(time) AS last_change
        FROM $changes
        WHERE what = 'audit' AND action LIKE '%rule%'
        GROUP BY host, store
    ) r ON r.host = e.host AND r.store = e.store
    LEFT JOIN (SELECT host, store, count(*) AS n FROM $tamper GROUP BY host, store) t
        ON t.host = e.host AND t.store = e.store
    LEFT JOIN (
        SELECT host, store, max(time) AS since
        FROM $all_events
        WHERE kind = 'daemon' AND type = 'DAEMON_START'
        GROUP BY host, store
    ) v ON v.host = e.host AND v.store = e.store"""

_TEXTS: Final = {
    "programs": _first_of("exe", "(SELECT * FROM $syscalls WHERE exe IS NOT NULL) ran"),
    "arguments": _first_of("argv", "(SELECT * FROM $syscalls WHERE argv IS NOT NULL) ran"),
    "addresses": _first_of("action, address, port", _ADDRESSED),
    "hashes": _first_of("hash, file", _HASHES),
    "host_addresses": _HOST_ADDRESSES,
    "pairs": _PAIRS,
    "hops": _HOPS,
    "ways": _WAYS,
    "clock_skew": _CLOCK_SKEW,
    "hosts": _HOSTS,
}
COLUMNS: Final = {
    "programs": ("exe", *_SEEN),
    "arguments": ("argv", *_SEEN),
    "addresses": ("action", "address", "port", *_SEEN),
    "hashes": ("hash", "file", *_SEEN),
    "host_addresses": ("host", "address", "known_by"),
    "hops": (
        *("host", "store", "event_id", "time", "auid", "ses", "account", "source", "ended"),
        *("from_host", "from_store", "from_event_id", "connected", "from_auid", "from_ses", "exe"),
        *("address", "known_by", "candidates"),
    ),
    "ways": (
        *("first_host", "first_ses", "first_auid", "began", "host", "store", "event_id", "time"),
        *("ses", "auid", "hops", "way"),
    ),
    "clock_skew": ("host", "other_host", "least_seconds", "median_seconds", "logins"),
    "hosts": (
        *("host", "store", "first_time", "last_time", "calls", "others", "partials", "covered"),
        *("not_covered", "rule_changes", "last_rule_change", "tampered", "service_since"),
    ),
}
"""The columns of each view."""
TIMES: Final = (
    *("time", "first_time", "last_time", "connected", "began", "last_rule_change"),
    "service_since",
)
"""Columns that are times."""


def needs(view: str) -> set[str]:
    """Give the views of one store that a view is made of, through others too."""
    found: set[str] = set()
    for name in _NAME.findall(_TEXTS[view]):
        found |= needs(name) if name in _TEXTS else {name}
    return found


def select(view: str, relation: Callable[[str], str]) -> str:
    """Give the view; `relation` gives a view of `auditsvc.fleet.views` as a relation."""

    def put(found: re.Match[str]) -> str:
        name = found[1]
        return f"({select(name, relation)})" if name in _TEXTS else relation(name)

    return _NAME.sub(put, _TEXTS[view])
