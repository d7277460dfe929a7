"""`auditsvc verify`: proves that log and store are as they were signed."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from auditsvc import arrow
from auditsvc.cli.lowering import lower
from auditsvc.cli.options import FormOption, StoreOption
from auditsvc.config import load_settings
from auditsvc.errors import AuditsvcError, UsageError
from auditsvc.evidence.anchors import read_anchors
from auditsvc.evidence.finding import ARCHIVE, Finding, Report
from auditsvc.evidence.report import verify_all
from auditsvc.host.terminal import visible
from auditsvc.plural import counted
from auditsvc.record.daemon import actor
from auditsvc.render.output import wants_json, write_json
from auditsvc.runtime.verify_results import VerifyResult, write_result
from auditsvc.store.read.period import period_of

_SHOWN = 100


def verify(  # noqa: PLR0917 - options, by name
    head: Annotated[
        list[Path] | None,
        typer.Option(
            "--head",
            help="File with heads from elsewhere (as that of evidence.file, or what journalctl "
            "prints); they must be among those of the spool. Can be given several times.",
            metavar="FILE",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            help="Read only segments that were signed at or after this time (UTC): 2026-11-28,"
            " '2026-11-28 14:30', 14:30, yesterday, -1h, '2 hours ago'.",
            metavar="TIME",
        ),
    ] = None,
    spool: Annotated[
        Path | None, typer.Option("--spool", help="The folder of the spool.", metavar="FOLDER")
    ] = None,
    lines_only: Annotated[
        bool, typer.Option("--lines-only", help="Leave out the rows of the store.")
    ] = False,
    store: StoreOption = None,
    form: FormOption = None,
) -> None:
    """Prove that log, store and archive are as they were signed; if not, the exit status is 1."""
    settings = load_settings(store=store)
    lower(settings, reads_files=True)
    anchors = [each for path in head or () for each in read_anchors(path)]
    started = period_of(since, None).low
    if head and not anchors:
        raise UsageError("no heads in the files of --head", "name a file with heads, one a line")
    if spool is not None:
        settings = load_settings(store=store, spool={"directory": spool})
    report = verify_all(settings, anchors, since=started, with_rows=not lines_only)
    files = 0
    if settings.archive.to is not None and not lines_only:
        checked = arrow.use("auditsvc.archive.check").check_archive(settings)
        report.findings += [Finding(ARCHIVE, each) for each in checked.findings]
        report.notes += checked.notes
        files = checked.files
    if spool is None:
        # For the service's log; who may not write there only reads.
        with suppress(AuditsvcError, OSError):
            write_result(
                settings.runtime_directory,
                VerifyResult(
                    report.is_proved,
                    len(report.findings),
                    report.lines,
                    report.events,
                    actor(os.getpid(), os.getuid()),
                ),
            )
    if wants_json(form):
        write_json({"proved": report.is_proved, "archive_files": files} | asdict(report))
    else:
        _show(report, files, with_rows=not lines_only, has_anchors=bool(anchors))
    if not report.is_proved:
        raise typer.Exit(1)


def _show(report: Report, files: int, *, with_rows: bool, has_anchors: bool) -> None:
    for finding in report.findings[:_SHOWN]:
        typer.echo(visible(f"{finding.kind}: {finding}"))
    if len(report.findings) > _SHOWN:
        typer.echo(f"... {len(report.findings) - _SHOWN} more")
    for note in report.notes:
        typer.echo(visible(f"note: {note}"))
    segments, lines = counted(report.segments, "segment"), counted(report.lines, "line")
    typer.echo(f"{segments}, {lines}, {counted(report.heads, 'head')} compared")
    if with_rows:
        typer.echo(f"{counted(report.events, 'event')} of the store compared with their lines")
    if files:
        typer.echo(f"{counted(files, 'file')} of the archive compared with their manifests")
    if report.unsigned_bytes:
        typer.echo(f"not signed yet: {counted(report.unsigned_bytes, 'byte')}")
    if not has_anchors:
        typer.echo("no head from elsewhere was given: a chain made anew would not show")
    typer.echo("proved" if report.is_proved else "NOT PROVED")
