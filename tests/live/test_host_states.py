"""The states of a host for the live tests: each is as named, and nothing stays afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures import host_states
from fixtures.audit import AUDITCTL, Found, LeftError, RefusedError, exclusive_audit, restored

from auditsvc.kernel import Control
from auditsvc.rule import parse

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
RULE = "-a always,exit -S getppid -F auid=1999999992 -k left"


@pytest.fixture
def host():
    """Give a way to have audit alone in a state, which skips where audit is refused."""

    def enter(state):
        try:
            with exclusive_audit():
                pass
        except RefusedError as reason:
            pytest.skip(f"live: {reason}")
        return exclusive_audit(state)

    return enter


def settings():
    """What auditctl says of the settings, as a dictionary."""
    said = subprocess.run([AUDITCTL, "-s"], capture_output=True, text=True, check=True).stdout
    return dict(line.split(" ", 1) for line in said.splitlines())


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("off", {"enabled": "0"}),
        ("on", {"enabled": "1"}),
        ("on+limits", {"enabled": "1", "failure": "0", "backlog_limit": "65536"}),
    ],
)
def test_settings_of_a_state(host, state, expected):
    """Auditctl sees the switch and the limits that the state is named for."""
    with host(state):
        found = settings()
        assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("state", ["foreign-rules", "other-keys"])
def test_rules_of_a_state(host, state):
    """The kernel takes all its rules, beside those that were there."""
    with host(host_states.AS_FOUND) as control:
        own = control.rules()
    with host(state) as control:
        more = [rule for rule in control.rules() if rule not in own]
    assert len(more) == 6


def test_a_reader_beside_ours(host):
    """While it lasts, one more socket is in the multicast group."""

    def readers():
        lines = Path("/proc/net/netlink").read_text().splitlines()[1:]
        return sum(line.split()[1] == "9" and int(line.split()[3], 16) & 1 for line in lines)

    before = readers()
    with host("multicast-reader"):
        assert readers() == before + 1


def leave_a_rule(control):
    """Load a rule."""
    control.apply(parse(RULE)[0].command)


def leave_a_limit(control):
    """Raise a limit."""
    control.set(backlog_limit=control.status().backlog_limit + 1)


@pytest.mark.parametrize("leave", [leave_a_rule, leave_a_limit])
def test_who_leaves_something_is_told(host, leave):
    """The difference is reported, and the kernel is restored nevertheless."""
    with host("on+limits+foreign-rules") as control, Control() as other:
        own = Found.now(other)
        with restored(control):
            leave(control)
            assert Found.now(other) != own
        assert Found.now(other) == own
    with host("off") as control:
        found = Found.now(control)
    with pytest.raises(LeftError, match="not as this test found it"), host("off") as control:
        leave(control)
    with host("off") as control:
        assert Found.now(control) == found


KILLED = """
import os, signal
from fixtures.audit import exclusive_audit
with exclusive_audit("on+limits+foreign-rules"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_had_found_comes_back(host):
    """The next that has audit alone finds it as it was before."""
    with host(host_states.AS_FOUND) as control:
        found = Found.now(control)
    killed = subprocess.run(
        [sys.executable, "-P", "-c", KILLED],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    with host(host_states.AS_FOUND) as control:
        assert Found.now(control) == found


@pytest.mark.parametrize(("option", "says"), [("-q", "1 skipped"), ("--no-live-skips", "1 error")])
def test_where_no_live_test_may_skip(option, says):
    """Without the privilege a live test is skipped, and in CI fails."""
    test = "tests/live/test_kernel_control.py::test_status_agrees_with_auditctl"
    refused = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]
    done = subprocess.run(
        [*refused, sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", option, test],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert says in done.stdout, done.stdout
