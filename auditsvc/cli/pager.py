"""A pager for output that is longer than the terminal, on a terminal only."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType
    from typing import Self

_DEFAULT: Final = ("less", "-RFX")
"""less: keep colours, end if it fits on the screen, leave the screen as it is."""
_LESS: Final = "RFX"
"""The same for a pager that is named, and has no options of its own in LESS."""
_NAMES: Final = ("AUDITSVC_PAGER", "PAGER")


class _PagerEnded(KeyboardInterrupt):
    """The pager was left: what is asked for is not wanted any more.

    What ends a query at Ctrl-C, here and on a server, ends it at this too.
    """


class Pager:
    """The pager of one answer, if `out` is a terminal.

        with Pager(sys.stdout) as pager, ask() as rows, pager.writing() as out: ...

    AUDITSVC_PAGER or PAGER names it, without a shell; `cat` or nothing is none. It gets
    LESSSECURE=1, with which less runs no other program and writes no file: what it shows is
    untrusted, and we may be root. In the main thread.

    When it is left early, the block of `writing` ends where it is, also in the middle of a query,
    and that is no error. Ctrl-C, which less takes for a command of its own, raises
    KeyboardInterrupt there. At the end of all the pager is waited for: by then the store is closed.
    """

    def __init__(self, out: TextIO, *, wanted: bool = True) -> None:
        self._out = out
        self._command = command_of(os.environ) if wanted and out.isatty() else None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if self._process is not None:
            with _ignored(signal.SIGINT):  # it is the pager's now
                self._process.wait()
        return isinstance(error, _PagerEnded)

    @contextmanager
    def writing(self) -> Iterator[TextIO]:
        """Start it, and give what to write to."""
        process = self._started()
        if process is None:
            yield self._out
            return
        assert process.stdin is not None
        stream = _Terminal(process.stdin, encoding="utf-8", errors="backslashreplace")
        is_begun = False
        try:
            with _ended_with(process):
                is_begun = True
                yield stream
                stream.flush()
        except (BrokenPipeError, _PagerEnded):
            if not is_begun:  # `with` has nothing to run then; see __exit__
                raise
        finally:
            _let_go(stream)

    def _started(self) -> subprocess.Popen[bytes] | None:
        if self._command is None:
            return None
        environment = {"LESS": _LESS, "LESSCHARSET": "utf-8"} | os.environ | {"LESSSECURE": "1"}
        try:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, env=environment)
        except OSError:  # it is no program: then there is no pager
            return None
        return self._process


@contextmanager
def paged(out: TextIO, *, wanted: bool = True) -> Iterator[TextIO]:
    """Give what to write to, and wait for the pager at the end."""
    with Pager(out, wanted=wanted) as pager, pager.writing() as stream:
        yield stream


@contextmanager
def _ended_with(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the block when the process has ended, with _PagerEnded."""
    has_ended = threading.Event()

    def look(number: int, frame: FrameType | None) -> None:
        del number, frame
        # Not poll(), in which the block may be: the process stays to be waited for.
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            has_ended.set()
            raise _PagerEnded

    before = signal.signal(signal.SIGCHLD, look)
    try:
        look(signal.SIGCHLD, None)  # it may have ended before the handler was there
        yield
    except Exception as error:
        # SQLite, in whose callback the handler may run, passes on an error of its own.
        if not has_ended.is_set():
            raise
        raise _PagerEnded from error
    finally:
        signal.signal(signal.SIGCHLD, before)


def _let_go(stream: TextIO) -> None:
    """Close the pager's input; what was not written by now is not: that could wait for ever."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)
    stream.close()


@contextmanager
def _ignored(number: signal.Signals) -> Iterator[None]:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


class _Terminal(TextIOWrapper):
    """A pager's input, which is shown on a terminal."""

    def isatty(self) -> bool:
        """Whether what is written is shown on a terminal: it is."""
        return True


def command_of(environment: Mapping[str, str]) -> list[str] | None:
    """Give the command of the pager that these variables name; None for none."""
    named = next((environment[name] for name in _NAMES if name in environment), None)
    try:
        words = list(_DEFAULT) if named is None else shlex.split(named)
    except ValueError:  # a quote that is not closed: no shell would start it either
        return None
    if not words or words[0] == "cat" or shutil.which(words[0]) is None:
        return None
    return words
