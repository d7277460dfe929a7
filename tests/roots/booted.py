"""A root whose systemd runs: what a package's scripts start there is started.

A system's manager is process 1 of a pid namespace, and the kernel takes an audit daemon from the
first of these alone. So it is a manager for a user, run by root, at the places where the system's
would be: `systemctl` in the root finds its socket, and it reads the system's units. It starts no
target but an empty one. What it leaves out stands in live/test_unit.py. That of Debian 13 would put
units that such a manager confines into a user namespace, where the kernel refuses audit: it is kept
from making one, and confines them all the same (fixtures/no_user_namespaces.py). Nor does it give a
unit's folders to the unit's user, as the system's does: the unit has a command more for that.
"""

from __future__ import annotations

import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from fixtures.manager_cgroup import ENTER_CGROUP, leave_cgroups
from fixtures.no_user_namespaces import refuse_user_namespaces
from fixtures.waiting import until
from roots.test_packaging import MOUNT, Root

LOG = "/var/log/auditsvc-test.log"
_GIVES_FOLDERS = 252
"""A systemd of this version does as a manager for a user, one of 257 does not
(`setup_exec_directory` of src/core/exec-invoke.c)."""
_GIVE_FOLDERS = "ExecStartPre=+/bin/chown -R auditsvc: %S/auditsvc %t/auditsvc\n"

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
        version = int(self.run("systemctl --version").stdout.split()[1])
        given = "" if version <= _GIVES_FOLDERS else _GIVE_FOLDERS
        lines = f"[Service]\n{text}\n{own}{given}"
        path = "/run/systemd/system/auditsvc.service.d/test.conf"
        self.run(f"cat > {path} <<'END'\n{lines}END")

    def show(self, name):
        """Give a property of the service."""
        return self.run(f"systemctl show auditsvc --property {name} --value").stdout.strip()

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
            preexec_fn=refuse_user_namespaces,  # noqa: PLW1509 - it takes no lock
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
