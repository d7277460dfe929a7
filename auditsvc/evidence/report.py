"""`auditsvc verify` as values: the lines by their heads, then the rows by the lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.evidence.folder import Folder
from auditsvc.evidence.rows import RowCheck, Spool, Start
from auditsvc.evidence.verify import check_stored_heads, verify_spool
from auditsvc.spool.identity import identity, source_name
from auditsvc.spool.segments import Place, segments

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditsvc.config import Settings
    from auditsvc.evidence.finding import Report
    from auditsvc.evidence.head import Head


def verify_all(
    settings: Settings, anchors: Sequence[Head], *, since: float = 0.0, with_rows: bool = True
) -> Report:
    """Verify the spool and the store of these settings; EvidenceError if nothing was signed."""
    directory = settings.spool_directory
    report = verify_spool(directory, anchors=anchors, since=since, choice=settings.decoder)
    if with_rows:
        spool = Spool(
            directory,
            source_name(directory),
            identity(directory),
            settings.host,
            settings.decoder_name,
            settings.ingest.trust_kernel_log,
        )
        check = RowCheck(settings.store, spool, report)
        check.run(_start(directory))
        check_stored_heads(directory, check.heads, report)
    return report


def _start(directory: Path) -> Start:
    """Give where the lines begin that the spool still has."""
    there = segments(directory)
    folder = Folder(directory)
    dropped = folder.dropped().heads
    last = folder.last()
    bound = last if last is not None and last.store else None
    if bound is not None and "from" in bound.store:
        place = Place(*bound.store["from"])
        if not there or place.segment >= there[0]:
            return Start(place, head=bound)
    # A spool begins with segment 1. If that is gone, and no head says why, it went before
    # anything was signed.
    if not there or (not dropped and there[0] == 1):
        return Start(head=bound)
    return Start(Place(there[0]), is_beginning=False, is_cut=True, head=bound)
