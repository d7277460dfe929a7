"""The service at rest makes next to no events of its own, whatever of its processes is audited.

Every call is audited of all processes with the service's login uid (service, holder, forwarder),
and of the store's server and of journald. Nothing else has a rule, so each event here is one that
the service causes. More than ten a minute would be a loop: to store one makes the next.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest
from fixtures.repeats import times
from fixtures.waiting import at_rest, until
from live.programs import fresh_auid
from live.service import Service

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_lock")]

_A_MINUTE = 10


class Quiet(Service):
    """A service with a holder and a forwarder, whose own calls are all audited."""

    def __init__(self, folder, programs, journald, store, rules):
        self.auid = fresh_auid()
        rules += f"-a always,exit -S all -F auid={self.auid} -k own\n"
        super().__init__(folder, rules, store=store)
        self.command = [
            *journald.prefix,
            programs["as_auid"],
            str(self.auid),
            *self.command,
        ]
        self.environment |= {
            "AUDITSVC_FORWARD__ENABLED": "true",
            "AUDITSVC_FORWARD__KEYED": "true",
            "AUDITSVC_HOST": socket.gethostname(),
        }

    def calls(self):
        """Count the calls that are in its log so far."""
        return len(re.findall(rb"^type=SYSCALL ", self.spooled(), re.MULTILINE))

    def last(self):
        """Show the last ones."""
        return b"\n".join(re.findall(rb"^type=SYSCALL .*$", self.spooled(), re.MULTILINE)[-12:])

    def holder(self):
        """Give the holder's pid; None while there is none."""
        for each in self.processes():
            if b"holder/process.py" in each[1]:
                return each[0]
        return None

    def loader(self):
        """Give the pid of the loader's process; None while there is none."""
        for pid, _ in self.processes():
            with suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text() == "auditsvc-loader\n":
                    return pid
        return None

    def processes(self):
        """Give pid and command line of all that has its login uid."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if (folder / "loginuid").read_text().strip() == str(self.auid):
                    yield int(folder.name), (folder / "cmdline").read_bytes()
            except OSError:
                continue

    def forwards(self):
        """Give the forwarder's pid; None while there is none."""
        try:
            return json.loads((self.folder / "run/forward.json").read_text())["pid"]
        except (OSError, ValueError):
            return None

    def wait_quiet(self, seconds):
        """Wait until few calls come within these seconds, of any of its processes."""

        def is_quiet():
            before = at_rest(self.calls)
            time.sleep(seconds)
            return self.calls() - before <= _A_MINUTE * seconds / 60

        # What its start causes may come late on a busy host; a loop never ends.
        until(is_quiet, told=lambda: self.last().decode(errors="replace"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def quiet(request, programs, journald, tmp_path):
    """A service that has not begun yet, with each kind of store."""
    processes, store = [("pid", journald.process.pid)], None
    if request.param == "postgresql":
        store = request.getfixturevalue("postgres_url")
        server = request.getfixturevalue("postgres_server")
        pid = int((server.folder / "data/postmaster.pid").read_text().split()[0])
        processes += [("pid", pid), ("ppid", pid)]
    rules = "".join(f"-a always,exit -S all -F {name}={pid} -k own\n" for name, pid in processes)
    return Quiet(tmp_path, programs, journald, store, rules)


@pytest.mark.parametrize("seconds", times(6, 60))
def test_nothing_that_it_does_feeds_it(quiet, seconds):
    """At rest, after it stored its own calls, and after its other processes were killed."""
    with quiet as service:
        first = until(service.forwards)
        holder, loader = until(service.holder), until(service.loader)
        service.wait_quiet(seconds)
        before = service.calls()
        for each in (holder, first, loader):
            os.kill(each, signal.SIGKILL)
        until(lambda: service.forwards() not in (None, first))
        until(lambda: service.holder() not in (None, holder))
        until(lambda: service.loader() not in (None, loader))
        until(lambda: service.calls() > before)  # their start is audited, as any program's
        service.wait_quiet(seconds)
