"""What the live tests share: the audited programs, and the kernel's own count of losses."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from live.programs import Programs
from live.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AUDITCTL = Path(__file__).parents[2] / "build/peers/sbin/auditctl"


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """Programs of workload/, compiled once."""
    if platform.machine() != "x86_64":
        pytest.skip(f"live: the audited programs are written for x86_64, not {platform.machine()}")
    return Programs.build(tmp_path_factory.mktemp("programs"))


@pytest.fixture(autouse=True)
def ended_services() -> Iterator[None]:
    """End the services that a test that failed left: all further ones would find a daemon."""
    before = len(Service.begun)
    yield
    left = [each for each in Service.begun[before:] if each.poll() is None]
    del Service.begun[before:]
    for each in left:
        each.terminate()
        each.wait(60)


@pytest.fixture
def kernel_lost() -> Callable[[], int]:
    """Read how many records the kernel gave up by auditctl: auditsvc does not judge itself."""

    def read() -> int:
        done = subprocess.run([AUDITCTL, "-s"], capture_output=True, text=True, check=True)
        match = re.search(r"^lost (\d+)$", done.stdout, re.MULTILINE)
        assert match, done.stdout
        return int(match[1])

    return read
