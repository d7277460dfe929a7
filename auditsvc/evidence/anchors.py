"""Reads heads that were kept elsewhere, from any text that has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.errors import UsageError
from auditsvc.evidence.head import parse_head
from auditsvc.host.files import read_named

if TYPE_CHECKING:
    from pathlib import Path

    from auditsvc.evidence.head import Head

_MOST: Final = 1 << 28


def read_anchors(path: Path) -> list[Head]:
    """Read the heads in a file: lines of `evidence.file`, of syslog, or of journalctl.

    UsageError if it cannot be read.
    """
    try:
        text = read_named(path, _MOST).decode(errors="replace")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name a file with heads") from error
    found = {}
    for line in text.splitlines():
        # The last one: a full disk may have left the beginning of another before it.
        start, end = line.rfind('{"boot"'), line.rfind("}")
        if start < 0 or end < start:
            continue
        try:
            head = parse_head(line[start : end + 1])
        except ValueError:
            continue
        found[head.n, head.digest()] = head
    return list(found.values())
