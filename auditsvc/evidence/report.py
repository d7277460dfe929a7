"""`auditsvc verify` as values: the lines by their heads, then the rows by the lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.evidence.folder import Folder
from auditsvc.evidence.rows import RowCheck, Spool, Start
from auditsvc.evidence.verify import verify_spool
from auditsvc.spool.identity import source_name
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
            settings.host,
            settings.decoder_name,
            settings.ingest.trust_kernel_log,
        )
        RowCheck(settings.store, spool, report).run(_start(directory))
    return report


def _start(directory: Path) -> Start:
    """Give where the lines begin that the spool still has."""
    there = segments(directory)
    dropped = Folder(directory).dropped().heads
    if not dropped or not there:
        return Start()
    return Start(Place(there[0]), is_beginning=False)
