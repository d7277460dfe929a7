"""`auditsvc verify` as values: the lines by their heads, then the rows by the lines."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from auditsvc.errors import EvidenceError, StoreError
from auditsvc.evidence.finding import HEADS, Finding
from auditsvc.evidence.folder import Folder
from auditsvc.evidence.keys import signed_last
from auditsvc.evidence.other_spools import ids_of, names_in
from auditsvc.evidence.rows import RowCheck
from auditsvc.evidence.seal import read_seal
from auditsvc.evidence.spool_batches import Spool, Start
from auditsvc.evidence.stored import stored_heads
from auditsvc.evidence.verify import (
    check_anchors,
    check_signed_last,
    check_stored_heads,
    verify_spool,
)
from auditsvc.spool.identity import identity, source_name
from auditsvc.spool.reader import held
from auditsvc.spool.segments import Place, segments
from auditsvc.store.database import reading
from auditsvc.store.databases import open_database

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditsvc.config import Settings
    from auditsvc.evidence.finding import Report
    from auditsvc.evidence.head import Head
    from auditsvc.evidence.keys import Signed
    from auditsvc.evidence.seal import Seal


def verify_all(
    settings: Settings, anchors: Sequence[Head], *, since: float = 0.0, with_rows: bool = True
) -> Report:
    """Verify the spool and the store of these settings; EvidenceError if nothing was signed."""
    directory = settings.spool_directory
    signed, note = _signed_last(settings.key_path)  # before the heads: more may come
    others = _of_others(settings, anchors) if with_rows else {}
    own = [each for each in anchors if each.spool not in others]
    report = verify_spool(directory, anchors=own, since=since, choice=settings.decoder)
    for spool, stored in others.items():
        check_anchors([each for each in anchors if each.spool == spool], (), stored, report)
    check_signed_last(directory, signed, report)
    report.notes += note
    if with_rows:
        check = RowCheck(settings.store, spool_of(settings), report)
        with held(directory) as there:  # the service may delete segments meanwhile
            check.run(replace(start_of_rows(directory, report), held=there))
        check_stored_heads(directory, check.heads, report)
    return report


def _signed_last(path: Path) -> tuple[Signed | None, list[str]]:
    """Give the head that was signed last, by the keys' file; or a note why that is not known."""
    try:
        return signed_last(path), []
    except PermissionError:
        why = "only root may read"
    except (OSError, EvidenceError) as error:
        why = f"cannot be read ({error})"
    return None, [f"{path} {why}: a cut end of the log shows by heads from elsewhere alone"]


def _of_others(settings: Settings, anchors: Sequence[Head]) -> dict[str, list[Head]]:
    """Give the heads that the store has of other hosts' spools, of which `anchors` has some.

    A spool of this host's name is none: who made the chain here anew may have given it another
    identity.
    """
    wanted = {each.spool for each in anchors if each.host != settings.host}
    if not wanted or not Folder(settings.spool_directory).exists:
        return {}  # where nothing was signed, an identity would be made by asking for it
    wanted.discard(identity(settings.spool_directory))
    if not wanted:
        return {}
    database = open_database(settings.store, read=True)
    try:
        with reading(database) as connection:
            names = names_in(connection, source_name(settings.spool_directory))
            spools = wanted & {*ids_of(names).values()}
            return {spool: stored_heads(connection, spool) for spool in spools}
    except StoreError:  # it is told when the rows are compared
        return {}
    finally:
        database.engine.dispose()


def spool_of(settings: Settings) -> Spool:
    """Give the spool of these settings, and how its lines are decoded."""
    directory = settings.spool_directory
    return Spool(
        directory,
        source_name(directory),
        identity(directory),
        settings.host,
        settings.decoder_name,
        settings.ingest.trust_kernel_log,
    )


def start_of_rows(directory: Path, report: Report) -> Start:
    """Give where the lines begin that the spool still has, and what is known of those before."""
    there = segments(directory)
    folder = Folder(directory)
    dropped = folder.dropped().heads
    last, seal = _last_and_seal(folder, directory, report)
    head = last if last is not None and last.store else None
    began = Place(*head.store["from"]) if head is not None and "from" in head.store else None
    if seal is not None and there and there[0] <= seal.through + 1:
        place = Place(seal.through + 1)
        if began is not None and began > place:
            return Start(began, head=head)
        return Start(place, seal.pending, is_beginning=False, head=head, seal=seal)
    if began is not None and (not there or began.segment >= there[0]):
        return Start(began, head=head)
    # A spool begins with segment 1. If that is gone, and no head says why, it went before
    # anything was signed.
    if not there or (not dropped and there[0] == 1):
        return Start(head=head)
    return Start(Place(there[0]), is_beginning=False, is_cut=True, head=head)


def _last_and_seal(
    folder: Folder, directory: Path, report: Report
) -> tuple[Head | None, Seal | None]:
    """Give the last head, and the seal that it names; what is wrong with that is a finding."""
    last = folder.last()
    while last is not None and last.sealed:
        try:
            seal = read_seal(directory, last.sealed)
            why: Exception | None = None
        except (OSError, ValueError, KeyError, TypeError) as error:
            seal, why = None, error
        if seal is not None:
            return last, seal
        before, last = last, folder.last()
        if last is not None and last.sealed != before.sealed:
            continue  # the service has sealed more meanwhile
        if why is not None:
            raise EvidenceError(f"the digests of deleted rows cannot be read: {why}") from why
        what = "the digests of the rows of deleted segments were altered or removed"
        report.findings.append(Finding(HEADS, what))
        break
    return last, None
