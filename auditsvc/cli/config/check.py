"""`auditsvc config check`: every error in the settings, and in what they name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditsvc.config import Settings, read_file_alone, read_settings, settings_file, use_file
from auditsvc.errors import AuditsvcError, ConfigError
from auditsvc.forward.settings import unknown_names
from auditsvc.host.terminal import visible
from auditsvc.native import BUILD_HINT, is_built
from auditsvc.ruleset.sources import read_rules
from auditsvc.service.loading import SPOOLED
from auditsvc.store import parse_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.errors import RuleError


def check(
    file: Annotated[
        Path | None,
        typer.Argument(help="A file to check instead of the one that is read.", metavar="FILE"),
    ] = None,
) -> int:
    """Check file and variables: unknown names, wrong values, rules and store that they name.

    The file is checked as a whole, also where a variable has another value. Every error is one
    line on stderr. Exit status 2 if there is one.
    """
    if file is not None:
        use_file(file)
    errors: list[AuditsvcError] = []
    for found in (read_settings(), read_file_alone()):
        wrong = _wrong(found) if isinstance(found, Settings) else found
        told = set(map(str, errors))
        errors += [each for each in wrong if str(each) not in told]
    for error in errors:
        typer.echo(f"auditsvc: {visible(str(error))}", err=True)
    if errors:
        return errors[0].status
    read = settings_file()
    exists = os.path.lexists(read)
    typer.echo(visible(f"{read}: no errors" if exists else f"no file {read}: all defaults"))
    return 0


def _wrong(settings: Settings) -> Iterator[AuditsvcError]:
    """Check what the settings name; nothing is opened for writing."""
    try:
        parse_url(settings.store)
    except ConfigError as error:
        yield error
    rules: list[RuleError] = []
    try:
        read_rules(settings, errors=rules)
    except (AuditsvcError, OSError) as error:
        yield ConfigError(f"rules: {error}", "correct the setting rules")
    yield from rules
    if settings.source not in (*SPOOLED, "journal") and not Path(settings.source).exists():
        yield ConfigError(
            f"source: there is no file {settings.source}",
            "give netlink, multicast, stdin, journal or a log file",
        )
    for setting, name, near in unknown_names(settings.forward):
        what = "system call" if setting.endswith("syscalls") else "record type"
        hint = f"did you mean {near}?" if near else "correct it, or leave it out"
        yield ConfigError(f"{setting}: there is no {what} {name}", hint)
    if settings.decoder == "native" and not is_built():
        yield ConfigError("decoder: there is no native core", BUILD_HINT)
