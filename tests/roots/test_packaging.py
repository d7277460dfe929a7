"""packaging/README.md, word for word, on bare roots of the distributions: `make test-roots`.

    tools/make-root -> build/roots/SUITE; copies of it: SUITE-build makes the wheels, SUITE-host
    installs them, as the page says, and is used, upgraded and emptied

The commands run in a chroot and a mount namespace of their own; systemd is installed there and
does not run, so `systemctl` starts nothing. The kernel is this machine's.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from fixtures import commands
from live.programs import fresh_auid, rules

# The first test of a root makes that, with packages from elsewhere; each command has a limit.
pytestmark = pytest.mark.timeout(3600)

HERE = Path(__file__).parents[2]
PAGE = (HERE / "packaging/README.md").read_text()
ROOTS = HERE / "build/roots"
OLD_CARGO = {"bookworm", "noble"}
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
SETS = sorted(path.stem for path in (HERE / "rules").glob("*.rules"))
KNOWN_KEPT = {"/etc/auditsvc", "/var/lib/auditsvc", "/var/lib/auditsvc-key"}

MOUNT = """
set -e
mount --make-rprivate /
mount -t proc proc "$1/proc"
mount --rbind /sys "$1/sys"
mount --rbind /dev "$1/dev"
mount -t tmpfs none "$1/run"
cp -L /etc/resolv.conf "$1/etc/resolv.conf"
"""
ENTER = (
    MOUNT
    + """
exec chroot "$1" env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \\
    SYSTEMD_OFFLINE=1 PIP_CERT=/root/ca.crt CARGO_HTTP_CAINFO=/root/ca.crt \\
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash -euc "cd $2; $3"
"""
)


def block(heading, number=0):
    """Give the commands of a section of the page."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"(?s)```sh\n(.*?)```", section)[number]


@dataclass
class Root:
    """A root to run commands in."""

    folder: Path

    def entering(self, typed, place):
        """Give the command that runs these within it."""
        return ["unshare", "--mount", "sh", "-c", ENTER, "sh", self.folder, place, typed]

    def run(self, typed, *, place="/root", status=0):
        """Run commands as root would type them; gives the finished process."""
        done = subprocess.run(
            self.entering(typed, place),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        told = f"{typed}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        assert status is None or done.returncode == status, told
        return done

    def begin(self, base):
        """Make it a copy of a bare root."""
        shutil.rmtree(self.folder, ignore_errors=True)
        subprocess.run(["cp", "-a", base, self.folder], check=True)
        # This machine's authorities: its way to the package index may have one of its own.
        shutil.copy(CERTIFICATES, self.folder / "root/ca.crt")


def copy_checkout(folder):
    """Copy the files of this checkout."""
    folder.mkdir(parents=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=HERE,
        check=True,
        capture_output=True,
    ).stdout
    pack = ["tar", "-c", "--null", "--ignore-failed-read", "-T", "-"]
    packed = subprocess.run(pack, cwd=HERE, input=listed, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "--no-same-owner", "-C", folder], input=packed, check=True)


@pytest.fixture(scope="module")
def wheelhouse(suite, bare_root):
    """Make all wheels as the page says; gives their folder."""
    build = Root(ROOTS / f"{suite}-build")
    build.begin(bare_root)
    source = build.folder / "root/auditsvc"
    copy_checkout(source)
    if suite in OLD_CARGO:
        (ours,) = (HERE / "dist").glob("auditsvc-*-abi3-linux_*.whl")
        shutil.copy(ours, source)
    build.run(block("Build", suite in OLD_CARGO), place="/root/auditsvc")
    return source / "build/wheelhouse"


@pytest.fixture(scope="module")
def host(suite, bare_root, wheelhouse):
    """Install them on another bare root, as the page says."""
    root = Root(ROOTS / f"{suite}-host")
    root.begin(bare_root)
    place = root.folder / "root/auditsvc"
    shutil.copytree(wheelhouse, place / "build/wheelhouse")
    shutil.copytree(HERE / "packaging", place / "packaging")
    shutil.copy(HERE / "tests/data/mixed.log", root.folder / "root")
    root.run(block("Install"), place="/root/auditsvc")
    return root


