"""What the running service's watch concludes from records and from the kernel's answers."""

from __future__ import annotations

import json

import pytest

from auditsvc.config import load_settings
from auditsvc.coverage import snapshot
from auditsvc.coverage import watch as watching
from auditsvc.coverage.history import Birth, Periods, TaskListState, load
from auditsvc.coverage.rule_effect import Logged, Logs
from auditsvc.coverage.snapshot import KernelFacts, epoch
from auditsvc.errors import KernelError

CHANGE = b"type=CONFIG_CHANGE msg=audit(%.3f:7): auid=0 ses=1 op=add_rule key=(null) %b res=1\n"
TASK = b"list=1"


class Host:
    """A watch with a clock, a kernel and a collector that the test moves."""

    def __init__(self, tmp_path, monkeypatch):
        """It has looked once, at 1000 seconds after boot, and found nothing."""
        self.now, self.known_to, self.epoch = 1000.0, 0.0, 1_000_000_000.0
        self.task_list, self.lost, self.daemon, self.enabled = TaskListState.CLEAR, 0, 77, True
        self.on_ask = lambda: None
        monkeypatch.setattr(watching, "boottime", lambda: self.now)
        monkeypatch.setattr(watching, "epoch", lambda: self.epoch)
        settings = load_settings(runtime_directory=tmp_path)
        self.watch = watching.CoverageWatch(settings, None, None, frozenset, lambda: self.known_to)
        self.watch._ask = self.ask
        self.watch._periods = Periods("boot", on_at_boot=False)
        self.watch._kernel = self.ask()
        self.tick()

    def ask(self):
        """Answer as the kernel does; `on_ask` happens just before or after."""
        logged = Logged(enabled=self.enabled, logs=Logs.SOME, task_list=self.task_list)
        self.on_ask()
        return KernelFacts(logged, self.daemon, self.lost)

    def tick(self, after=1.0):
        """Look again after a while, having heard everything."""
        self.now += after
        self.known_to = self.now
        self.watch._tick()

    def receive(self, ago=0.0, of=TASK):
        """Hear of a change that was made so long ago."""
        self.watch.receive(CHANGE % (self.epoch + self.now - ago, of))

    def births(self, begin, end):
        """What is said of tasks forked from `begin` to `end`, every tenth of a second."""
        return {
            self.watch._periods.birth(tenth / 10)
            for tenth in range(int(begin * 10), int(end * 10) + 1)
        }


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host that was watched for a while."""
    made = Host(tmp_path, monkeypatch)
    for _ in range(9):
        made.tick()
    assert made.births(1001.2, 1010) == {Birth.COVERED}
    return made


def test_a_change_between_the_answer_and_the_note(host):
    """The answer is older than what is heard meanwhile, and does not speak of what follows."""

    def change():
        host.now += 0.05
        host.task_list = TaskListState.ALL
        host.receive()
        host.now += 0.3  # held up

    host.on_ask = change
    host.tick()  # answered "clear" at 1011.0, noted at 1011.35
    host.on_ask = lambda: None
    assert Birth.COVERED not in host.births(1011.1, 1011.3)
    host.tick()
    host.tick()
    assert Birth.COVERED not in host.births(1011.1, 1013)
    assert host.births(1011.3, 1013) == {Birth.NEVER_TASK}
    assert host.births(1001.2, 1010.8) == {Birth.COVERED}


def test_nothing_is_said_of_what_may_still_be_heard(host):
    """A collector that is behind leaves its time unknown, and what it brings counts then."""
    host.now += 5
    host.known_to = 1011.0
    host.watch._tick()
    assert host.births(1001.2, 1010.9) == {Birth.COVERED}
    assert host.births(1011.1, 1015) == {Birth.UNWATCHED}
    host.now += 1
    host.receive(ago=3)
    host.receive(ago=2)
    host.tick()
    assert host.births(1011.1, 1012.7) == {Birth.COVERED}
    assert host.births(1013, 1014) == {Birth.CHANGING}


@pytest.mark.parametrize("what", ["lost", "daemon", "exclude", "switched off", "raw", "clock"])
def test_what_may_hide_a_change_leaves_the_time_unwatched(host, what):
    """Records lost, another daemon, hidden, audit off, unreadable, or stamped by another clock."""
    host.now += 2
    host.known_to = 1010.5
    if what == "lost":
        host.lost = 1
    elif what == "daemon":
        host.daemon = 0
    elif what == "exclude":
        host.receive(of=b"list=5")
    elif what == "switched off":
        host.receive(of=b"audit_enabled=0 old=1")
    elif what == "raw":
        host.watch.receive(b"type=CONFIG_CHANGE msg=audit(never): list=1\n")
    else:
        host.epoch -= 3600
    host.watch._tick()
    host.daemon = 77
    host.tick()
    host.tick()
    host.tick()
    assert host.births(1001.2, 1009.8) == {Birth.COVERED}
    assert host.births(1010.2, 1011.8) <= {Birth.UNWATCHED}
    assert host.births(1014, 1015) == {Birth.COVERED}


def test_what_was_heard_outlives_a_kernel_that_refuses(host):
    """A tick that fails keeps the changes, and its time is unwatched."""
    host.task_list = TaskListState.CLEAR
    host.receive(ago=0.5)

    def refuse():
        raise KernelError("no answer")

    host.on_ask = refuse
    with pytest.raises(KernelError):
        host.tick()
    host.on_ask = lambda: None
    host.tick()
    assert Birth.COVERED not in host.births(1009.5, 1010)
    assert host.births(1010.2, 1011.8) == {Birth.UNWATCHED}


def test_a_flood_of_changes_is_kept_small(host):
    """Rules that are changed without a pause fill no memory before the next tick."""
    for _ in range(5000):
        host.now += 0.001
        host.receive()
    assert len(host.watch._changes) <= watching._MOST_CHANGES
    host.tick(0.0)
    host.tick()
    host.tick()
    assert Birth.COVERED not in host.births(1010.2, 1015)
    assert Birth.COVERED in host.births(1016, 1017)


def test_the_time_of_boot_is_not_too_early(monkeypatch):
    """Delayed between reading its two clocks, it is too late: a change then seems older, not newer.

    It is asked again until both are read at once, and not for ever.
    """
    now, held, begin = [5000.0], [0.05] * 3, 1_000_000_000.0

    def late():
        now[0] += held.pop() if held else 0.0
        return begin + now[0]

    monkeypatch.setattr(snapshot, "boottime", lambda: now[0])
    monkeypatch.setattr(snapshot.time, "time", late)
    assert epoch() == pytest.approx(begin, abs=0.001)
    assert not held
    held = [0.05] * 1000
    assert epoch() == pytest.approx(begin + 0.05, abs=0.001)


def test_what_an_older_version_wrote_is_not_believed(tmp_path):
    """Its marks are no evidence: who was forked before counts as forked before anybody looked."""
    known = load(tmp_path)
    values = {"boot": known.boot, "on_at_boot": known.on_at_boot, "first": 1, "off": None}
    values |= {"on": 1, "until": 9, "last": "clear", "marks": [[1, "clear"]], "silent": []}
    (tmp_path / "coverage.json").write_text(json.dumps(values))
    assert load(tmp_path) == known
