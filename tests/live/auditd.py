"""Debian's auditd, unpacked by `make peers` and not installed, with a folder of its own.

with Auditd(folder) as auditd:      # registered with the kernel
...
auditd.log                          # what it wrote, raw
"""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from pathlib import Path

from fixtures.waiting import until

PEERS = Path(__file__).parents[2] / "build/peers"
AUDITCTL = PEERS / "sbin/auditctl"
LIBRARIES = next(PEERS.glob("usr/lib/*/libwrap.so.0"), PEERS / "absent").parent


_marks = itertools.count()


def wait_all(log):
    """Wait until the daemon's log has all that was called before: a message comes after it."""
    mark = f"mark {os.getpid()} {next(_marks)}."
    subprocess.run([AUDITCTL, "-m", mark], check=True)
    until(lambda: mark.encode() in log.read_bytes())


class Auditd:
    """Debian's auditd with a folder of its own, unpacked and not installed."""

    def __init__(self, folder, plugin=None, arguments="", **settings):
        """`plugin` gets all records on its standard input; `settings` are auditd.conf's."""
        self.log = folder / "audit.log"
        plugins = folder / "plugins.d"
        plugins.mkdir(parents=True)
        values = {
            "log_file": self.log,
            "log_format": "RAW",
            "flush": "NONE",
            "freq": 0,
            "max_log_file": 500,
            "max_log_file_action": "IGNORE",
            "space_left": 2,
            "space_left_action": "IGNORE",
            "admin_space_left": 1,
            "admin_space_left_action": "IGNORE",
            "disk_full_action": "IGNORE",
            "disk_error_action": "IGNORE",
            "local_events": "yes",
            "write_logs": "yes",
            "name_format": "NONE",
            "plugin_dir": plugins,
            "q_depth": 20000,
            "overflow_action": "IGNORE",
        } | settings
        (folder / "auditd.conf").write_text("".join(f"{n} = {v}\n" for n, v in values.items()))
        (folder / "auditd.conf").chmod(0o640)
        if plugin is not None:
            conf = plugins / "plugin.conf"
            words = f"args = {arguments}\n" if arguments else ""
            conf.write_text(
                f"active = yes\ndirection = out\npath = {plugin}\n{words}type = always\n"
                "format = string\n"
            )
            conf.chmod(0o640)
        self.folder = folder
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(
            [PEERS / "sbin/auditd", "-n", "-s", "nochange", "-c", self.folder],
            env=os.environ | {"LD_LIBRARY_PATH": str(LIBRARIES)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ends = time.monotonic() + 60
        while f"pid {self.process.pid}" not in self.status():
            assert self.process.poll() is None, "auditd ended"
            assert time.monotonic() < ends, "auditd did not register"
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(120)

    @staticmethod
    def status():
        """What auditctl says."""
        return subprocess.run([AUDITCTL, "-s"], capture_output=True, text=True, check=True).stdout
