"""`auditsvc tail` beside the running service: lines come at once, and it does not feed itself."""

from __future__ import annotations

import subprocess

import pytest
from fixtures.commands import AUDITSVC
from fixtures.waiting import at_rest, until
from live.programs import KEY, fresh_auid, rules
from live.service import Service

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_lock")]


def test_it_follows_the_service_and_not_itself(programs, tmp_path):
    """With rules for all calls of its own login user it shows those of others, and rests."""
    auid = fresh_auid()
    shown = tmp_path / "shown"
    with Service(tmp_path, rules(auid)) as service, shown.open("wb") as out:
        command = [programs["as_auid"], str(auid), AUDITSVC, "tail", "-k", KEY]
        tail = subprocess.Popen(command, stdout=out, env=service.environment)
        try:
            # Its own start is audited: another process shows that it follows.
            def after_a_call():
                subprocess.run([programs["as_auid"], str(auid), "/bin/true"], check=True)
                return "true[" in shown.read_text()

            until(after_a_call)
            at_rest(lambda: shown.stat().st_size)
            assert f"[{tail.pid}]" not in shown.read_text()
        finally:
            tail.terminate()
            assert tail.wait(120) == 0
