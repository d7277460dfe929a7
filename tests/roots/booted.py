"""A root whose systemd runs: what a package's scripts start there is started.

A system's manager is process 1 of a pid namespace, and the kernel takes an audit daemon from the
first of these alone. So it is a manager for a user, run by root, at the places where the system's
would be: `systemctl` in the root finds its socket, and it reads the system's units. It starts no
target but an empty one. What it leaves out stands in live/test_unit.py. The systemd of Debian 13
puts units that such a manager confines into a user namespace, where the kernel refuses audit.
"""

from __future__ import annotations

import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from fixtures.manager_cgroup import ENTER_CGROUP, leave_cgroups
from fixtures.waiting import until
from roots.test_packaging import MOUNT, Root

LOG = "/var/log/auditsvc-test.log"
_PROBE = "/run/systemd/system/auditsvc-probe.service"
_PROBED = """[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ProtectSystem=strict
StateDirectory=auditsvc-probe
ExecStart=/bin/sh -c 'readlink /proc/self/ns/user > /var/lib/auditsvc-probe/own'
"""

_ENVIRONMENT = (
    "HOME=/root",
    "LANG=C.UTF-8",
    "DEBIAN_FRONTEND=noninteractive",
    "SYSTEMD_IGNORE_CHROOT=1",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
)

# Folders of a manager for a user are where these say: those of the system's here. Only links in
# its own folder of units enable one for it, so that is the system's.
_BOOT = (
    ENTER_CGROUP
    + """
mount --make-rprivate /
mount --bind "$1" "$1"  # units are put into namespaces of mounts: these need a root that is one
"""
    + MOUNT
    + """
own=/var/lib/systemd/user
mkdir -p "$1/etc/systemd/system" "$1$own"
mount --bind "$1/etc/systemd/system" "$1$own"
units=/run/test-units:$own:/run/systemd/system:/usr/lib/systemd/system
cd "$1"
pivot_root . .
umount -l .
exec env -i $2 XDG_RUNTIME_DIR=/run XDG_CONFIG_HOME=/var/lib XDG_STATE_HOME=/var/lib \\
    SYSTEMD_UNIT_PATH="$units" sh -euc '
mkdir -p /run/test-units /run/systemd/system/auditsvc.service.d /run/systemd/inaccessible/dir
printf "[Unit]\\nDefaultDependencies=no\\n" > /run/test-units/empty.target
cd /run/systemd/inaccessible
mkfifo fifo; : > reg; mknod chr c 0 0; mknod blk b 0 0; chmod 0 *; cd /
exec /lib/systemd/systemd --user --unit=empty.target --log-target=console --log-level=notice'
"""
)


@dataclass
class Booted(Root):
    """A root with a systemd that runs, while `booted` runs it."""

    manager: int = 0

    def entering(self, typed, place):
        """Give the command that runs these within it."""
        return [
            *("nsenter", f"--mount=/proc/{self.manager}/ns/mnt", "env", "-i", *_ENVIRONMENT),
            *("bash", "-euc", f"cd {place}; {typed}"),
        ]

    def set_up(self, text):
        """Have the unit of the service with these lines more, until the end of the manager."""
        own = f"StandardOutput=append:{LOG}\nStandardError=append:{LOG}\n"
        lines = f"[Service]\n{text}\n{own}"
        path = "/run/systemd/system/auditsvc.service.d/test.conf"
        self.run(f"cat > {path} <<'END'\n{lines}END")

    def show(self, name):
        """Give a property of the service."""
        return self.run(f"systemctl show auditsvc --property {name} --value").stdout.strip()

    def separates_users(self):
        """Whether the manager puts a unit that it confines into a user namespace of its own."""
        self.run(f"cat > {_PROBE} <<'END'\n{_PROBED}END")
        self.run("systemctl daemon-reload; systemctl start auditsvc-probe")
        ours, own = self.run(
            "readlink /proc/self/ns/user; cat /var/lib/auditsvc-probe/own"
        ).stdout.split()
        self.run(f"rm -r {_PROBE} /var/lib/auditsvc-probe; systemctl daemon-reload")
        return own != ours

    @property
    def log(self):
        """What the service said."""
        path = self.folder / LOG.lstrip("/")
        return path.read_text(errors="replace") if path.exists() else ""


@contextmanager
def booted(folder):
    """Run a systemd in the root; skip where none comes up."""
    root = Booted(folder)
    told = folder / "var/log/systemd-test.log"
    with told.open("wb") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _BOOT, "sh", folder, " ".join(_ENVIRONMENT)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        root.manager = process.pid

        def is_up():
            if process.poll() is not None:
                pytest.skip(f"live: no systemd comes up there: {told.read_text()[-300:]}")
            done = root.run("systemctl is-active empty.target", status=None)
            return done.stdout == "active\n"

        until(is_up, told=told.read_text)
        # As that of the system's manager, to whose services of other users it belongs.
        root.run("chmod 0777 /run/systemd/notify")
        if root.separates_users():
            pytest.skip("live: that systemd puts a unit into a user namespace without audit")
        yield root
    finally:
        if process.poll() is None:
            root.run(
                "systemctl stop auditsvc auditsvc-web.socket auditsvc-web.service", status=None
            )
        process.send_signal(signal.SIGRTMIN + 24)  # a manager for a user ends, systemd(1)
        process.wait(120)
        leave_cgroups()
        told.unlink()
