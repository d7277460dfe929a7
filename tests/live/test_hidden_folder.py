"""Why packaging/auditsvc.service hides no folder from the service."""

from __future__ import annotations

import pytest
from live.programs import fresh_auid
from live.service import Service

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_lock")]

HIDE = 'mount -t tmpfs none "$0" && exec "$@"'
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


@pytest.mark.parametrize(("how", "seen"), [(HIDE, False), (READ_ONLY, True)])
def test_a_watch_sees_what_its_maker_sees(programs, tmp_path, how, seen):
    """A watch of a folder hidden from the service logs nothing; of a read-only one it does."""
    auid, folder = fresh_auid(), tmp_path / "watched"
    folder.mkdir()
    rule = f"-a always,exit -F dir={folder} -F perm=wa -F auid={auid} -k hidden\n"
    service = Service(tmp_path, rule)
    service.command = ["unshare", "-m", "sh", "-c", how, str(folder), *service.command]
    with service:
        programs.run(auid, "/bin/sh", "-c", f": > {folder}/file")
    found = service.query("SELECT count(*) AS n FROM syscalls WHERE key = 'hidden'")
    assert (found[0]["n"] > 0) is seen
