"""Has the reading commands recorded (`auditsvc.access`), with their options as they were typed.

What cannot be recorded is said in one line on stderr, and goes on, unless `access.required`.
"""

from __future__ import annotations

import shlex
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import typer

from auditsvc.access.client import recording
from auditsvc.host.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditsvc.access.client import Access
    from auditsvc.config import Settings

_STORE: Final = "--store"
"""Its URL may hold a password; the store's name is recorded without."""


@contextmanager
def recorded(
    settings: Settings,
    command: str,
    sql: str | None = None,
    *,
    is_quiet: bool = False,
    place: str | None = None,
) -> Iterator[Access]:
    """Record that `command` (its name, as `query`) reads the store of `settings`, or `place`.

    An error is the only line that its command writes; `is_quiet`: what cannot be read, and so
    cannot be recorded either, is told by the command itself.
    """
    words = typed(sys.argv[1:], command, sql)
    with recording(settings, command, words, sql, place=place) as access:
        yield access
    if access.reason and not is_quiet:
        typer.echo(f"auditsvc: not recorded: {visible(access.reason)}", err=True)


def typed(words: Sequence[str], command: str, sql: str | None) -> str:
    """Give the words behind the command's name as a shell has them, without store and SQL."""
    name = command.rpartition("_")[2]
    rest = list(words[words.index(name) + 1 :]) if name in words else []
    if sql in rest:
        rest.remove(sql)
    shown = []
    while rest:
        word = rest.pop(0)
        if word == _STORE:
            rest = rest[1:]
        elif not word.startswith(f"{_STORE}="):
            shown.append(word)
    return shlex.join(shown)
