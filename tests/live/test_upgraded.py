"""New files of the program and a restart, under load, as a package's upgrade does it."""

from __future__ import annotations

import re
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from live.programs import fresh_auid
from live.service import Service
from live.test_takeover import BUSY, LARGE, all_there, load, rule, taken_over

import auditsvc

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_lock")]

NEW = "0.1.0+upgraded"


def replace_files(package):
    """Put other files in the place of all, as dpkg does: a new file beside it, then a rename."""
    for path in sorted(package.rglob("*")):
        if path.is_dir() or path.suffix == ".pyc":
            continue
        new = path.with_name(f"{path.name}.dpkg-new")
        shutil.copy2(path, new)
        if path == package / "__init__.py":
            text = new.read_text()
            assert f'"{auditsvc.__version__}"' in text
            new.write_text(text.replace(f'"{auditsvc.__version__}"', f'"{NEW}"'))
        new.replace(path)


@pytest.mark.long
def test_an_upgrade_under_load_loses_nothing(programs, tmp_path, kernel_lost):
    """The old version collects until the new one has its place: no gap, and both are on record."""
    auid, before = fresh_auid(), kernel_lost()
    package = tmp_path / "package/auditsvc"
    shutil.copytree(Path(auditsvc.__file__).parent, package, ignore=shutil.ignore_patterns("*.pyc"))
    service = Service(tmp_path, rule(auid))
    service.environment |= {
        "AUDITSVC_KERNEL__RECEIVE_BUFFER": str(LARGE),
        "PYTHONPATH": str(package.parent),
    }
    service.command[:1] = [sys.executable, "-P", "-m", "auditsvc"]
    service.begin()
    with load(programs, auid, BUSY) as made:
        replace_files(package)
        assert service.stop(signal.SIGUSR1) == 0
        service.begin()
        time.sleep(0.2)
    assert service.stop() == 0, service.log.read_text()
    all_there(service, auid, made.calls, kernel_lost=kernel_lost() - before)
    assert [state for _, state in taken_over(service)] == ["complete"]
    versions = re.findall(rb"op=start ver=auditsvc-(\S+)", service.spooled())
    assert versions == [auditsvc.__version__.encode(), NEW.encode()]
