"""Views over the rows that are no events: batches, and the ledger that each host sent with them.

    batches   one row a batch: host, store, n, made, events, again, gone, shipped, head, program
    ledger    the newest counts of each store, as its view `ledger` has them

In DuckDB's SQL: what a batch says of itself is JSON (`auditsvc.fleet.names`).
"""

from __future__ import annotations

from typing import Final

from auditsvc.fleet.names import BATCH

_NUMBERS: Final = ("n", "events", "again", "gone", "shipped")
COLUMNS: Final = {
    "batches": ("host", "store", "n", "made", *_NUMBERS[1:], "head", "program", "fields"),
    "ledger": ("host", "store", "source", "cause", "count", "made"),
}
VIEWS: Final = (*COLUMNS, "told_batches")


def select(view: str, rows: str) -> str:
    """Give a view, of all wide rows."""
    of_batches = f"(SELECT * FROM {rows} WHERE type = '{BATCH}')"  # noqa: S608 - of this package's text
    if view == "told_batches":
        return of_batches
    if view == "batches":
        numbers = ", ".join(
            f"CAST(json_extract_string(fields, '$.{name}') AS BIGINT) AS {name}"
            for name in _NUMBERS
        )
        texts = ", ".join(
            f"json_extract_string(fields, '$.{name}') AS {name}" for name in ("head", "program")
        )
        return f"SELECT host, store, time AS made, {numbers}, {texts}, fields FROM {of_batches} b"  # noqa: S608
    return f"""
        SELECT host, store, source, cause, made,
            CAST(json_extract_string(counts, '$."' || cause || '"') AS BIGINT) AS count
        FROM (
            SELECT host, store, made, source, counts, unnest(json_keys(counts)) AS cause
            FROM (
                SELECT host, store, made, source,
                    json_extract(ledger, '$."' || source || '"') AS counts
                FROM (
                    SELECT host, store, time AS made, json_extract(fields, '$.ledger') AS ledger,
                        unnest(json_keys(fields, '$.ledger')) AS source
                    FROM (
                        SELECT *, row_number() OVER (PARTITION BY host, store ORDER BY batch DESC)
                            AS place
                        FROM {of_batches} b
                    ) ranked
                    WHERE place = 1
                ) by_source
            ) counted
        ) by_cause"""  # noqa: S608 - as above
