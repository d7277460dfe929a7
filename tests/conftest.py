"""What all tests share: the kernel's audit, the states of a host, and which tests run together.

Live tests have the kernel's audit one at a time, so one worker of pytest-xdist runs them all;
the others are shared out by file, so that what a module needs is made once.
"""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
import zlib
from pathlib import Path

import hypothesis
import pytest
from fixtures import host_states, in_memory, kept_session
from fixtures.audit import RefusedError, exclusive_audit, restored
from fixtures.repeats import EACH_DATABASE, LONG, ONE_DATABASE, SHORT, is_other_pair, of_other_turns
from xdist.scheduler import LoadScopeScheduling

import auditsvc
from auditsvc.decode import DECODERS


def pytest_addoption(parser):
    """Add the switches of this suite."""
    parser.addoption("--regenerate", action="store_true", help="write the golden data anew")
    parser.addoption(
        "--long", action="store_true", help="run what is marked `long`, and draw more examples"
    )
    parser.addoption(
        "--no-live-skips", action="store_true", help="a live test that is skipped fails"
    )
    parser.addoption(
        "--root",
        action="append",
        default=[],
        help="run the tests on a bare root of this release (bookworm, trixie, noble); can be "
        "given several times (make test-roots)",
    )
    parser.addoption(
        "--host-state",
        action="append",
        default=[],
        type=_state,
        help="run the live tests on a host in this state: parts joined by +, of "
        f"{', '.join(host_states.PARTS)}; can be given several times",
    )
    parser.addoption(
        "--share-states",
        action="store_true",
        help="run each live test in one of the states instead of all; which one depends on its"
        " name alone",
    )


def pytest_ignore_collect(collection_path, config):
    """Leave out the tests on roots of distributions, unless a root is named."""
    unwanted = collection_path == Path(__file__).parent / "roots" and not config.getoption("--root")
    return True if unwanted else None


def _state(text):
    unknown = set(text.split("+")) - host_states.PARTS.keys()
    if unknown:
        raise ValueError(unknown)
    return text


def pytest_configure(config):
    """Draw more examples in the long run; ended by SIGTERM, restore what fixtures changed.

    A shell starts its background jobs with SIGINT and SIGQUIT ignored, which all children would
    inherit.

    Each worker collects all tests. Half of that time is to compile their files with what pytest
    adds to `assert`; so it is kept (beside them, ignored by git), also where the environment has
    PYTHONDONTWRITEBYTECODE. A fifth of the rest is to look for garbage, of which there is none.
    """
    sys.dont_write_bytecode = False
    gc.disable()
    if memory := in_memory.folder():  # --basetemp=FOLDER: there
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", memory)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    hypothesis.settings.load_profile(LONG if config.getoption("--long") else SHORT)


def pytest_collection_finish():
    """Leave the many objects of the collected tests out of each collection of garbage.

    Among them is hardly any, so none is looked for before: that takes half a second. There is
    little later, too, so it is looked for less often than by default: a twentieth of the time.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def pytest_report_header():
    """Say what is tested: a wheel or this checkout, and with which decoders."""
    return f"auditsvc: {Path(auditsvc.__file__).parent}, decoders: {', '.join(DECODERS)}"


def pytest_generate_tests(metafunc):
    """Run what has the kernel's audit once in each state that was asked for, or in one of them."""
    states = metafunc.config.getoption("--host-state")
    if states and metafunc.config.getoption("--share-states"):
        name = f"{metafunc.module.__name__}.{metafunc.function.__name__}"
        states = [states[zlib.crc32(name.encode()) % len(states)]]
    if states and "host_state" in metafunc.fixturenames:
        metafunc.parametrize("host_state", states, indirect=True, scope="session")
    if "suite" in metafunc.fixturenames:
        roots = metafunc.config.getoption("--root")
        metafunc.parametrize("suite", roots, indirect=True, scope="module")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Leave out what takes long; begin with the live tests, and end with short ones.

    One worker has all live tests, and those of a file: what it gets last, the others wait for.
    """
    if not config.getoption("--long"):
        left_out = {item for item in items if item.get_closest_marker(LONG) or _is_left_out(item)}
        left_out.update(_of_other_turns([item for item in items if item not in left_out]))
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]
    items.sort(key=_turn)


def _is_left_out(item):
    given = getattr(item, "callspec", None)
    return given is not None and is_other_pair(item.function.__name__, given.params.values())


def _has_turns(item):
    """Cases with a database, and in conformance/ those with a decoder; units are quick."""
    is_quick = "/unit/" in str(item.path) or item.get_closest_marker(EACH_DATABASE)
    return hasattr(item, "callspec") and not is_quick


def _of_other_turns(items):
    tests = {}
    for item in items:
        if _has_turns(item):
            tests.setdefault((item.path, item.originalname), []).append(item)
    found = []
    for (_, name), cases in tests.items():
        values = [[*each.callspec.params.values()] for each in cases]
        one = cases[0].get_closest_marker(ONE_DATABASE) is not None
        found += [cases[place] for place in of_other_turns(name, values, one_database=one)]
    return found


def _turn(item):
    return 0 if _is_live(item) else 2 if "/unit/" in str(item.path) else 1


class Groups(LoadScopeScheduling):
    """Which tests go to one worker of pytest-xdist: those of a file, and all live ones.

    A live test elsewhere would be right as well, and only wait for the lock. (xdist's own
    groups are no help: what `loadgroup` writes into a test's id pytest 9.2 does not read.)
    """

    def _split_scope(self, nodeid):
        states = (f"[{state}" for state in self.config.getoption("--host-state"))
        if "tests/live/" in nodeid or any(state in nodeid for state in states):
            return "live"
        return nodeid.split("::")[0]


def pytest_xdist_make_scheduler(config, log):
    """Have tests shared out among workers by these groups, in the order of the tests."""
    config.option.loadscopereorder = False
    return Groups(config, log)


def _is_live(item):
    return item.get_closest_marker("live") is not None or "host_state" in item.fixturenames


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Where no live test may be skipped, a skip is a failure that says the reason."""
    report = yield
    if report.skipped and item.config.getoption("--no-live-skips") and _is_live(item):
        report.outcome = "failed"
        report.longrepr = f"skipped, where --no-live-skips allows none: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def host_state(request):
    """Give the state of the host in which the live tests run."""
    return getattr(request, "param", host_states.AS_FOUND)


@pytest.fixture
def audit_lock(host_state):
    """Have the kernel's audit alone and give a Control for it; skip where that is refused.

    A test that leaves another state than it found fails.
    """
    try:
        with exclusive_audit(host_state) as control:
            yield control
    except RefusedError as reason:
        pytest.skip(f"live: {reason}")


@pytest.fixture(autouse=True)
def same_process():
    """Fail a test that leaves this process with other rights or settings, for all that follow."""

    def own():
        settings = {name: os.environ[name] for name in os.environ if name.startswith("AUDITSVC_")}
        return settings, re.findall(
            r"^Cap\w+:.*$", Path("/proc/self/status").read_text(), re.MULTILINE
        )

    before = own()
    yield
    kept_session.end()
    assert own() == before


@pytest.fixture
def audit_changes(audit_lock):
    """`audit_lock`, for a test that changes rules or settings itself: these are put back."""
    with restored(audit_lock):
        yield audit_lock


@pytest.fixture(scope="module")
def unsynced():
    """Sync nothing: what the tests of a module make need not outlive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, lambda _: None)
        yield
