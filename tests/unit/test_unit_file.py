"""The systemd unit: few privileges, and no path hidden that a rule may name."""

from __future__ import annotations

import shutil
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest
from fixtures.systemd_analyze import assert_low_exposure, assert_nothing_wrong, needs_systemd

PACKAGING = Path(__file__).parents[2] / "packaging"
UNIT = PACKAGING / "auditsvc.service"


class _Unit(RawConfigParser):
    def __init__(self):
        super().__init__(strict=False, delimiters="=", comment_prefixes="#")
        self.read(UNIT)

    def optionxform(self, optionstr):
        """Options are told apart by case."""
        return optionstr


@pytest.mark.parametrize(
    ("option", "harmless"),
    [
        ("ProtectHome", {"no", "read-only"}),
        ("ProtectKernelModules", {"no"}),
        ("PrivateTmp", {"no"}),
        ("PrivateDevices", {"no"}),
        ("ProtectProc", {"default", "ptraceable"}),
        ("ProcSubset", {"all"}),
        ("PrivatePIDs", {"no"}),
        ("PrivateUsers", {"no"}),
        ("TemporaryFileSystem", {""}),
        ("InaccessiblePaths", {""}),
        ("RootDirectory", {""}),
        ("RootImage", {""}),
    ],
)
def test_the_service_sees_the_hosts_files(option, harmless):
    """The kernel looks a watch's path up where the one who adds it sees it (kern_path)."""
    unit = _Unit()
    assert unit.get("Service", option, fallback=next(iter(harmless))) in harmless


def test_nothing_writes_where_the_service_may_not():
    """With the host's /tmp read-only, SQLite's temporary files need a place."""
    unit = _Unit()
    assert unit.get("Service", "ProtectSystem") == "strict"
    assert unit.get("Service", "Environment") == "TMPDIR=%S/auditsvc"
    assert unit.get("Service", "StateDirectory") == "auditsvc"


@needs_systemd
def test_its_exposure_is_low():
    """2.0 or below, by systemd's own weights."""
    assert_low_exposure(UNIT)


@needs_systemd
@pytest.mark.parametrize("dropin", [None, "network.conf"])
def test_systemd_finds_nothing_wrong(tmp_path, dropin):
    """No unknown option, no value that is none, also with the drop-in."""
    text = UNIT.read_text().replace("/opt/auditsvc/bin/auditsvc", sys.executable)
    (tmp_path / UNIT.name).write_text(text)
    if dropin:
        (tmp_path / f"{UNIT.name}.d").mkdir()
        shutil.copy(PACKAGING / dropin, tmp_path / f"{UNIT.name}.d")
    assert_nothing_wrong(tmp_path / UNIT.name)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("Type", "notify"),
        ("WatchdogSec", "120"),
        ("LimitCORE", "0"),
        ("MemoryMax", "1G"),
        ("CPUWeight", "500"),
        ("ProtectClock", "yes"),
        ("ProtectHostname", "yes"),
        ("ProtectKernelLogs", "yes"),
        ("ProtectProc", "default"),  # the forwarder, without capabilities, must see journald
        ("User", "auditsvc"),
        ("IPAddressDeny", "any"),
        ("NoNewPrivileges", "yes"),
        ("SystemCallErrorNumber", "EPERM"),  # SQLite goes on when it may not change an owner
    ],
)
def test_what_the_unit_says(option, value):
    """What the exposure does not count, or another version of systemd may weigh otherwise."""
    assert _Unit().get("Service", option) == value
