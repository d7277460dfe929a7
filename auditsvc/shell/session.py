r"""A session at the prompt: runs statements and commands, one by one.

    session = Session(ask, views, out, tell)
    session.run("SELECT 1;")     # writes rows to `out`
    session.run("\\q")           # False: the session has ended

An error, or Ctrl-C, ends what runs and not the session; `tell` says what was wrong, in a line.
"""

from __future__ import annotations

import difflib
import re
import sqlite3
from typing import TYPE_CHECKING, Final, TextIO

from auditsvc.errors import AuditsvcError, UsageError
from auditsvc.render.rows import Format, write_rows
from auditsvc.store.read.period import period_of
from auditsvc.store.read.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from auditsvc.decode.batch import Row
    from auditsvc.shell.completion import Views
    from auditsvc.store.read.time_span import Span

HELP: Final = r"""
  \d           the views and their columns
  \d VIEW      the columns of a view, with their types
  \x           rows as lines, one for each column: on, off, or by itself where a row is too wide
  \since TIME  only events from this time on (UTC): 2026-11-28, 14:30, yesterday, -1h, 2 hours ago
  \until TIME  only events before this time; \since shows what is set, \since - ends it
  \?           this help
  \q           end (or Ctrl-D)

A statement ends with ; and may have several lines. Tab completes views, columns, and values of
key, syscall, exe, comm and host within quotes. Ctrl-C ends the statement that runs, or clears the
line. Nothing can be changed: every statement only reads.
"""
COMMANDS: Final = ("\\d", "\\x", "\\since", "\\until", "\\?", "\\q")
_NONE: Final = ("-", "none")
_NO_VIEW: Final = re.compile(r'no such table: (\w+)|^relation "(\w+)" does not exist')
_NO_COLUMN: Final = re.compile(r'no such column: |^column "?[\w.]+"? does not exist')


def is_complete(text: str) -> bool:
    r"""Whether a text can be run: a command, or a statement with its `;`; an empty one too."""
    plain = text.strip()
    if not plain or plain.startswith("\\"):
        return True
    # What is not UTF-8 is refused when it is run.
    return sqlite3.complete_statement(plain.encode(errors="replace").decode())


def statements(lines: Iterable[str]) -> Iterator[str]:
    """Give the statements and commands in the lines of a file; the last one needs no `;`."""
    parts: list[str] = []
    for line in lines:
        parts.append(line)
        # No other line ends one, and to look at all of it after each would be quadratic.
        may_end = len(parts) == 1 or ";" in line or "*/" in line
        if may_end and is_complete("".join(parts)):
            yield "".join(parts)
            parts = []
    if rest := "".join(parts).strip():
        yield rest


class Session:
    r"""What `\x`, `\since` and `\until` have set, and who is asked."""

    def __init__(
        self,
        ask: Callable[[str, Span], AbstractContextManager[Result]],
        views: Views,
        page: Callable[[], AbstractContextManager[TextIO]],
        tell: Callable[[str], None],
    ) -> None:
        """`ask` runs SQL within a period; `page` gives what rows are written to."""
        self._ask = ask
        self._views = views
        self._page = page
        self._tell = tell
        self.period: dict[str, str | None] = {"since": None, "until": None}
        self.as_lines: bool | None = None
        self.interrupted = False
        """Whether Ctrl-C has ended a statement."""

    def run(self, text: str) -> bool:
        """Run a statement or a command; False if the session shall end."""
        plain = text.strip()
        try:
            if plain.startswith("\\"):
                return self._command(plain)
            if plain.rstrip("; \n"):
                self._query(plain)
        except AuditsvcError as error:
            self._tell(f"{error}{self._meant(str(error))}")
        except KeyboardInterrupt:
            self.interrupted = True
            self._tell("interrupted")
        return True

    def _meant(self, error: str) -> str:
        r"""Give what was meant by a name that is not there, or how to see it."""
        if found := _NO_VIEW.search(error):
            near = difflib.get_close_matches((found[1] or found[2]).lower(), list(self._views), 1)
            return f"; did you mean {near[0]}?" if near else r"; \d shows the views"
        return r"; \d VIEW shows the columns" if _NO_COLUMN.search(error) else ""

    def _query(self, sql: str) -> None:
        period = period_of(self.period["since"], self.period["until"])
        with self._ask(sql, period) as result, self._page() as out:
            write_rows(result, self._format(out), out)

    def _format(self, out: TextIO) -> Format | None:
        if self.as_lines is None:
            return None
        if self.as_lines:
            return Format.LINES
        return Format.TABLE if out.isatty() else Format.CSV

    def _command(self, text: str) -> bool:
        name, _, rest = text.rstrip("; ").partition(" ")
        words = rest.strip()
        if name == "\\q":
            return False
        if name == "\\?":
            self._write([HELP.strip("\n")])
        elif name == "\\d":
            self._describe(words)
        elif name == "\\x":
            self._set_lines(words)
        elif name in ("\\since", "\\until"):
            self._set_time(name.removeprefix("\\"), words)
        else:
            raise UsageError(f"there is no command {name}", r"see \?")
        return True

    def _describe(self, view: str) -> None:
        if not view:
            self._table(
                ("view", "columns"),
                [(name, ", ".join(each.name for each in of)) for name, of in self._views.items()],
            )
            return
        if view not in self._views:
            raise UsageError(f"there is no view {view}", r"see \d")
        self._table(("column", "type"), self._views[view])

    def _set_lines(self, word: str) -> None:
        known = {"on": True, "off": False, "auto": None}
        if not word:
            self.as_lines = not self.as_lines
        elif word in known:
            self.as_lines = known[word]
        else:
            raise UsageError(f"\\x takes on, off or auto, not {word}")
        shown = {True: "always", False: "never", None: "where a row is too wide"}
        self._write([f"rows as lines: {shown[self.as_lines]}"])

    def _set_time(self, name: str, words: str) -> None:
        before = self.period[name]
        if words:
            self.period[name] = None if words in _NONE else words.strip("'\"")
            try:
                period_of(self.period["since"], self.period["until"])
            except AuditsvcError:
                self.period[name] = before
                raise
        self._write([f"{name}: {self.period[name] or 'no limit'}"])

    def _table(self, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
        with self._page() as out:
            write_rows(Result(columns, rows), Format.TABLE, out)

    def _write(self, lines: Iterable[str]) -> None:
        with self._page() as out:
            out.writelines(f"{line}\n" for line in lines)
            out.flush()
