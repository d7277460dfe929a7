"""Makes the rules report: reads the sets, asks the kernel, the store and coverage.

What cannot be read is unknown in the report, with the reason; RuleError if the sets
themselves cannot be read.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from auditsvc import __version__
from auditsvc.compliance.counts import Wanted, count
from auditsvc.compliance.judge import by_calls, joined, judge, keys
from auditsvc.compliance.model import Judged, KernelState, Report, Share, Source
from auditsvc.coverage.judge import CoverageState
from auditsvc.coverage.report import take_look
from auditsvc.errors import AuditsvcError, RuleError
from auditsvc.kernel import Control
from auditsvc.kernel.settings import read_settings
from auditsvc.rule.files import read_text
from auditsvc.ruleset.controls import SUFFIX, controls, default, find, missing_folder
from auditsvc.ruleset.controls import Control as SetControl
from auditsvc.store.databases import shown_url

if TYPE_CHECKING:
    from pathlib import Path

    from auditsvc.config import Settings
    from auditsvc.coverage.snapshot import Look


_DAY = 86400


def make_report(settings: Settings, sets: list[str] | None, days: int) -> Report:
    """Report on `sets` (None: what `run` loads), with events of the last `days`.

    RuleError if a set cannot be read.
    """
    sources, found = read_sets(_paths(settings, sets))
    unknown: dict[str, str] = {}
    kernel = None
    try:
        kernel = _ask()
    except AuditsvcError as error:
        unknown["kernel"] = str(error)
    judged = [judge(each, kernel, missing_folder) for each in found]
    now = int(time.time())
    try:
        judged = _counted(settings, judged, now - days * _DAY)
    except AuditsvcError as error:
        unknown["store"] = str(error)
    look = take_look(settings)
    if not look.kernel.known:
        unknown["coverage"] = "the kernel did not answer"
    uname = os.uname()
    return Report(
        made=now,
        host=settings.host,
        release=f"{uname.sysname} {uname.release} {uname.machine}",
        version=__version__,
        store=shown_url(settings.store),
        days=days,
        sources=tuple(sources),
        controls=tuple(judged),
        kernel=kernel,
        share=_share(look) if look.kernel.known else None,
        unknown=unknown,
    )


def _paths(settings: Settings, sets: list[str] | None) -> list[Path]:
    if sets:
        return [find(each) for each in sets]
    return [default()] if settings.rules is None else [find(each) for each in settings.rules]


def read_sets(paths: list[Path]) -> tuple[list[Source], list[SetControl]]:
    """Read the files; RuleError if one is missing or wrong."""
    sources, found = [], []
    for path in paths:
        inside = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        for each in inside:
            text = read_text(each, named=not path.is_dir())
            digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
            sources.append(Source(each.stem, str(each), digest))
            found += controls(text, str(each))
    if not found:
        raise RuleError("there is no rule and no control to report on", "give a set or a file")
    return sources, joined(found)


def _ask() -> KernelState:
    with Control() as control:
        return KernelState(
            tuple(control.rules()),
            {str(name): value for name, value in read_settings(control).items()},
        )


def _share(look: Look) -> Share:
    tasks = look.tasks
    return Share(
        tasks[CoverageState.COVERED], tasks[CoverageState.NOT_COVERED], tasks[CoverageState.UNKNOWN]
    )


def _counted(settings: Settings, judged: list[Judged], since: int) -> list[Judged]:
    wanted = [Wanted(keys(each.control), by_calls(each)) for each in judged]
    seen = count(settings.store, settings.host, max(since, 0), wanted)
    return [replace(each, seen=number) for each, number in zip(judged, seen, strict=True)]
