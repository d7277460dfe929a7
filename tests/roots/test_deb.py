"""The Debian package on bare roots of the distributions: `make test-deb`.

SUITE-deb makes it, SUITE-debhost installs it and is used, upgraded and emptied. As in
`test_packaging`, systemd does not run there, and the kernel is this machine's. In SUITE-debstarted
a systemd runs: there the package's scripts start, restart and stop the service.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from pathlib import Path

import pytest
from fixtures.first_program import write_as_the_first_program
from fixtures.logs import load as load_log
from fixtures.logs import opening
from fixtures.named_files import named_files
from fixtures.waiting import until
from live.auditd import wait_all
from live.conftest import kernel_lost, programs  # noqa: F401 - fixtures
from live.programs import fresh_auid, rules
from live.test_takeover import BUSY, LARGE, load, rule
from roots.booted import booted
from roots.debian_auditd import auditd_of_debian
from roots.test_packaging import HERE, ROOTS, Root, block, copy_checkout

from auditsvc.ingest.known_store import identity_of
from auditsvc.store import open_store

# The first test of a root makes that, with packages from elsewhere; each command has a limit.
pytestmark = pytest.mark.timeout(3600)

VERSION = "dpkg-query -W -f '${Version}' auditsvc"
COUNT = "SELECT count(*) AS n FROM syscalls"


@pytest.fixture(scope="module")
def build(suite, bare_root):
    """Make the package as a user does, of a wheel that was made here; gives the root."""
    root = Root(ROOTS / f"{suite}-deb")
    root.begin(bare_root)
    source = root.folder / "root/auditsvc"
    copy_checkout(source)
    (ours,) = (HERE / "dist").glob("auditsvc-*-abi3-linux_*.whl")
    shutil.copy(ours, source)
    root.run("apt-get update -qq && apt-get install -qq make", place="/root/auditsvc")
    root.run(f"make deb WHEEL={ours.name}", place="/root/auditsvc")
    return root


def package(build):
    """Give the file of the package."""
    (found,) = (build.folder / "root/auditsvc/dist/deb").glob("auditsvc_*.deb")
    return found


@pytest.fixture(scope="module")
def bare(suite, bare_root, build):
    """Put an older version of it, and this one, on another bare root, where nothing is done."""
    root = Root(ROOTS / f"{suite}-debbare")
    root.begin(bare_root)
    shutil.copy(package(build), root.folder / "root/new.deb")
    shutil.copy(HERE / "tests/data/mixed.log", root.folder / "root")
    # The same files under an older version.
    build.run(
        "rm -rf old && dpkg-deb -R auditsvc/dist/deb/auditsvc_*.deb old"
        " && sed -i 's/^Version: .*/Version: 0.0.1/' old/DEBIAN/control"
        " && dpkg-deb -Zgzip -b old old.deb"
    )
    shutil.copy(build.folder / "root/old.deb", root.folder / "root/old.deb")
    root.run("apt-get update -qq")
    return root


@pytest.fixture(scope="module")
def host(suite, bare):
    """Install the older version and load a log; gives the root."""
    root = Root(ROOTS / f"{suite}-debhost")
    root.begin(bare.folder)
    root.run("apt-get install -qq ./old.deb")
    root.run("auditsvc ingest mixed.log --store sqlite:////root/first.db")
    return root


@pytest.fixture
def started(suite, bare, audit_lock):  # noqa: ARG001 - the kernel's audit is this test's
    """Give a root whose systemd runs, with the package's files and nothing of it installed."""
    root = Root(ROOTS / f"{suite}-debstarted")
    root.begin(bare.folder)
    with booted(root.folder) as running:
        yield running


def test_lintian_finds_no_error(build):
    """Debian's own linter; what is bundled by intention is in the overrides, with the reason."""
    done = build.run("lintian --fail-on error auditsvc/dist/deb/*.deb", status=None)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_same_input_makes_the_same_package(build):
    """Byte for byte."""
    first = hashlib.sha256(package(build).read_bytes()).hexdigest()
    build.run("rm -r dist/deb && tools/make-deb", place="/root/auditsvc")
    assert hashlib.sha256(package(build).read_bytes()).hexdigest() == first


