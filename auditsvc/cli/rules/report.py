"""`auditsvc rules report`: control by control, whether it is in force and what it has seen."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from sqlalchemy import make_url

from auditsvc import __version__
from auditsvc.cli.coverage import take_look
from auditsvc.cli.options import StoreOption
from auditsvc.cli.output import write_json, write_table
from auditsvc.config import Settings, load_settings
from auditsvc.coverage.judge import State
from auditsvc.errors import AuditsvcError, RuleError
from auditsvc.kernel import Control, messages
from auditsvc.rule.files import read_text
from auditsvc.rule_counts import Wanted, count
from auditsvc.rule_page import page
from auditsvc.rule_report import (
    Judged,
    Kernel,
    Report,
    Seen,
    Share,
    Source,
    as_json,
    by_calls,
    joined,
    judge,
    keys,
    moment,
)
from auditsvc.rule_sets import SUFFIX, absent, controls, default, find
from auditsvc.rule_sets import Control as SetControl
from auditsvc.terminal import visible

if TYPE_CHECKING:
    from auditsvc.coverage.look import Look

_DAY = 86400


class ReportForm(StrEnum):
    """How the report looks."""

    TABLE = "table"
    JSON = "json"
    HTML = "html"


def report(
    sets: Annotated[
        list[str] | None,
        typer.Argument(
            help="Shipped sets, rule files or folders. Default: what `run` loads.",
            metavar="[SET|PATH]...",
            show_default=False,
        ),
    ] = None,
    days: Annotated[int, typer.Option("--days", help="How far back events count.", min=1)] = 30,
    store: StoreOption = None,
    form: Annotated[
        ReportForm | None,
        typer.Option(
            "--format", help="Default: table on a terminal, else json.", show_default=False
        ),
    ] = None,
) -> int:
    """Show for each control whether its rules are there, loaded and covered, and what they saw.

    Exit status 1 when some control's rules are not in force, or when that is not known.
    """
    settings = load_settings(store=store)
    made = _make(settings, sets, days)
    chosen = form or (ReportForm.TABLE if sys.stdout.isatty() else ReportForm.JSON)
    if chosen is ReportForm.HTML:
        typer.echo(page(made), nl=False)
    elif chosen is ReportForm.JSON:
        write_json(as_json(made))
    else:
        _write(made)
    return 0 if made.proven else 1


def _make(settings: Settings, sets: list[str] | None, days: int) -> Report:
    sources, found = _read(_paths(settings, sets))
    unknown: dict[str, str] = {}
    kernel = None
    try:
        kernel = _ask()
    except AuditsvcError as error:
        unknown["kernel"] = str(error)
    judged = [judge(each, kernel, absent) for each in found]
    now = int(time.time())
    try:
        judged = _counted(settings, judged, now - days * _DAY)
    except AuditsvcError as error:
        unknown["store"] = str(error)
    look = take_look(settings)
    if not look.kernel.known:
        unknown["coverage"] = "the kernel does not say what it audits"
    uname = os.uname()
    return Report(
        made=now,
        host=settings.host,
        release=f"{uname.sysname} {uname.release} {uname.machine}",
        version=__version__,
        store=make_url(settings.store).render_as_string(hide_password=True),
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


def _read(paths: list[Path]) -> tuple[list[Source], list[SetControl]]:
    """Read the files; RuleError for what is missing or wrong."""
    sources, found = [], []
    for path in paths:
        inside = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        for each in inside:
            text = read_text(each, named=not path.is_dir())
            digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
            sources.append(Source(each.stem, str(each), digest))
            found += controls(text, str(each))
    if not found:
        raise RuleError("there is no rule and no control to report on", "name a set or a file")
    return sources, joined(found)


def _ask() -> Kernel:
    with Control() as control:
        status, features = control.status(), control.features()
        rules = tuple(control.rules())
    settings = {
        "enabled": status.enabled,
        "failure": status.failure,
        "rate_limit": status.rate_limit,
        "backlog_limit": status.backlog_limit,
        "backlog_wait_time": status.backlog_wait_time,
        "loginuid_immutable": int(bool(features.on & messages.LOGINUID_IMMUTABLE)),
    }
    return Kernel(rules, settings)


def _share(look: Look) -> Share:
    tasks = look.tasks
    return Share(tasks[State.COVERED], tasks[State.NOT_COVERED], tasks[State.UNKNOWN])


def _counted(settings: Settings, judged: list[Judged], since: int) -> list[Judged]:
    wanted = [Wanted(keys(each.control), by_calls(each)) for each in judged]
    seen = count(settings.store, settings.host, max(since, 0), wanted)
    return [replace(each, seen=number) for each, number in zip(judged, seen, strict=True)]


def _write(made: Report) -> None:
    """Write it for a person."""
    for line in made.remarks:
        typer.echo(visible(line))
    covered = "not known" if made.share is None else str(made.share)
    for framework in dict.fromkeys(each.control.framework for each in made.controls):
        typer.echo(f"\n{visible(framework) or 'Rules that name no control'}")
        members = [each for each in made.controls if each.control.framework == framework]
        write_table(
            ("CONTROL", "ABOUT", "RULES", "KERNEL", "COVERED", "EVENTS", "LAST SEEN"),
            (_row(each, covered) for each in members),
        )
    tally = ", ".join(f"{number} {state}" for state, number in made.tally().items())
    typer.echo(f"\n{len(made.controls)} controls: {tally}; events of the last {made.days} days")


def _row(judged: Judged, covered: str) -> tuple[object, ...]:
    control, seen = judged.control, judged.seen
    asked = [
        f"{each.setting.name} {each.setting.value} asked, "
        f"{'not known' if each.now is None else f'is {each.now}'}"
        for each in judged.settings
    ]
    kernel = "; ".join([str(judged.state), *asked])
    if not judged.findings:
        return (control.id, control.title, 0, kernel, None, None, None)
    return (
        control.id,
        control.title,
        len(judged.findings),
        kernel,
        covered,
        *(("not known", "not known") if seen is None else (seen.count, _last(seen))),
    )


def _last(seen: Seen) -> str:
    return "never" if seen.last is None else moment(seen.last)[:16].replace("T", " ")
