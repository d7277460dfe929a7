"""The command line: one file a verb.

What must hold for every verb: exit status 0 done, 1 failed, 2 wrong usage; an error
is one line on stderr that says what and what to do; never a traceback for what a
user, a kernel, a disk or a database can do.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from auditsvc import __version__
from auditsvc.cli import (
    coverage,
    doctor,
    forward,
    ingest,
    migrate,
    off,
    on,
    query,
    rules,
    run,
    status,
)
from auditsvc.config import load_settings, use_file
from auditsvc.decode import decoder_in_use
from auditsvc.errors import AuditsvcError
from auditsvc.terminal import visible

app = typer.Typer(
    name="auditsvc",
    help="Every system call of every task as one SQL row, none lost unseen.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(
            f"auditsvc {__version__} (decoder: {decoder_in_use(load_settings().decoder_name)})"
        )
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show version and decoder."
        ),
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file with settings.", metavar="FILE")
    ] = None,
) -> None:
    del version
    if config is not None:
        use_file(config)


# Whole on a line of 80 columns, where a docstring's first sentence would be cut short.
for name, verb, does in (
    ("run", run.run, "Collect audit records and store every event as rows."),
    ("ingest", ingest.ingest, "Load log files, or the journal's audit entries."),
    ("query", query.query, "Ask the store a question in SQL."),
    ("forward", forward.forward, "Send chosen events to the systemd journal, each once."),
    ("status", status.status, "Show what kernel, service, forwarder and store say."),
    ("doctor", doctor.doctor, "Say what is wrong with audit here, and what mends it."),
    ("coverage", coverage.coverage, "Say which tasks are covered, and why others are not."),
    ("on", on.on, "Switch tracing on for all tasks at once."),
    ("off", off.off, "Switch tracing off for all tasks at once."),
    ("migrate", migrate.migrate, "Make the store, or bring it to this program's schema."),
):
    app.command(name, short_help=does)(verb)
app.add_typer(rules.app, name="rules")


def _fail(line: str, code: int) -> int:
    typer.echo(f"auditsvc: {visible(' '.join(line.split()))}", err=True)
    return code


def main() -> None:
    """Run a command line and exit as the contract says."""
    _have_streams()
    sys.exit(_main())


def _have_streams() -> None:
    """See that all three are open: else a file of ours would get the number of one."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - for good
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - for good
    if isinstance(sys.stdout, TextIOWrapper):  # what the locale cannot say is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")


def _main() -> int:
    try:
        result = app(standalone_mode=False)
    except AuditsvcError as error:
        return _fail(str(error), error.status)
    except typer.TyperException as error:
        return _fail(f"{error.format_message()}; see `auditsvc --help`", error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 1)
    except OSError as error:
        # What is still buffered would fail once more at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            return 1  # the reader of our output has gone: nobody is left to tell
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", 1)
    return result if isinstance(result, int) else 0