def test_a_log_is_asked_without_any_setting(host):
    """Nothing is to be set up between the installation and a question."""
    answer = host.run(f"auditsvc query '{COUNT}' --store sqlite:////root/first.db").stdout
    assert int(answer.split()[1]) > 10


def test_what_is_installed(host):
    """The native core, unit, pages, completion, catalogue, settings that only root reads."""
    assert host.run("auditsvc --version").stdout.endswith("(decoder: native)\n")
    assert host.run("systemctl is-enabled auditsvc").stdout == "enabled\n"
    assert host.run("stat -c %a /etc/auditsvc/auditsvc.toml").stdout == "600\n"
    assert "no errors" in host.run("auditsvc config check").stdout
    listed = host.run("dpkg -L auditsvc").stdout.splitlines()
    for path in (
        "/usr/share/man/man1/auditsvc-query.1.gz",
        "/usr/share/man/man5/auditsvc.toml.5.gz",
        "/usr/share/man/man7/auditsvc-views.7.gz",
        "/usr/share/bash-completion/completions/auditsvc",
        "/usr/share/zsh/vendor-completions/_auditsvc",
        "/usr/share/fish/vendor_completions.d/auditsvc.fish",
        "/usr/lib/systemd/catalog/auditsvc.catalog",
        "/usr/lib/sysusers.d/auditsvc.conf",
        "/etc/auditsvc/web.toml",
        "/usr/lib/tmpfiles.d/auditsvc.conf",
        "/etc/auditsvc/rules.d",
        "/usr/share/doc/auditsvc/docs/sql.md",
        "/usr/share/doc/auditsvc/README.Debian",
        "/usr/share/doc/auditsvc/README.md",
        *(f"/usr/share/doc/auditsvc/{name}" for name in sorted(named_files())),
        "/usr/bin/auditsvc",
    ):
        # Minimal roots leave documentation out; the package has it all the same.
        assert path in listed, path
    assert host.run("stat -c %a /etc/auditsvc/rules.d").stdout == "700\n"
    made = "systemd-tmpfiles --create auditsvc.conf && stat -c '%a %G' /run/auditsvc-metrics"
    assert host.run(made).stdout == "2750 auditsvc-metrics\n"
    assert host.run("command -v gcc cargo", status=None).stdout == ""
    pages = "timeout 20 auditsvc web --store sqlite:////root/first.db --listen unix:/root/pages"
    assert "http" in host.run(f"{pages} | head -n 1").stdout
    done = host.run("systemd-analyze verify auditsvc.service", status=None)
    assert "auditsvc" not in done.stdout + done.stderr
    host.run("systemd-analyze security --offline=yes --threshold=20 auditsvc.service")
    assert host.run("dpkg --verify auditsvc | grep -v /usr/share", status=None).stdout == ""


@pytest.mark.live
@pytest.mark.usefixtures("audit_lock")
def test_it_collects(host):
    """The service's own command stores what a program did, and restores the kernel."""
    auid = fresh_auid()
    (host.folder / "etc/auditsvc/rules.d/live.rules").write_text(rules(auid))
    host.run(
        "auditsvc run --rules /etc/auditsvc/rules.d 2> run.log & service=$!; "
        "for i in $(seq 300); do grep -q ready run.log && break; sleep 0.1; done; "
        f"bash -c 'echo {auid} > /proc/self/loginuid; exec cat /etc/hostname' > /dev/null; "
        "auditsvc status > status.json; kill $service; wait $service"
    )
    facts = json.loads((host.folder / "root/status.json").read_text())
    assert facts["health"] == {"state": "well", "problems": ""}
    sql = f"SELECT DISTINCT comm FROM syscalls WHERE auid = {auid} ORDER BY comm"
    assert "cat" in host.run(f"auditsvc query '{sql}'").stdout.split()


