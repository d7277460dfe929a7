"""`auditsvc search`: the events that meet some conditions, in the words of ausearch."""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib import import_module
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Final

import typer

from auditsvc.access.client import Access
from auditsvc.cli import search_options as of
from auditsvc.cli.lowering import lower
from auditsvc.cli.options import MOST, ColorOption, NoPagerOption, StoreOption
from auditsvc.cli.pager import Pager
from auditsvc.cli.recording import recorded
from auditsvc.cli.search_output import As, Show
from auditsvc.cli.version import ShortVersionOption
from auditsvc.config import load_settings
from auditsvc.errors import UsageError
from auditsvc.host.terminal import encodable, visible
from auditsvc.processes.drawing import users_of
from auditsvc.processes.event_trees import EventTrees
from auditsvc.render.colour import When, is_coloured
from auditsvc.render.waiting import waiting
from auditsvc.search import formats, sources
from auditsvc.search.checkpoint import events_since
from auditsvc.search.checkpoint import forget as forget_checkpoint
from auditsvc.search.select import explained, found_events
from auditsvc.search.statement import ALL, Page
from auditsvc.store.databases import file_url
from auditsvc.store.read.limits import MOST_SECONDS, Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.config import Settings
    from auditsvc.store.read.events import Event

COMMAND = of.AskedCommand
_MEMORY: Final = 512 << 20
_NOTHING: Final = 1
"""Exit status if no event was found, as ausearch's."""


def search(
    *,
    event: of.Event = None,
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
    start: of.Start = None,
    end: of.End = None,
    terminal: of.Terminal = None,
    uid_all: of.UidAll = None,
    uid_effective: of.UidEffective = None,
    uid: of.Uid = None,
    loginuid: of.Loginuid = None,
    uuid: of.Uuid = None,
    vm_name: of.VmName = None,
    executable: of.Executable = None,
    word: of.Word = False,
    since: of.Since = None,
    until: of.Until = None,
    utc: of.Utc = False,
    path: of.FullPath = None,
    container: of.Container = None,
    unit: of.Unit = None,
    where: of.Where = None,
    form: Annotated[
        As | None, typer.Option("--format", help="Default: table.", show_default=False)
    ] = None,
    interpret: Annotated[
        bool, typer.Option("-i", "--interpret", help="Same as --format interpret.")
    ] = False,
    raw: Annotated[bool, typer.Option("-r", "--raw", help="Same as --format raw.")] = False,
    just_one: Annotated[
        bool, typer.Option("--just-one", help="Stop after the first event.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", help="At most so many events.", metavar="N", min=1, max=MOST),
    ] = None,
    newest: Annotated[bool, typer.Option("--newest", help="The newest event first.")] = False,
    after: Annotated[
        int | None,
        typer.Option(
            "--after",
            help="Only what comes after this event, in the order that is shown: the next page.",
            metavar="EVENT_ID",
            min=0,
            max=MOST,
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            help="Only what arrived since the last search with this name.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Delete the checkpoint from the store.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the SQL, for `auditsvc query`.")
    ] = False,
    extra_keys: Annotated[bool, typer.Option("--extra-keys", help="CSV: the keys.")] = False,
    extra_labels: Annotated[bool, typer.Option("--extra-labels", help="CSV: labels.")] = False,
    extra_obj2: Annotated[
        bool, typer.Option("--extra-obj2", help="CSV: the second object.")
    ] = False,
    extra_time: Annotated[
        bool, typer.Option("--extra-time", help="CSV: the parts of the time.")
    ] = False,
    escape: Annotated[
        formats.Escape,
        typer.Option("--escape", "-escape", help="How values are made safe."),
    ] = formats.Escape.TTY,
    exact: Annotated[
        bool, typer.Option("--exact", help="CSV: no ' before what looks like a formula.")
    ] = False,
    store: StoreOption = None,
    input_: Annotated[
        Path | None,
        typer.Option("-if", "--input", help="Search this log, or folder of logs.", metavar="FILE"),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            help="End after this time; 0: never.",
            metavar="SECONDS",
            min=0,
            max=MOST_SECONDS,
        ),
    ] = 300.0,
    tree: Annotated[
        bool,
        typer.Option(
            "--tree", help="Below each event: its process, and what that made, as `tree` draws it."
        ),
    ] = False,
    archive: Annotated[
        bool, typer.Option("--archive", help="Search the archive [archive] and the store as one.")
    ] = False,
    color: ColorOption = When.AUTO,
    no_pager: NoPagerOption = False,
    line_buffered: Annotated[
        bool, typer.Option("-l", "--line-buffered", help="Write each event at once.")
    ] = False,
    input_logs: Annotated[bool, typer.Option("--input-logs", hidden=True)] = False,
    debug: Annotated[bool, typer.Option("--debug", hidden=True)] = False,
    eoe_timeout: Annotated[str | None, typer.Option("--eoe-timeout", hidden=True)] = None,
    version: ShortVersionOption = False,
) -> int:
    """Search for events; the options are those of ausearch, and exit status 1 says: none.

    All conditions must hold. Texts match as a part of the value, with -w as all of it. -ts and
    -te are local times: now, recent, this-hour, boot, today, yesterday, this-week, week-ago,
    this-month, this-year, a date, a time, or both.
    """
    # What is not used: nothing reads stdin, hides events, or waits for an event's end here.
    options = of.options_from(locals())
    shown = _form(form, interpret=interpret, raw=raw)
    extra = formats.Extra(extra_keys, extra_labels, extra_obj2, extra_time)
    if shown is not As.CSV and extra != formats.Extra():
        raise UsageError("--extra-... adds columns to CSV", "add --format csv")
    for note in options.notes():
        _say(note)
    page = Page(1 if just_one else limit, newest, after)
    _check(checkpoint, forget=forget, cannot=explain or input_ is not None or page != ALL)
    _check_archive(checkpoint, input_, archive=archive, tree=tree)
    of_host = load_settings(store=store)
    lower(of_host, reads_files=True, pages=True)
    with _store(of_host, input_) as settings:
        if forget and checkpoint:
            forget_checkpoint(settings.store, checkpoint)
            return 0
        criteria = options.criteria(settings.store)
        if explain:
            give = (
                sources.archive(settings).explained
                if archive
                else partial(explained, settings.store)
            )
            typer.echo(visible_lines(give(criteria, page)))
            return 0
        limits = Limits(timeout, _MEMORY)
        style = formats.Style(settings.host, utc, escape)
        find = sources.archive(settings).found if archive else partial(found_events, settings.store)
        if checkpoint:
            searched = events_since(settings.store, checkpoint, criteria, limits)
        else:
            searched = find(criteria, page, limits)
        recording = nullcontext(Access()) if input_ else recorded(settings, "search")
        pager = Pager(sys.stdout, wanted=not no_pager)
        with pager, recording as access, waiting() as line, searched as found:
            first = next(found.events, None)
            if sys.stdout.isatty():
                line.end()  # a pager may take the screen
            if first is None:
                if shown is not As.RAW:
                    _say_plain("<no matches>")
                return _NOTHING
            with pager.writing() as out:
                show = Show(
                    shown,
                    style,
                    extra,
                    exact=exact,
                    flush=line_buffered,
                    coloured=is_coloured(color, out),
                    trees=EventTrees(found.connection) if tree and found.connection else None,
                    users=users_of(settings.host),
                )
                shown_ids = Ids()
                rows = line.counted(access.counted(chain([first], found.events)))
                show.write(found, shown_ids.of(rows), out)
            if shown_ids.count == limit:  # to look for one more may take long
                _say(f"the next page: --after {shown_ids.last}")
    return 0


