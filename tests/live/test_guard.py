"""The guard on the real kernel: auditctl tampers, `tamper` names who, auditctl -l verifies."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fixtures.waiting import until
from live.programs import KEY, fresh_auid, rules
from live.service import AUDITSVC, Service, cli, status_of

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_lock")]

AUDITCTL = Path(__file__).parents[2] / "build/peers/sbin/auditctl"
NOTICED = timedelta(seconds=2)
REGISTER = """
from auditsvc.errors import IncumbentError
from auditsvc.kernel.netlink import RecordSocket
try:
    RecordSocket.unicast().register()
except IncumbentError:
    pass
"""


def auditctl(*arguments):
    """Run Debian's own tool, as the tests' own login."""
    return subprocess.run([AUDITCTL, *arguments], capture_output=True, text=True, check=True).stdout


def of_exit():
    """What auditctl lists of the list that system calls go through, without our own loader's."""
    others = r"-a \w+,(task|user|exclude|filesystem|io_uring) |.* -F key=auditsvc-loader$"
    return [line for line in auditctl("-l").splitlines() if not re.match(others, line)]


def setting(name):
    """What auditctl says the kernel is set to."""
    return int(re.search(rf"^{name} (\d+)$", auditctl("-s"), re.MULTILINE)[1])


class Scene:
    """A service whose rules match two login uids: one that works, and one that tampers."""

    def __init__(self, programs, folder, guard, lines=""):
        self.programs = programs
        self.works, self.tampers = fresh_auid(), fresh_auid()
        self.service = Service(folder, rules(self.works) + rules(self.tampers) + lines)
        self.service.environment["AUDITSVC_GUARD"] = guard
        self.rule = ["always,exit", "-S", "all", "-F", f"auid={self.works}", "-k", KEY]
        self.done = []
        self.others = 0
        """Findings to come of changes that the tamperer did not make."""

    def __enter__(self):
        self.service.__enter__()
        self.loaded = auditctl("-l")
        return self

    def __exit__(self, *error):
        self.service.__exit__(*error)

    def tamper(self, *command):
        """Do something as the tamperer, and remember when."""
        self.programs.run(self.tampers, *command)
        self.done.append(datetime.now(UTC))

    def wait(self, condition):
        """Wait until something holds."""
        until(condition, told=lambda: (auditctl("-l"), auditctl("-s")))

    def change(self, *arguments):
        """Change something by auditctl as the tests' own login: a finding as well."""
        auditctl(*arguments)
        self.others += 1

    def settle(self):
        """Wait until the guard has reported all changes, and has looked after them."""
        log, due = self.service.log, len(self.done) + self.others
        self.wait(lambda: log.read_text().count('"event": "tampering"') >= due)
        # The state is written once in each turn of its loop, after a look.
        state = self.service.folder / "run/state.json"
        for _ in range(2):
            written = state.stat().st_mtime_ns
            until(lambda: state.stat().st_mtime_ns != written)  # noqa: B023 - called at once

    def work(self, name):
        """Make calls that are rows afterwards, or not."""
        self.programs.run(self.works, "/bin/sh", "-c", f"cd /tmp; : {name}")

    def seen(self, name):
        """Whether calls of that piece of work are rows."""
        (row,) = self.service.query(
            "SELECT count(*) AS n FROM syscalls WHERE syscall = 'chdir'"
            f" AND auid = {self.works} AND proctitle LIKE '%: {name}'"
        )
        return row["n"] > 0

    def found(self):
        """Rows of `tamper`, which must all be by the tamperer."""
        found = self.service.query("SELECT * FROM tamper ORDER BY time, event_id")
        assert len(found) == len(self.done), json.dumps(found, indent=1)
        for row in found:
            assert (row["auid"], row["pid"] is not None) == (self.tampers, True), row
        return found


def test_an_undisturbed_run_finds_nothing(programs, tmp_path):
    """Rules and settings as they were: not a row, and `status` says none."""
    with Scene(programs, tmp_path, "restore") as scene:
        scene.work("quiet")
        scene.settle()
        status = status_of(scene.service)
        assert '"tamper": 0' in status
        assert auditctl("-l") == scene.loaded
    assert scene.seen("quiet")
    assert scene.found() == []


