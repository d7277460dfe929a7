"""Signals: each is received once with its sender, and no others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

WAITER = """
import signal, time
from auditsvc.host.signals import Signals
signals = Signals((signal.SIGTERM, signal.SIGHUP))
print("ready", flush=True)
while True:
    got = signals.wait(0.2)
    if got is not None:
        print(got.si_signo, got.si_pid, flush=True)
        if got.si_signo == signal.SIGTERM:
            break
"""


def test_a_pause_is_no_signal():
    """A process that is stopped for longer than it waits gets what was sent, and nothing else."""
    with subprocess.Popen([sys.executable, "-P", "-c", WAITER], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        for _ in range(3):
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.4)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.1)
        for number in (signal.SIGHUP, signal.SIGTERM):
            process.send_signal(number)
            assert process.stdout.readline() == b"%d %d\n" % (number, os.getpid())
        assert process.stdout.read() == b""
        assert process.wait(60) == 0