def test_what_is_installed(host):
    """The program is on PATH, has its native core, and brought no tools along."""
    assert host.run("command -v auditsvc").stdout == "/usr/local/bin/auditsvc\n"
    assert host.run("auditsvc --version").stdout.endswith("(decoder: native)\n")
    listed = host.run("/opt/auditsvc/bin/pip list --local --format json").stdout
    installed = {re.sub(r"[-_.]+", "-", each["name"].lower()) for each in json.loads(listed)}
    pins = (HERE / "packaging/constraints-runtime.txt").read_text()
    pinned = {re.sub(r"[-_.]+", "-", name) for name in re.findall(r"(?m)^([a-z0-9._-]+)==", pins)}
    assert installed - {"pip", "setuptools"} <= pinned | {"auditsvc"}
    assert host.run("command -v gcc cargo", status=None).stdout == ""


def test_systemd_has_no_complaint(host):
    """The installed unit is enabled and valid for this version of systemd."""
    assert host.run("systemctl is-enabled auditsvc").stdout == "enabled\n"
    done = host.run("systemd-analyze verify auditsvc.service")
    assert done.stdout + done.stderr == ""


def test_the_doctor_examines_it(host):
    """No check fails to run; libaudit's module and the decoder are as they should be."""
    done = host.run("auditsvc doctor --format json", status=None)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    levels = {each["name"]: each["level"] for each in found["findings"]}
    assert (levels["module audit"], levels["decoder"], levels["settings"]) == ("ok", "ok", "ok")


def test_every_set_can_be_checked(host):
    """No error in any of them on a bare host."""
    for name in SETS:
        assert ": no errors" in host.run(f"auditsvc rules check {name}").stdout


def test_a_log_is_ingested_and_queried(host, tmp_path):
    """The same rows as here, and both decoders agree."""
    sql = "SELECT count(*) AS n, count(DISTINCT syscall) AS calls FROM syscalls"
    for decoder in ("native", "reference"):
        store = f"sqlite:////root/{decoder}.db"
        host.run(f"AUDITSVC_DECODER={decoder} auditsvc ingest mixed.log --store {store}")
        here = f"sqlite:///{tmp_path}/{decoder}.db"
        commands.run("ingest", str(HERE / "tests/data/mixed.log"), "--store", here)
        ours = commands.run("query", sql, "--store", here, text=True).stdout
        assert int(ours.splitlines()[1].partition(",")[0]) > 10
        assert host.run(f"auditsvc query '{sql}' --store {store}").stdout == ours
    names = "SELECT DISTINCT syscall FROM syscalls WHERE syscall GLOB '[0-9]*'"
    assert host.run(f'auditsvc query "{names}" --store {store}').stdout == "syscall\n"


@pytest.mark.live
@pytest.mark.usefixtures("audit_lock")
def test_it_collects(host):
    """A short `run` with the kernel's audit stores what a program did, and restores the kernel."""
    auid = fresh_auid()
    (host.folder / "root/live.rules").write_text(rules(auid))
    host.run(
        "auditsvc run --rules live.rules --store sqlite:////root/run.db 2> run.log & service=$!; "
        "for i in $(seq 300); do grep -q ready run.log && break; sleep 0.1; done; "
        f"bash -c 'echo {auid} > /proc/self/loginuid; exec cat /etc/hostname' > /dev/null; "
        "auditsvc status --store sqlite:////root/run.db > status.json; "
        "kill $service; wait $service"
    )
    facts = json.loads((host.folder / "root/status.json").read_text())
    assert facts["health"] == {"state": "well", "problems": ""}
    sql = f"SELECT DISTINCT comm FROM syscalls WHERE auid = {auid} ORDER BY comm"
    rows = host.run(f"auditsvc query '{sql}' --store sqlite:////root/run.db").stdout
    assert "cat" in rows.split()


def test_it_is_upgraded(host):
    """The commands for an upgrade leave a program that works, and the settings as they were."""
    settings = host.folder / "etc/auditsvc/auditsvc.toml"
    settings.write_text('host = "mine"\n')
    host.run(block("Upgrade"), place="/root/auditsvc")
    assert settings.read_text() == 'host = "mine"\n'
    assert host.run("auditsvc --version").stdout.endswith("(decoder: native)\n")


def test_it_is_removed(host):
    """Nothing stays but the settings and the evidence."""
    host.run(block("Remove"), place="/root/auditsvc")
    left = host.run(
        "find / -xdev -path /proc -prune -o -path /root -prune -o -name '*auditsvc*' -print"
    ).stdout
    assert {line for line in left.split() if not line.startswith(tuple(KNOWN_KEPT))} == set()
    assert host.run("ls /var/lib/auditsvc").stdout
