"""`auditsvc shell`: a prompt for SQL, with completion and a history."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Annotated, Final, TextIO

import typer
from prompt_toolkit import PromptSession
from prompt_toolkit.application.current import get_app
from prompt_toolkit.filters import Condition

from auditsvc import __version__
from auditsvc.cli.lowering import lower
from auditsvc.cli.options import StoreOption
from auditsvc.cli.pager import paged
from auditsvc.cli.recording import recorded
from auditsvc.config import Settings, load_settings
from auditsvc.errors import AuditsvcError
from auditsvc.host.signals import alarm
from auditsvc.host.terminal import visible
from auditsvc.shell.completion import SqlCompleter
from auditsvc.shell.history import open_history
from auditsvc.shell.session import COMMANDS, Session, is_complete, statements
from auditsvc.store.databases import place_of
from auditsvc.store.read.catalog import views_of
from auditsvc.store.read.limits import MOST_SECONDS, Limits
from auditsvc.store.read.result import Result
from auditsvc.store.read.sql import run_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from auditsvc.shell.completion import Views
    from auditsvc.store.read.time_span import Span

_MEMORY: Final = 512 << 20
_LOOK_UP: Final = Limits(2.0, _MEMORY)
"""Of the values that are completed: who types does not wait for longer."""
_MOST_VALUES: Final = 2000
_PROMPT, _MORE = "auditsvc> ", "      ... "


def shell(
    *,
    store: StoreOption = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Begin with \\since TIME, as for query.", metavar="TIME"),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", help="Begin with \\until TIME.", metavar="TIME")
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            help="End each query after this time; 0: never.",
            metavar="SECONDS",
            min=0,
            max=MOST_SECONDS,
        ),
    ] = 300.0,
    no_pager: Annotated[bool, typer.Option("--no-pager", help="On a terminal: no pager.")] = False,
) -> int:
    r"""Ask the store at a prompt: SQL that ends with `;`, or a command (\? lists them).

    Tab completes, the history is kept in ~/.local/state/auditsvc, Ctrl-C ends the query that
    runs. Without a terminal, statements are read from standard input: an error is told and the
    next statement runs; if there was one, the exit status is 1. Ctrl-C ends them all.
    """
    settings = load_settings(store=store)
    lower(settings, reads_files=True, pages=True)
    views = views_of(settings.store)
    is_typed = sys.stdin.isatty()
    failed: list[str] = []

    def tell(line: str) -> None:
        failed.append(line)
        typer.echo(f"auditsvc: {visible(line)}", err=True)

    def page() -> AbstractContextManager[TextIO]:
        return paged(sys.stdout, wanted=is_typed and not no_pager)

    session = Session(_asking(settings, Limits(timeout, _MEMORY)), views, page, tell)
    for name, words in (("since", since), ("until", until)):
        if words is not None:
            session.run(f"\\{name} {words}")
    if failed:
        return 2
    with recorded(settings, "shell"):
        if is_typed:
            _run_typed(session, _prompt(settings, views))
        else:
            for text in statements(sys.stdin):
                if not session.run(text) or session.interrupted:
                    break
    return 1 if failed and not is_typed else 0


def _asking(
    settings: Settings, limits: Limits
) -> Callable[[str, Span], AbstractContextManager[Result]]:
    """Give what runs a statement: recorded, and ended when it takes too long."""

    @contextmanager
    def ask(sql: str, period: Span) -> Iterator[Result]:
        with (
            recorded(settings, "shell", sql) as access,
            alarm(limits.seconds, limits.late()),
            run_query(settings.store, sql, limits, period, views_only=True) as result,
        ):
            yield Result(result.columns, access.counted(result))

    return ask


class _CtrlC:
    """The handler of SIGINT: it ends the statement that runs, once; else it does nothing.

    A second Ctrl-C may come at any moment: while the first one is told, or before the prompt.
    """

    def __init__(self) -> None:
        self.ends = False

    def __call__(self, number: int, frame: object) -> None:
        del number, frame
        if self.ends:
            self.ends = False
            raise KeyboardInterrupt


def _run_typed(session: Session, prompt: PromptSession[str]) -> None:
    """Run what is typed at the prompt, until Ctrl-D."""
    ctrl_c = _CtrlC()
    before = signal.signal(signal.SIGINT, ctrl_c)
    try:
        goes_on = True
        while goes_on:
            try:
                text = prompt.prompt(_PROMPT)
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            try:
                ctrl_c.ends = True
                goes_on = session.run(text)
                ctrl_c.ends = False
            except KeyboardInterrupt:
                pass
    finally:
        signal.signal(signal.SIGINT, before)


def _prompt(settings: Settings, views: Views) -> PromptSession[str]:
    """Say where one is; give the prompt."""
    history, why = open_history()
    place = visible(place_of(settings.store))
    typer.echo(f"auditsvc {__version__}, {place}: \\? for help, \\q to end", err=True)
    if why:
        typer.echo(f"auditsvc: the history is not kept: {visible(why)}", err=True)
    return PromptSession(
        history=history,
        completer=SqlCompleter(views, cache(_values(settings)), COMMANDS),
        complete_while_typing=False,
        multiline=Condition(lambda: not is_complete(get_app().current_buffer.text)),
        prompt_continuation=_MORE,
    )


def _values(settings: Settings) -> Callable[[str], Sequence[str]]:
    def values(column: str) -> Sequence[str]:
        sql = (
            f"SELECT {column}, sum(calls) FROM activity WHERE {column} IS NOT NULL"  # noqa: S608 - a column of ours
            f" GROUP BY {column} ORDER BY 2 DESC LIMIT {_MOST_VALUES}"
        )
        try:
            with run_query(settings.store, sql, _LOOK_UP) as result:
                return sorted(str(row[0]) for row in result)
        except AuditsvcError:
            return ()

    return values
