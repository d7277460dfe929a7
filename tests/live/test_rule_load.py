"""`auditsvc rules load` and `diff` on the real kernel, verified by auditctl."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fixtures import commands
from fixtures.waiting import until
from live.programs import fresh_auid, rules
from live.service import AUDITSVC, Service

from auditsvc.config import Settings
from auditsvc.kernel import Control
from auditsvc.kernel.load_rules import compare, load
from auditsvc.rule import Delete, parse
from auditsvc.ruleset.sources import wanted_rules
from auditsvc.ruleset.wanted import sum_up

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_changes")]

AUDITCTL = Path(__file__).parents[2] / "build/peers/sbin/auditctl"


def listed():
    """What `auditctl -l` prints of the list that system calls go through."""
    done = subprocess.run([AUDITCTL, "-l"], capture_output=True, text=True, check=True)
    others = re.compile(r"No rules|-a \w+,(task|user|exclude|filesystem|io_uring) ")
    return [line for line in done.stdout.splitlines() if not others.match(line)]


@pytest.fixture
def say(tmp_path):
    """Run `auditsvc rules ...`; gives exit status and the lines of both outputs."""
    environment = os.environ | {"AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path / "run")}

    def run(*words):
        done = commands.run("rules", *words, environment=environment, text=True)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()

    return run


def narrow(auid, *calls):
    """Rules for calls of tasks with this auid, a key each."""
    return [f"-a always,exit -F arch=b64 -S {call} -F auid={auid} -F key={call}" for call in calls]


def test_load_and_diff(audit_changes, say, tmp_path):
    """Loaded is what auditctl lists; diff says 1 before and 0 after; foreign rules stay."""
    auid = fresh_auid()
    before = listed()
    (foreign,) = narrow(fresh_auid(), "read")
    subprocess.run([AUDITCTL, *foreign.split()], check=True)
    path = tmp_path / "my.rules"
    one, two, three = narrow(auid, "open", "kill", "mkdir")
    folder = tmp_path / "watched"
    folder.mkdir()
    lines = [one, two, f"-w {folder} -p wa -k w", f"-a never,exit -S all -F auid={auid}", three]
    path.write_text("\n".join(["-D", f"-b {audit_changes.status().backlog_limit}", *lines]))

    status, out, err = say("diff", str(path), "--format", "table")
    assert (status, err) == (1, [])
    assert out[: len(lines)] == [f"+ {line}" for line in lines]
    assert f"? {foreign}" in out
    assert say("load", str(path), "--dry-run")[0] == 0
    assert listed() == [*before, foreign]
    status, out, err = say("load", str(path))
    assert (status, err) == (0, [])
    assert listed() == [*before, foreign, *lines]
    assert say("diff", str(path), "--format", "table")[0] == 0
    raw = audit_changes.raw_rules()
    assert say("load", str(path))[1][-1].startswith("changed: nothing")
    assert audit_changes.raw_rules() == raw

    path.write_text("\n".join([three, f"-A never,exit -S read -F auid={auid}", one]))
    assert say("load", str(path))[0] == 0
    never = f"-a never,exit -S read -F auid={auid}"
    assert listed() == [never, *before, foreign, three, one]
    assert say("load", str(path), "--exclusive")[0] == 0
    assert listed() == [never, three, one]


@pytest.mark.parametrize(
    "bad",
    [
        "-w /no-such-folder/deeper/file -p wa",
        "-a always,exit -F dir=/no-such-folder -F perm=wa",
        "-a always,exit -F exe=/no-such-folder/program",
    ],
)
def test_a_refused_rule_takes_everything_back(audit_changes, say, tmp_path, bad):
    """What our parser takes and the kernel does not: rules, order and limits are as before."""
    auid = fresh_auid()
    path = tmp_path / "my.rules"
    one, two, three = narrow(auid, "open", "kill", "mkdir")
    path.write_text(f"{one}\n{two}\n")
    assert say("load", str(path))[0] == 0
    before = (audit_changes.raw_rules(), audit_changes.status().backlog_limit)
    path.write_text("\n".join([f"-b {before[1] + 1}", two, three, bad, one]))
    status, out, err = say("load", str(path))
    assert (status, out, len(err)) == (1, [], 1)
    assert err[0].startswith(f"auditsvc: {path}:4: adding the rule")
    assert err[0].endswith("everything is as it was before")
    assert (audit_changes.raw_rules(), audit_changes.status().backlog_limit) == before
    path.write_text(f"-c\n{two}\n{three}\n{bad}\n{one}\n")
    status, _, err = say("load", str(path))
    assert (status, len(err)) == (1, 1)
    assert err[0].startswith(f"auditsvc: left out: {path}:4: ")
    assert say("load", str(path))[1][-1].startswith("changed: nothing")
    assert [line for line in listed() if f"auid={auid}" in line] == [two, three, one]


def test_every_rule_of_auditds_examples(audit_changes, tmp_path):
    """All rules for paths of this host load at once, and are equal afterwards, in their order."""
    examples = AUDITCTL.parents[1] / "usr/share/doc/auditd/examples/rules"
    audit_changes.set(enabled=0)
    folder = tmp_path / "rules.d"
    folder.mkdir()
    for path in examples.glob("*.rules"):
        # A never,task would blind what others start meanwhile; settings are not the point.
        lines = path.read_text().splitlines()
        kept = [line for line in lines if line.startswith(("-a", "-w")) and "task" not in line]
        (folder / path.name).write_text("\n".join(["-i", *kept]))
    wanted, left_out = wanted_rules(Settings(), [folder])
    assert all("does not exist" in line or "unknown user `chrony`" in line for line in left_out)
    found = compare(audit_changes, wanted, tmp_path, exclusive=True)
    load(audit_changes, wanted, found, tmp_path)
    assert compare(audit_changes, wanted, tmp_path, exclusive=True).equal
    by_list = sorted((each.rule for each in wanted.rules), key=lambda rule: rule.filter_list)
    assert audit_changes.rules() == by_list
    assert len(by_list) > 150


CALLS = ("getppid", "getuid", "getgid")
LOADS = 30
# Calls the three in turn, from when the first file is there until the second is; prints how often.
LOOP = """
import os, sys
began, stop = sys.argv[1:]
open(began, "x").close()
rounds = 0
while not os.path.exists(stop):
    for _ in range(500):
        os.getppid(), os.getuid(), os.getgid()
    rounds += 500
