"""The command line: one file for each verb.

What must hold for every verb: exit status 0 done, 1 failed, 2 wrong usage (`status` also has 3:
the service is not running; `search` has 1 for every error, as ausearch has); an error is one
line on stderr that says what is wrong and what to do; never a traceback for an error of a user,
a kernel, a disk or a database.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from auditsvc.cli.options import show_help
from auditsvc.cli.verbs import add_verbs
from auditsvc.cli.version import VersionOption
from auditsvc.config import use_file
from auditsvc.errors import AuditsvcError, of_system, plain
from auditsvc.host.terminal import visible
from auditsvc.manual.commands import Command as Described
from auditsvc.manual.commands import list_commands
from auditsvc.render.fit import fitted
from auditsvc.verb import named

app = typer.Typer(
    name="auditsvc",
    help="Every system call of every task as one SQL row; every loss is counted.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _common(
    ctx: typer.Context,
    version: VersionOption = False,
    config: Annotated[
        Path | None,
        # access(2) does not count capabilities: the file may be readable all the same.
        typer.Option("--config", help="TOML file with settings.", metavar="FILE", readable=False),
    ] = None,
) -> None:
    del version
    if config is not None:
        use_file(config)
    show_help(ctx)


# In the order of `--help`; the module of each has its name. The texts fit on a line of 80
# columns, where the first sentence of a docstring would be cut.
_VERBS = {
    "run": "Collect audit records and store every event as rows.",
    "ingest": "Load log files, or the journal's audit entries.",
    "query": "Query the store in SQL.",
    "shell": "Query the store in SQL at a prompt.",
    "search": "Search for events, with the options of ausearch.",
    "top": "Show who and what makes the most events just now.",
    "tail": "Show events as they arrive, with the filters of search.",
    "tree": "Show which process made which, from the log alone.",
    "web": "Show pages over the store in a browser, read-only.",
    "prune": "Delete days that the settings [retention] do not keep.",
    "archive": "Write days that are over to the archive of the settings.",
    "report": "Report on logins, files, programs and more, as aureport does.",
    "forward": "Send chosen events to the systemd journal, each once.",
    "verify": "Prove that log and store are as they were signed.",
    "status": "Show the state of kernel, service, forwarder and store.",
    "metrics": "Write the figures for Prometheus.",
    "doctor": "Show what is wrong with audit here, and how to fix it.",
    "compliance": "Show line by line whether a framework is met, and how.",
    "coverage": "Show which tasks are covered, and why others are not.",
    "adopt": "Change over from auditd, with nothing lost; or back.",
    "on": "Switch tracing on for all tasks at once.",
    "off": "Switch tracing off for all tasks at once.",
    "backup": "Copy the store into a file, while it is written to.",
    "restore": "Put a backup where the store is to be.",
    "check": "Check that the store is whole.",
    "migrate": "Create the store, or update it to this program's schema.",
}
_GROUPS = ("rules", "fleet", "config")
_LIKE_AUSEARCH = ("search",)


def _load(verb: str | None, in_group: str | None = None) -> None:
    """Load the named verb, of a group the one named in it, or all verbs.

    In the place of those that were loaded before, for another command line of this process.
    """
    app.registered_commands.clear()
    app.registered_groups.clear()
    if verb not in _GROUPS:
        add_verbs(app, __name__, _VERBS, verb)
    for group in _GROUPS:
        if group == verb or verb not in (*_VERBS, *_GROUPS):
            module = import_module(f"{__name__}.{group}")
            module.app.registered_commands.clear()
            add_verbs(module.app, module.__name__, module.VERBS, in_group)
            app.add_typer(module.app, name=group)


def all_commands() -> list[Described]:
    """Give every command with its options, for the documentation."""
    _load(None)
    root = typer.main.get_command(app)
    return list_commands(root, typer.Context(root, info_name="auditsvc"))


def _fail(line: str, code: int) -> int:
    said = f"auditsvc: {visible(' '.join(line.split()))}"
    typer.echo(fitted(said, sys.stderr), err=True)
    return code


def main() -> None:
    """Run a command line and exit with its status."""
    _have_streams()
    words = sys.argv[1:]
    verb, in_group = named(words)
    if verb or "--version" not in words:
        _load(verb, in_group)
    # What is loaded stays to the end: to search it for garbage, there too, takes a quarter of
    # the time of a short command.
    gc.freeze()
    gc.enable()
    status = _main()
    # As ausearch, which has one status for all that gives no events.
    sys.exit(1 if status == 2 and verb in _LIKE_AUSEARCH else status)


def _have_streams() -> None:
    """Open missing standard streams: otherwise a file of ours would get the number of one."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - stays open
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - stays open
    if isinstance(sys.stdout, TextIOWrapper):  # text that the locale cannot encode is no failure
        sys.stdout.reconfigure(errors="backslashreplace")


def _command_of(error: typer.TyperException) -> str:
    """Name the command whose words were wrong."""
    context = getattr(error, "ctx", None)
    names: list[str] = []
    while context and context.parent:
        names.insert(0, context.info_name)
        context = context.parent
    return " ".join(("auditsvc", *names))


def _main() -> int:
    try:
        result = app(standalone_mode=False)
    except AuditsvcError as error:
        return _fail(str(error), error.status)
    except typer.TyperException as error:
        line = plain(error.format_message()).rstrip(".")
        return _fail(f"{line}; see `{_command_of(error)} --help`", error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 1)
    except MemoryError:
        return _fail("not enough memory; ask for less at a time", 1)
    except OSError as error:
        # What is still buffered would fail once more at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            return 1  # the reader of our output has ended
        return _fail(of_system(error), 1)
    return result if isinstance(result, int) else 0