def test_an_upgrade_keeps_everything_and_loses_no_record(host):
    """Settings, spool and store; what the spool has beyond the store is loaded afterwards."""
    store = "sqlite:////var/lib/auditsvc/auditsvc.db"
    host.run("auditsvc run --source stdin < mixed.log 2> run.log")
    before = int(host.run(f"auditsvc query '{COUNT}' --store {store}").stdout.split()[1])
    settings = host.folder / "etc/auditsvc/auditsvc.toml"
    settings.write_text('[retention]\nkeep = "400d"\n')
    # Records in the spool that no store has yet: as after a stop without its database.
    host.run(
        "printf 'type=SYSCALL msg=audit(1750000000.123:77): arch=c000003e syscall=2 success=yes"
        " exit=3 a0=1 a1=2 a2=3 a3=4 items=0 ppid=1 pid=2 auid=3 uid=0 gid=0 euid=0 suid=0 fsuid=0"
        ' egid=0 sgid=0 fsgid=0 tty=pts0 ses=4 comm="x" exe="/x" key=(null)\\n\''
        " >> $(ls /var/lib/auditsvc/spool/audit-*.log | tail -n 1)"
    )
    done = host.run("apt-get install -qq ./new.deb")
    assert "0.0.1" not in host.run(VERSION).stdout, done.stderr
    assert "400d" in host.run("auditsvc config show retention --format json").stdout
    assert host.run("systemctl is-enabled auditsvc").stdout == "enabled\n"
    assert "nothing to do" in host.run("auditsvc migrate").stdout
    host.run("auditsvc run --source stdin < /dev/null 2> run.log")
    after = int(host.run(f"auditsvc query '{COUNT}' --store {store}").stdout.split()[1])
    assert after == before + 1
    checked = json.loads(host.run("auditsvc check --format json").stdout)
    assert {each["problem"] for each in checked} == {""}


def left(host):
    """Give what of it is on the disk."""
    return set(
        host.run(
            "find / -xdev -path /proc -prune -o -path /root -prune -o -name '*auditsvc*' -print"
            " | grep -v '^/var/lib/dpkg/\\|^/var/cache/\\|^/var/log/'",
            status=None,
        ).stdout.split()
    )


def test_removed_it_leaves_settings_and_evidence(host):
    """And nothing else; the unit is not enabled any more."""
    host.run("apt-get remove -qq auditsvc")
    kept = ("/etc/auditsvc", "/var/lib/auditsvc", "/var/lib/systemd/deb-systemd-helper")
    rest = {path for path in left(host) if not path.startswith(kept)}
    assert rest <= {
        "/etc/systemd/system/auditsvc.service",  # masked, as Debian's packages are
        "/etc/systemd/system/sysinit.target.wants/auditsvc.service",
    }
    assert host.run("ls /var/lib/auditsvc").stdout


def test_purged_it_leaves_nothing(host):
    """Neither settings nor evidence."""
    host.run("apt-get purge -qq auditsvc")
    assert left(host) == set()


def test_where_auditd_is_enabled_it_waits_and_says_how_to_change_over(host):
    """Neither enabled nor started, as starting it would stop auditd."""
    unit = host.folder / "etc/systemd/system/auditd.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n")
    host.run("systemctl enable auditd")
    done = host.run("apt-get install -qq ./new.deb")
    said = done.stdout + done.stderr
    assert "auditd is enabled or runs on this host, so auditsvc was not started" in said
    assert "'auditsvc adopt' shows how to change over with nothing lost" in said
    assert "README.Debian" in said
    assert host.run("systemctl is-enabled auditsvc", status=None).stdout == "disabled\n"
    host.run("apt-get purge -qq auditsvc && systemctl disable auditd")
    assert left(host) == set()