class Ids:
    """Counts events, and knows the last one."""

    def __init__(self) -> None:
        """Begin with none."""
        self.count, self.last = 0, 0

    def of(self, events: Iterator[Event]) -> Iterator[Event]:
        """Give the events on."""
        for event in events:
            self.count, self.last = self.count + 1, event.id
            yield event


def _check(checkpoint: str | None, *, forget: bool, cannot: bool) -> None:
    if checkpoint is None and forget:
        raise UsageError("--forget needs a --checkpoint")
    if checkpoint == "":
        raise UsageError("--checkpoint needs a name")
    if checkpoint is not None and encodable(checkpoint) != checkpoint:
        raise UsageError(f"--checkpoint {checkpoint}: not UTF-8", "give another name")
    if checkpoint is not None and cannot:
        raise UsageError(
            "--checkpoint goes with none of --just-one, --limit, --newest, --after, --explain, -if",
            "leave it out",
        )


def _check_archive(checkpoint: str | None, log: Path | None, *, archive: bool, tree: bool) -> None:
    if archive and (checkpoint is not None or log is not None or tree):
        raise UsageError("--archive goes with none of --checkpoint, -if and --tree", "leave it out")


def _form(form: As | None, *, interpret: bool, raw: bool) -> As:
    if interpret:
        return As.INTERPRET
    if raw:
        return As.RAW
    return form or As.TABLE


def visible_lines(sql: str) -> str:
    """Give SQL whose lines stay lines, with nothing hidden in them."""
    return "\n".join(visible(line) for line in sql.split("\n"))


def _say(note: str) -> None:
    _say_plain(f"auditsvc: {visible(note)}")


def _say_plain(line: str) -> None:
    typer.echo(line, err=True)


@contextmanager
def _store(settings: Settings, log: Path | None) -> Iterator[Settings]:
    """Give the settings with the store to search: of a log, one that lasts for the search."""
    if log is None:
        yield settings
        return
    with TemporaryDirectory(prefix="auditsvc-") as folder:
        made = settings.model_copy(
            update={"store": file_url(Path(folder) / "store.db"), "state_directory": Path(folder)}
        )
        # Only then: it is large, with all that reads logs.
        job = import_module("auditsvc.ingest.ingest").Ingest(made, _logs(log))
        job.run(lambda _: None)
        for note in (*job.notes, *map(str, job.errors)):
            _say(note)
        yield made


def _logs(log: Path) -> list[Path]:
    if not log.is_dir():
        return [log]
    found = [*log.glob("audit.log*"), *log.glob("audit-*.log*")]
    if not found:
        raise UsageError(f"{log}: no audit log in this folder", "name the file")
    return sorted(found)
