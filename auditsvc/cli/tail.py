"""`auditsvc tail`: events as they arrive, a line each, with the filters of `search`."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from auditsvc.cli import search_options as of
from auditsvc.cli.ended import ended_by_signals
from auditsvc.cli.lowering import lower
from auditsvc.cli.options import ColorOption, StoreOption
from auditsvc.cli.recording import recorded
from auditsvc.config import load_settings
from auditsvc.errors import UsageError
from auditsvc.plural import counted
from auditsvc.render.colour import FAILED, When, is_coloured, marked
from auditsvc.render.fit import hanging, terminal_width
from auditsvc.search import formats
from auditsvc.search.arrivals import LATE, SpoolArrivals, StoreArrivals
from auditsvc.search.own_processes import own_processes
from auditsvc.spool.segments import segments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.config import Settings
    from auditsvc.search.criteria import Criteria
    from auditsvc.store.read.events import Event

COMMAND = of.SearchCommand
_EVERY: Final = 0.1
"""Seconds between two looks at the spool, and a multiple of it at a store."""
_STORE_EVERY: Final = 0.4


def tail(
    *,
    arch: of.Arch = None,
    comm: of.Comm = None,
    exit_: of.Exit = None,
    file: of.File = None,
    gid_all: of.GidAll = None,
    gid_effective: of.GidEffective = None,
    gid: of.Gid = None,
    host: of.Remote = None,
    key: of.Key = None,
    message: of.Message = None,
    node: of.Node = None,
    object_: of.Object = None,
    subject: of.Subject = None,
    context: of.Label = None,
    pid: of.Pid = None,
    ppid: of.Ppid = None,
    syscall: of.Syscall = None,
    session: of.Session = None,
    success: of.Success = None,
    terminal: of.Terminal = None,
    uid_all: of.UidAll = None,
    uid_effective: of.UidEffective = None,
    uid: of.Uid = None,
    loginuid: of.Loginuid = None,
    uuid: of.Uuid = None,
    vm_name: of.VmName = None,
    executable: of.Executable = None,
    word: of.Word = False,
    path: of.FullPath = None,
    container: of.Container = None,
    unit: of.Unit = None,
    where: of.Where = None,
    just_one: Annotated[
        bool, typer.Option("--just-one", help="Stop after the first event.")
    ] = False,
    color: ColorOption = When.AUTO,
    store: StoreOption = None,
) -> None:
    """Show events as they arrive, one line each, with the filters of `search`.

    They are read from the spool of this host's service; with --store from that store, where
    an event that began more than ten minutes before it arrives is not seen. Nothing is written
    to either. The calls of this process and of its ancestors (shell, sshd, terminal) are left
    out, as they would never end.
    """
    options = of.options_from(locals())
    settings = load_settings(store=store)
    coloured = is_coloured(color, sys.stdout)
    lower(settings)
    with ended_by_signals(), recorded(settings, "tail") as access:
        own = own_processes(settings.host)
        criteria = replace(options.criteria(_dialect_url(settings, store)), exclude=own)
        style = formats.Style(settings.host)
        arriving = _arriving(settings, criteria, from_store=store is not None)
        for event in access.counted(arriving):
            alarm = coloured and formats.is_alarming(event)
            _write(formats.one_line(event, style), FAILED if alarm else None)
            if just_one:
                return


def _dialect_url(settings: Settings, store: str | None) -> str:
    """Give the URL of the store that the criteria are asked of: rows of a spool are in SQLite."""
    return settings.store if store is not None else "sqlite:////spool"


def _arriving(settings: Settings, criteria: Criteria, *, from_store: bool) -> Iterator[Event]:
    if from_store:
        with StoreArrivals(settings.store, criteria) as store:
            _say(f"following a store: what arrives more than {LATE} s late is not seen")
            while True:
                yield from store.new(criteria)
                time.sleep(_STORE_EVERY)
    if not segments(settings.spool_directory):
        raise UsageError(
            f"there is no spool in {settings.spool_directory}",
            "start the service, or follow a store: --store URL",
        )
    told = 0
    with SpoolArrivals(settings.spool_directory, settings.host, settings.decoder_name) as spool:
        if sys.stderr.isatty():  # who tries something has to know from when it is seen
            _say(f"following the spool in {settings.spool_directory}; Ctrl-C ends it")
        while True:
            yield from spool.new(criteria)
            if spool.missing > told:
                told = spool.missing
                _say(f"{counted(told, 'segment')} of the spool went unread; see the store")
            time.sleep(_EVERY)


def _say(note: str) -> None:
    typer.echo(f"auditsvc: {note}", err=True)


def _write(line: tuple[str, str], mark: str | None) -> None:
    """Write a line; on a terminal that is narrower, further lines below its words."""
    moment, said = line
    if sys.stdout.isatty():
        pieces = [(moment, mark), (said, mark)]
        lines = hanging(pieces, terminal_width(), len(moment) + 1, gap=1)
        sys.stdout.writelines(f"{each}\n" for each in lines)
    else:
        sys.stdout.write(f"{marked(f'{moment} {said}', mark)}\n")
    sys.stdout.flush()