def of_this_test(root, text, settings=""):
    """Have the service load these rules, and not those for every task of this machine."""
    (root.folder / "root/live.rules").write_text(text)
    root.set_up(f"Environment='AUDITSVC_RULES=[\"/root/live.rules\"]'\n{settings}")


def health(root):
    """Give what `status` says of the service, in one word."""
    done = root.run("auditsvc status --format json", status=None)
    return json.loads(done.stdout)["health"]


def gone(root, path):
    """Whether a path is not there, in the root."""
    return root.run(f"test ! -e {path}", status=None).returncode == 0


def assert_confined(pid):
    """It is where the unit puts it, and where the kernel lets it audit."""
    own, ours = Path(f"/proc/{pid}/ns"), Path("/proc/self/ns")
    kept = ("user", "pid", "ipc")
    for kind in (*kept, "net", "mnt", "uts"):
        assert (own.joinpath(kind).readlink() == ours.joinpath(kind).readlink()) == (kind in kept)
    mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    access = {each[4]: each[5].split(",")[0] for each in mounts}  # proc_pid_mountinfo(5)
    assert (access["/"], access["/proc/sys"], access["/var/lib/auditsvc"]) == ("ro", "ro", "rw")
    status = Path(f"/proc/{pid}/status").read_text()
    assert "\nNoNewPrivs:\t1\n" in status
    assert "\nSeccomp:\t2\n" in status


@pytest.mark.live
def test_a_new_user_s_way(started, suite, tell):
    """From the package to the first answer as packaging/README.md has it, timed; then each day."""
    auid = fresh_auid()
    of_this_test(started, rules(auid))
    install, act, ask = block("The first answer").replace("auditsvc_*.deb", "new.deb").splitlines()
    began = time.monotonic()
    started.run(install.replace("apt ", "apt-get -qq "))
    installed = time.monotonic() - began
    started.run(f"echo {auid} > /proc/self/loginuid; exec bash -c '{act}'")
    answer = until(lambda: started.run(ask).stdout.splitlines()[1:])
    took = time.monotonic() - began
    assert all("cat,openat,3,/etc/hostname" in line for line in answer), answer
    tell(f"{suite}: first answer {took:.0f} s after the command, {installed:.0f} s of it apt's")
    assert started.show("User") == "auditsvc"
    assert_confined(int(started.show("MainPID")))
    assert health(started) == {"state": "well", "problems": ""}
    started.run("systemctl reload auditsvc")
    until(lambda: "reloaded" in started.log, told=lambda: started.log)
    started.run("auditsvc backup copy.db && auditsvc check && auditsvc verify")
    started.run("auditsvc report > report.txt && auditsvc metrics > metrics.txt")
    page = started.run("auditsvc compliance pci --format html", status=None)
    assert (page.returncode, page.stdout[:15]) == (1, "<!doctype html>")  # lines are open
    started.run("apt-get remove -qq auditsvc")
    assert started.show("ActiveState") == "inactive"
    assert started.run("command -v auditsvc", status=None).stdout == ""
    started.run("apt-get install -qq ./new.deb")  # settings and store were kept
    until(lambda: health(started)["state"] == "well")
    assert started.run(ask).stdout.splitlines()[1:] == answer
    started.run("apt-get purge -qq auditsvc")
    assert gone(started, "/var/lib/auditsvc")
    assert gone(started, "/var/lib/auditsvc-key")
    assert gone(started, "/run/auditsvc")
    for word in ("Traceback", "not permitted", "denied", "Bad system call", "Read-only"):
        assert word not in started.log


