"""Which queries are parsed before they run: only those that can gain, as sqlglot is large."""

from __future__ import annotations

import re
from typing import Final

MAY_BE_BOUNDED: Final = re.compile(r"\b(time|event_id)\b", re.IGNORECASE)
"""It can have a condition on time (`auditsvc.store.read.time_query`)."""
MAY_COUNT: Final = re.compile(
    r"\bsyscalls\b.*\bgroup\b|\b(count|distinct)\b.*\b(syscalls|story|all_events)\b",
    re.IGNORECASE | re.DOTALL,
)
"""It can be a count of calls (`auditsvc.store.read.count_query`)."""
MAY_BE_FIRST: Final = re.compile(
    r"\border\s+by\b.*\b(time|event_id|[0-9]+)\b.*\blimit\b", re.IGNORECASE | re.DOTALL
)
"""It can ask for the first rows by time (`auditsvc.store.read.time_order`)."""
OF_PARTS: Final = (
    *("story", "all_events", "files", "connections", "commands", "denials", "changes", "records"),
)
"""Views that are a union of parts, with columns that cost more than the row."""
MAY_SUM: Final = re.compile(
    rf"\b(count|sum|min|max|avg|total|group|group_concat|distinct)\b.*\b({'|'.join(OF_PARTS)})\b"
    rf"|\b({'|'.join(OF_PARTS)})\b.*\bgroup\b",
    re.IGNORECASE | re.DOTALL,
)
"""It can sum up the rows of one of these (`auditsvc.store.read.part_query`)."""