print(rounds)
"""


def test_reordering_leaves_no_gap(programs, tmp_path, kernel_lost):
    """While load reverses the rules again and again, every call of a busy task is a row."""
    auid = fresh_auid()
    # Each call has one rule: without that rule, for however short, its rows are missing.
    one, two, three = narrow(auid, *CALLS)
    never = f"-a never,exit -F auid={auid}"
    turns = (
        [one, two, three, never],
        [three, two, one, never],
        [two, f"-a never,exit -S kill -F auid={auid}", one, three, never],
    )
    orders = [sum_up(parse("\n".join(lines))) for lines in turns]
    folder = tmp_path / "load"
    folder.mkdir()
    began, stop = tmp_path / "began", tmp_path / "stop"
    before = kernel_lost()
    with (
        Service(tmp_path, rules(fresh_auid())) as service,
        Control() as control,
        ThreadPoolExecutor() as pool,
    ):

        def turn(wanted):
            load(control, wanted, compare(control, wanted, folder), folder)

        turn(orders[0])
        program = pool.submit(programs.run, auid, sys.executable, "-P", "-c", LOOP, began, stop)
        try:
            until(began.exists)
            for number in range(1, LOADS):
                turn(orders[number % len(orders)])
        finally:
            stop.touch()
        rounds = int(program.result())
        turn(sum_up(()))
    of_calls = f"auid = {auid} AND syscall IN {CALLS}"
    counted = {
        row["syscall"]: row["n"]
        for row in service.query(
            f"SELECT syscall, count(*) AS n FROM syscalls WHERE {of_calls} GROUP BY syscall"
        )
    }
    (moving,) = service.query(
        f"SELECT count(*) AS n FROM syscalls WHERE {of_calls} AND key LIKE '%stand-in%'"
    )
    print(f"{LOADS} loads; {counted}, {moving['n']} of them under a stand-in")
    assert rounds > 0
    # Python itself asks for its user and group once or twice as it starts.
    assert counted["getppid"] == rounds
    assert rounds <= counted["getuid"] == counted["getgid"] <= rounds + 3
    assert moving["n"] > 0
    assert kernel_lost() == before


def test_beside_a_running_service(say, tmp_path):
    """--exclusive leaves the service its rules, and what load made outlives the service."""
    theirs, ours = fresh_auid(), fresh_auid()
    (theirs_line,) = narrow(theirs, "open")
    path = tmp_path / "my.rules"
    (line,) = narrow(ours, "kill")
    path.write_text(f"{line}\n")
    with Service(tmp_path, f"{theirs_line}\n"):
        assert theirs_line in listed()
        status, out, err = say("load", str(path), "--exclusive")
        assert (status, err) == (0, [])
        assert out[-1].endswith("not changed: 3 rules of the running service")
        loader = [each for each in listed() if "key=auditsvc-loader" in each]
        assert {theirs_line, line, *loader} == set(listed())
        status, out, _ = say("diff", str(path), "--format", "table")
        assert (status, len(loader)) == (0, 2)
        # An older auditctl has no name for the list io_uring.
        assert set(out) == {
            f": {each.replace('(null)', 'io_uring')}" for each in (theirs_line, *loader)
        }
    assert listed() == [line]


def test_lines_that_delete(audit_changes, say, tmp_path):
    """-d takes out a rule that auditctl loaded."""
    (foreign,) = narrow(fresh_auid(), "open")
    subprocess.run([AUDITCTL, *foreign.split()], check=True)
    path = tmp_path / "my.rules"
    path.write_text(foreign.replace("-a ", "-d ", 1) + "\n")
    (parsed,) = parse(path.read_text())
    assert isinstance(parsed.command, Delete)
    assert parsed.command.rule in audit_changes.rules()
    status, out, _ = say("load", str(path))
    assert (status, out[0]) == (0, f"- {foreign}")
    assert out[1].startswith("changed: 1 deleted")
    assert parsed.command.rule not in audit_changes.rules()


def test_without_privilege(tmp_path):
    """Check needs none; diff and load say in one line what they need."""
    path = tmp_path / "my.rules"
    path.write_text("-a always,exit -S all -F auid=5\n")
    for verb, status in (("check", 0), ("diff", 1), ("load", 1)):
        done = subprocess.run(
            ["setpriv", "--bounding-set=-all", "--inh-caps=-all", AUDITSVC, "rules", verb, path],
            env=os.environ | {"AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path / "run")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert len(done.stderr.splitlines()) == (verb != "check")
        assert "CAP_AUDIT_CONTROL" in done.stderr or verb == "check"