@pytest.mark.live
def test_an_upgrade_under_load_loses_no_record(started, programs, kernel_lost):  # noqa: F811
    """By apt, while a task calls all the time: each call is one row, and no serial is missing."""
    auid, before = fresh_auid(), kernel_lost()
    of_this_test(started, rule(auid), f"Environment=AUDITSVC_KERNEL__RECEIVE_BUFFER={LARGE}")
    started.run("apt-get install -qq ./old.deb")
    old = started.show("MainPID")
    with load(programs, auid, BUSY) as made:
        started.run("apt-get install -qq ./new.deb")
        until(lambda: started.log.count('"ready"') == 2, told=lambda: started.log)
    assert "0.0.1" not in started.run(VERSION).stdout
    assert started.show("MainPID") not in {old, "0"}
    started.run("systemctl stop auditsvc")
    found = started.run(
        'auditsvc query --format jsonl "SELECT count(*) AS calls, count(DISTINCT serial) AS serials'
        f" FROM syscalls WHERE syscall = 'getppid' AND auid = {auid}\""
    )
    assert json.loads(found.stdout) == {"calls": made.calls, "serials": made.calls}
    spool = sorted((started.folder / "var/lib/auditsvc/spool").glob("*.log"))
    text = "".join(each.read_text() for each in spool)
    assert re.findall(r"op=takeover \S+ \S+ state=(\w+)", text) == ["complete"]
    lost = "SELECT cause, count FROM ledger WHERE count > 0 AND cause IN "
    causes = "('gap', 'kernel_lost', 'spool_lost', 'partial')"
    assert not started.run(f'auditsvc query --format jsonl "{lost} {causes}"').stdout
    assert kernel_lost() == before


@pytest.mark.live
def test_an_upgrade_migrates_an_older_store(started, monkeypatch, tmp_path):
    """One that the first program made, by the package's scripts; then the service goes on in it."""
    with monkeypatch.context() as first:
        write_as_the_first_program(first)
        url = f"sqlite:///{tmp_path}/auditsvc.db"
        load_log(url, opening(1) + opening(2))
        with open_store(url) as store:
            known = {"identity": identity_of(store), "segment": 0, "position": 0}
    of_this_test(started, rule(fresh_auid()))
    started.run("apt-get install -qq ./old.deb && systemctl stop auditsvc")
    state = started.folder / "var/lib/auditsvc"
    for each in [*state.glob("auditsvc.db*"), state / "spool/store.json"]:
        each.unlink()
    shutil.copy(tmp_path / "auditsvc.db", state)
    place = "sqlite:////var/lib/auditsvc/auditsvc.db"
    (state / "spool/store.json").write_text(json.dumps({place: known}))
    started.run("chown auditsvc: /var/lib/auditsvc/auditsvc.db /var/lib/auditsvc/spool/store.json")
    for kind in ("service", "socket"):  # else all that begins at boot begins, the service too
        unit = f"/run/systemd/system/auditsvc-web.{kind}.d"
        lines = "[Unit]\\nDefaultDependencies=no\\n"
        started.run(f"mkdir {unit} && printf '{lines}' > {unit}/test.conf")
    started.run("systemctl daemon-reload")
    started.run("systemctl start auditsvc-web.socket auditsvc-web.service")
    ask_pid = "systemctl show auditsvc-web.service --property MainPID --value"
    pages = started.run(ask_pid).stdout
    said = started.run("apt-get install -qq ./new.deb").stdout
    assert "before: 0001" in said
    assert started.run(ask_pid).stdout not in {pages, "0\n"}
    assert started.run("systemctl is-active auditsvc-web.socket").stdout == "active\n"
    started.run("systemctl stop auditsvc-web.socket auditsvc-web.service")
    assert started.run(f"auditsvc query '{COUNT}'").stdout.split() == ["n", "2"]
    assert started.show("ActiveState") == "inactive"  # as it was
    started.run("systemctl start auditsvc")
    until(lambda: health(started)["state"] == "well")
    assert started.run("stat -c %U /var/lib/auditsvc/* | sort -u").stdout == "auditsvc\n"
    started.run("auditsvc check")