@pytest.mark.parametrize("guard", ["report", "restore"])
def test_off_and_on_are_no_tampering(programs, tmp_path, guard):
    """Neither the flips nor the rules of their probes are findings."""
    with Scene(programs, tmp_path, guard) as scene:
        for verb in ("off", "on"):
            told = json.loads(cli(verb, "--format", "json", environment=scene.service.environment))
            assert told["probe"]["missing"] == 0, told
            scene.settle()
        scene.work("again")
        assert auditctl("-l") == scene.loaded
    assert scene.seen("again")
    assert scene.found() == []


@pytest.mark.parametrize("decoder", ["native", pytest.param("reference", marks=pytest.mark.long)])
def test_what_was_taken_is_put_back(programs, tmp_path, decoder):
    """A rule, a `never` at the head, the switch, a limit: reported, and restored in two seconds."""
    before, limit = auditctl("-l"), setting("backlog_limit")
    raised = max(limit, 16384)
    scene = Scene(programs, tmp_path, "restore")
    scene.service.environment["AUDITSVC_DECODER"] = decoder
    with scene:

        def undone_in_time():
            scene.tamper(AUDITCTL, "-d", *scene.rule)
            scene.wait(lambda: auditctl("-l") == scene.loaded)
            return datetime.now(UTC) - scene.done[-1] < NOTICED

        until(undone_in_time)  # others may be busy: not each time
        tries = len(scene.done)
        scene.work("rule")
        # It is in force when its own call ends, and hides that as well.
        scene.tamper(AUDITCTL, "-A", "never,exit", "-F", f"auid>={scene.works}")
        scene.wait(lambda: auditctl("-l") == scene.loaded)
        scene.work("never")
        scene.settle()
        scene.tamper(AUDITCTL, "-e", "0")
        scene.wait(lambda: setting("enabled") == 1)
        scene.work("switch")
        scene.tamper(AUDITCTL, "-b", "128")
        scene.wait(lambda: setting("backlog_limit") == raised)
        scene.settle()
        status = status_of(scene.service)
        assert f'"tamper": {tries + 3}' in status
    found = scene.found()
    assert [(row["what"], row["restored"]) for row in found] == [
        *[("rule_deleted", "yes")] * tries,
        ("never_added", "yes"),
        ("switched_off", "yes"),
        ("setting", "yes"),
    ]
    assert {row["exe"] for row in found} == {str(AUDITCTL)}
    assert {row["comm"] for row in found} == {"auditctl"}
    assert found[0]["detail"] == f"-a always,exit -S all -F auid={scene.works} -F key={KEY}"
    assert found[-1]["detail"] == f"backlog_limit {raised} -> 128"
    assert all(scene.seen(name) for name in ("rule", "never", "switch"))
    calls = scene.service.query(
        "SELECT s.pid = t.pid AND s.ses = t.ses AND s.syscall = 'sendto' AS same"
        " FROM tamper t JOIN syscalls s ON s.event_id = t.evidence_event_id"
    )
    assert [row["same"] for row in calls] == [1] * (tries + 2)
    assert [row["known_by"] for row in found] == [*["call"] * tries, "socket", "call", "call"]
    log = scene.service.log.read_text()
    assert log.count('"event": "tampering"') == tries + 3
    assert (auditctl("-l"), setting("backlog_limit")) == (before, limit)


def test_a_report_changes_nothing(programs, tmp_path):
    """With guard=report everything stays as the tamperer left it, and is reported."""
    with Scene(programs, tmp_path, "report") as scene:
        scene.tamper(AUDITCTL, "-d", *scene.rule)
        scene.settle()
        scene.work("unseen")
        scene.tamper(AUDITCTL, "-A", "never,exit", "-F", f"auid={scene.works}")
        scene.settle()
        assert of_exit()[0] == f"-a never,exit -S all -F auid={scene.works}"
        assert f"auid={scene.works} -F key" not in auditctl("-l")
        scene.change("-d", "never,exit", "-F", f"auid={scene.works}")
        scene.settle()
        scene.tamper(AUDITCTL, "-e", "0")
        scene.settle()
        assert setting("enabled") == 0
    rows = scene.service.query("SELECT what, restored, auid FROM tamper ORDER BY time, event_id")
    ours = [(row["what"], row["restored"]) for row in rows if row["auid"] == scene.tampers]
    assert ours == [("rule_deleted", "no"), ("never_added", "no"), ("switched_off", "no")]
    assert not scene.seen("unseen")


