"""The systemd unit hides nothing from the service that a rule may name."""

from __future__ import annotations

from configparser import RawConfigParser
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "packaging/auditsvc.service"


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
        ("ProtectProc", {"default"}),
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