@pytest.mark.live
@pytest.mark.usefixtures("audit_changes")
def test_from_debian_s_auditd_and_back(started, programs, kernel_lost):  # noqa: F811
    """Every record is a row, units are as they should be, and nothing is called tampering.

    On the way back auditd's start deletes all rules (-D) before it loads its own: what is called in
    between the kernel does not log, as at each start of auditd; so that there are records is what
    is asked of the numbers that it gives them.
    """
    auid, before = fresh_auid(), kernel_lost()
    log = started.folder / "var/log/audit/audit.log"
    of_load = f"syscall = 'getppid' AND auid = {auid}"
    calls = f"SELECT count(*) AS n, count(DISTINCT serial) AS m FROM syscalls WHERE {of_load}"
    started.set_up(f"Environment=AUDITSVC_KERNEL__RECEIVE_BUFFER={LARGE}")

    def ask(sql):
        return json.loads(started.run(f'auditsvc query --format jsonl "{sql}"').stdout)

    with auditd_of_debian(started, auid):
        said = started.run("apt-get install -qq ./new.deb")
        assert "auditsvc was not started" in said.stdout + said.stderr
        plan = json.loads(started.run("auditsvc adopt --format json").stdout)["lines"]
        said = "\n".join(" ".join(map(str, each.values())) for each in plan)
        for word in ("tcp_listen_port", "EMAIL", "reader", "ENRICHED", "30-calls.rules", "60000"):
            assert word in said, said
        with load(programs, auid, 1_000_000) as made:
            until(lambda: log.read_bytes().count(b"type=SYSCALL") > 100)
            said = started.run("auditsvc adopt --apply").stdout
            assert "no record was lost" in said, said
            assert started.run("systemctl is-active auditsvc").stdout == "active\n"
            until(lambda: health(started)["state"] == "well", told=lambda: health(started))
        until(
            lambda: ask(calls) == {"n": made.calls, "m": made.calls},
            told=lambda: (ask(calls), made.calls),
        )
        assert are_enabled(started, "auditsvc")
        assert started.show("User") == "auditsvc"
        limits = started.run("auditctl -s").stdout
        assert "backlog_limit 16384" in limits
        assert "backlog_wait_time 60000" in limits
        assert ask("SELECT count(*) AS n FROM tamper") == {"n": 0}
        with load(programs, auid, 1_000_000) as more:
            said = started.run("auditsvc adopt --back --apply").stdout
            assert "no record was lost" in said, said
            written = log.stat().st_size
            until(lambda: log.stat().st_size > written)
        assert started.run("systemctl is-active auditd").stdout == "active\n"
        assert are_enabled(started, "auditd")
        assert f"auid={auid}" in started.run("auditctl -l").stdout
        wait_all(log)  # the kernel hands records over later
        started.run("auditsvc ingest /var/log/audit/audit.log")
        found = ask(calls)
        assert made.calls < found["n"] == found["m"] <= made.calls + more.calls
        own = f"SELECT min(serial) AS a, max(serial) AS z FROM syscalls WHERE {of_load}"
        ends = ask(own)
        there = (
            "SELECT count(DISTINCT serial) AS n FROM all_events WHERE serial BETWEEN {a} AND {z}"
        )
        assert ask(there.format(**ends)) == {"n": ends["z"] - ends["a"] + 1}
        started.run("auditsvc check")
        assert kernel_lost() == before
        assert re.search(rb"\x1dARCH=x86_64 SYSCALL=getppid", log.read_bytes())  # ENRICHED
    started.run("apt-get purge -qq auditsvc")
    left = started.run("find /etc -name '*auditsvc*' | grep -v deb-systemd", status=None).stdout
    assert left == ""


def are_enabled(root, name):
    """Whether the units of this one of the two daemons are, and those of the other are not."""
    theirs = ["auditd", "audit-rules"]
    listed = root.run("systemctl list-unit-files --no-legend auditd* audit-rules* auditsvc.service")
    state = {
        line.split()[0].partition(".")[0]: line.split()[1]
        for line in listed.stdout.split("\n")
        if line
    }
    return {each for each in state if state[each] == "enabled"} == (
        {name} if name == "auditsvc" else {each for each in theirs if each in state}
    )
