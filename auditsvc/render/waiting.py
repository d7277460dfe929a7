r"""Shows on a terminal that a command still waits for an answer: how long, and how many rows came.

    12 s, 3,400 rows

One line on stderr, if that is a terminal, from the third second on; it is gone when the block
ends, and, where stdout is a terminal too, before the first output. Nothing is known of how much
is left: both databases say only that they work.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_T = TypeVar("_T")
_FIRST: Final = 2.0
"""Seconds in which nothing is shown."""
_EVERY: Final = 1.0
_CLEAR: Final = "\r\x1b[K"


class Waiting:
    """The line; made by `waiting`."""

    def __init__(self, out: TextIO | None) -> None:
        self._out = out
        self._began = time.monotonic()
        self._rows = 0
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._is_shown = False
        if out is not None:
            threading.Thread(target=self._show, name="waiting", daemon=True).start()

    def counted(self, rows: Iterable[_T]) -> Iterator[_T]:
        """Give the rows, and count them."""
        for row in rows:
            self._rows += 1
            yield row

    def end(self) -> None:
        """Take the line away, for good."""
        with self._lock:
            self._ended.set()
            if self._is_shown:
                self._write(_CLEAR)
                self._is_shown = False

    def _show(self) -> None:
        wait = _FIRST
        while not self._ended.wait(wait):
            wait = _EVERY
            with self._lock:
                if not self._ended.is_set():
                    self._write(f"{_CLEAR}{self._line()}")
                    self._is_shown = True

    def _line(self) -> str:
        seconds = int(time.monotonic() - self._began)
        rows = f", {self._rows:,} rows" if self._rows else ""
        return f"{seconds} s{rows}"

    def _write(self, text: str) -> None:
        assert self._out is not None
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            self._ended.set()  # the terminal has gone

    def output(self, out: TextIO) -> TextIO:
        """Give what to write to instead of `out`: the line is gone before the first text."""
        return cast("TextIO", _Output(out, self.end)) if self._out and out.isatty() else out


class _Output:
    """A text stream that calls a function before it writes."""

    def __init__(self, out: TextIO, before: Callable[[], None]) -> None:
        self._out = out
        self._before = before

    def write(self, text: str) -> int:
        self._before()
        return self._out.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return getattr(self._out, name)


@contextmanager
def waiting() -> Iterator[Waiting]:
    """Show the line while the block runs."""
    shown = Waiting(sys.stderr if sys.stderr.isatty() else None)
    try:
        yield shown
    finally:
        shown.end()