def test_what_is_undone_at_once_is_found(programs, tmp_path):
    """A rule that was gone for an instant, and audit that was off for one."""
    with Scene(programs, tmp_path, "restore") as scene:
        rule = " ".join(scene.rule)
        for lines in (f"-d {rule}\n-a {rule}\n", "-e 0\n-e 1\n"):
            # By one process, in an instant: between two looks of the guard, however busy we are.
            file = tmp_path / "undone.rules"
            file.write_text(lines)
            scene.tamper(AUDITCTL, "-R", file)
            scene.settle()
        assert sorted(auditctl("-l").splitlines()) == sorted(scene.loaded.splitlines())
    found = scene.found()
    assert found[0]["what"] in {"rule_deleted", "rule_moved"}
    assert found[1]["what"] == "switched_off"
    assert {row["exe"] for row in found} == {str(AUDITCTL)}


def test_who_wants_our_place_is_named(programs, tmp_path):
    """A second service, and a plain registration: refused by the kernel, and reported."""
    (tmp_path / "second").mkdir()
    with Scene(programs, tmp_path, "report") as scene:
        scene.tamper(sys.executable, "-P", "-c", REGISTER)
        scene.settle()
        second = Service(tmp_path / "second", "")
        before = scene.programs
        before.run(
            scene.tampers,
            "/usr/bin/env",
            *(f"{name}={value}" for name, value in second.environment.items()),
            *second.command,
            status=1,
        )
        scene.done.append(datetime.now(UTC))
        scene.settle()
        assert setting("pid") == scene.service.process.pid
        scene.work("on")
    found = scene.found()
    assert {row["what"] for row in found} == {"replaced"}
    assert [row["comm"] for row in found] == [Path(sys.executable).name, AUDITSVC.name]
    assert scene.seen("on")


def test_a_rule_of_others_comes_back_in_its_place(programs, tmp_path):
    """Foreign rules present at the start are guarded too, with their order; later ones are not."""
    first, later = fresh_auid(), fresh_auid()
    exempt = ["never,exit", "-F", f"auid={first}", "-F", "pid=1"]
    auditctl("-A", *exempt)
    try:
        with Scene(programs, tmp_path, "restore") as scene:
            assert of_exit()[0] == f"-a never,exit -S all -F auid={first} -F pid=1"
            scene.tamper(AUDITCTL, "-d", *exempt)
            scene.wait(lambda: auditctl("-l") == scene.loaded)
            scene.change("-a", "always,exit", "-S", "open", "-F", f"auid={later}")
            scene.settle()
            scene.change("-d", "always,exit", "-S", "open", "-F", f"auid={later}")
            scene.settle()
            assert auditctl("-l") == scene.loaded
        whats = scene.service.query("SELECT what, restored FROM tamper ORDER BY time, event_id")
        assert [tuple(row.values()) for row in whats] == [
            ("rule_deleted", "yes"),
            ("rule_added", "no"),
            ("rule_deleted", "no"),
        ]
        assert of_exit()[0] == f"-a never,exit -S all -F auid={first} -F pid=1"
    finally:
        auditctl("-d", *exempt)


def test_rules_load_is_no_tampering_to_undo(programs, tmp_path):
    """Rules that an administrator loads during a run stay, and can be deleted again."""
    auid = fresh_auid()
    never = f"-a never,exit -S all -F auid={auid} -F pid=1"
    file = tmp_path / "more.rules"
    with Scene(programs, tmp_path, "restore") as scene:
        for text in (f"-A never,exit -S all -F auid={auid} -F pid=1\n", ""):
            file.write_text(text)
            cli("rules", "load", str(file), environment=scene.service.environment)
            scene.others += 1
            scene.settle()
            assert (never in auditctl("-l")) is bool(text)
        assert auditctl("-l") == scene.loaded
    rows = scene.service.query("SELECT what, restored, pid FROM tamper ORDER BY time, event_id")
    assert [(row["what"], row["restored"]) for row in rows] == [
        ("never_added", "no"),
        ("rule_deleted", "no"),
    ]
    assert os.getpid() not in {row["pid"] for row in rows}
