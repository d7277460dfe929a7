"""The process between the service and a program that it runs.

    python -m auditsvc.alert.supervisor SECONDS FD PROGRAM ARGUMENT ...
        -> one line to the descriptor FD, and all that the program has started has ended

What must hold:

* Whatever the program starts ends: in whatever group or session, with whatever signals ignored,
  and if its parent has ended. The kernel gives such orphans to this process, so all of them are
  below it (PR_SET_CHILD_SUBREAPER, prctl(2)). Of the service itself they cannot be children: it
  would have to wait for processes that it does not know, and the holder must not be below it.
* What a program that has ended leaves behind has the rest of the time: sendmail(8) may deliver
  after it has answered.
* It ends by itself after its time, whatever becomes of the service.
* The program begins with no signal blocked: the service blocks those that it waits for. SIGPIPE and
  SIGXFSZ, which Python ignores, are as usual.

The line is JSON: `status` (negative for a signal; null if the program has not ended in its time),
`left` (how many processes the program had left and that were ended), `stay` (how many could not be
ended), `refused` (why it cannot be executed).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Final

from auditsvc.host.processes import below, end_below

_PR_SET_CHILD_SUBREAPER: Final = 36  # include/uapi/linux/prctl.h
_ENDING_SECONDS: Final = 5.0
_STEP: Final = 0.25


def main(arguments: list[str]) -> None:
    """Run the program and end all of it."""
    ends = time.monotonic() + float(arguments[0])
    report, command = int(arguments[1]), arguments[2:]
    os.set_inheritable(report, False)
    if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        _say(report, refused="the kernel gives no orphans to a process (prctl)")
        return
    # Before the program is there: a child's end that comes earlier would be lost.
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGCHLD})
    try:
        program = os.posix_spawn(
            command[0],
            command,
            os.environ,
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
        )
    except OSError as error:
        _say(report, refused=error.strerror or str(error))
        return
    os.close(0)  # it is the program's: nobody else may hold it open
    status = _wait(program, ends)
    left = 0 if status is None else len(below(os.getpid()))
    stay = end_below(os.getpid(), _ENDING_SECONDS)
    _say(report, status=status, left=left, stay=stay)


def _wait(program: int, ends: float) -> int | None:
    """Wait for the program and all that it has left; gives its status, None if it goes on."""
    status = None
    while True:
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == program:
                    status = os.waitstatus_to_exitcode(found[1])
        left = ends - time.monotonic()
        if left <= 0 or (status is not None and not below(os.getpid())):
            return status
        signal.sigtimedwait({signal.SIGCHLD}, min(left, _STEP))


def _say(report: int, **facts: object) -> None:
    with suppress(BrokenPipeError):  # the service has ended
        os.write(report, json.dumps(facts).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1:])
