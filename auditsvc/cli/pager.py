"""A pager for output that is longer than the terminal, on a terminal only."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_LESS: Final = "FRSX"
"""less: end if it fits on the screen, keep colours, cut long lines, leave the screen as it is."""


@contextmanager
def paged(out: TextIO, *, wanted: bool = True) -> Iterator[TextIO]:
    """Give what to write to: a pager if `out` is a terminal, else `out`.

    PAGER names it, `cat` or nothing is none. It gets LESSSECURE=1, with which less runs no
    other program and writes no file: what it shows is untrusted, and we may be root. A pager
    that is left early is no error.
    """
    command = _pager() if wanted and out.isatty() else None
    if command is None:
        yield out
        return
    environment = {"LESS": _LESS, "LESSCHARSET": "utf-8"} | os.environ | {"LESSSECURE": "1"}
    pager = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
    assert pager.stdin is not None
    stream = _Terminal(pager.stdin, encoding="utf-8", errors="backslashreplace")
    try:
        with suppress(BrokenPipeError):
            yield stream
    finally:
        with suppress(BrokenPipeError):
            stream.close()
        pager.wait()


class _Terminal(TextIOWrapper):
    """A pager's input, which is shown on a terminal."""

    def isatty(self) -> bool:
        """Whether what is written is shown on a terminal: it is."""
        return True


def _pager() -> list[str] | None:
    try:
        words = shlex.split(os.environ.get("PAGER", "less"))
    except ValueError:  # a quote that is not closed: no shell would start it either
        return None
    if not words or words[0] == "cat" or shutil.which(words[0]) is None:
        return None
    return words
