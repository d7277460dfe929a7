"""A signal does not leave a flip incomplete."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from auditsvc.errors import AuditsvcError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class _InterruptedError(BaseException):
    """Not caught by any `except` before the end of the flip."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a signal that ends a program run every `finally` first; then AuditsvcError.

    A second signal is ignored.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise _InterruptedError

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    except _InterruptedError as error:
        raise AuditsvcError(
            "interrupted", "audit may have been switched: `auditsvc status` shows it"
        ) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
