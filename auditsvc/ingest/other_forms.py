"""Files that people give as a log and that hold no record, though they were made from one."""

from __future__ import annotations

import re
from typing import Final

_FORMS: Final = (
    (
        rb"^(?:node=.* )?type=[A-Z_0-9]+ msg=audit\([0-9]+[/-].*\) ?:",
        "`ausearch -i` wrote it, whose words are not the log's values: take `ausearch --raw`",
    ),
    (
        rb'^\{.*"(?:log|message|MESSAGE)" *: *"[^"]*(?:type=[A-Z]|pid=)',
        "its lines are JSON around those of a log: take them out (`jq -r .log`, or `.message`)",
    ),
    (
        rb"^(?:__CURSOR=|_TRANSPORT=audit$|.* audit(?:\[[0-9]+\])?: [A-Z_0-9]+ [a-z-]+=)",
        "journalctl wrote it: read the journal itself: `ingest --journal --directory FOLDER`",
    ),
    (
        rb"^NODE,EVENT,DATE,|^(?:.*,)?EVENT_KIND,",
        "`ausearch --format csv` wrote it: take `ausearch --raw`",
    ),
)
_PATTERNS: Final = tuple((re.compile(form, re.MULTILINE), words) for form, words in _FORMS)


def advice(head: bytes) -> str:
    """Say what to do with a file that begins so and has no record."""
    for pattern, words in _PATTERNS:
        if pattern.search(head):
            return f"{words}; what was read is kept raw"
    return "name an audit log; what was read is kept raw"
