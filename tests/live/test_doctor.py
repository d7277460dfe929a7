"""`auditsvc doctor` on this machine: against auditctl, and without privilege."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from fixtures.waiting import until
from live.programs import fresh_auid, rules
from live.service import AUDITSVC, Service

from auditsvc.kernel import RecordSocket
from auditsvc.rule import parse

AUDITCTL = Path(__file__).parents[2] / "build/peers/sbin/auditctl"


def doctor(environment, *prefix):
    """Its findings by name, and its exit status, which tells whether there is an error."""
    done = subprocess.run(
        [*prefix, AUDITSVC, "doctor", "--format", "json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    told = json.loads(done.stdout)
    errors = [each for each in told["findings"] if each["level"] == "error"]
    assert told["levels"]["error"] == len(errors)
    assert done.returncode == bool(errors), errors
    assert all(each["mend"] and each["means"] for each in errors)
    return {each["name"]: each for each in told["findings"]}


@pytest.mark.live
def test_it_says_what_auditctl_says(tmp_path, audit_changes):
    """The kernel's settings, the daemon and the rules, as found and with wrong values."""
    auid = fresh_auid()
    with Service(tmp_path, rules(auid)) as service:
        until((tmp_path / "run/state.json").exists)  # it is written once a second
        shown = subprocess.run([AUDITCTL, "-s"], capture_output=True, text=True, check=True).stdout
        says = dict(re.findall(r"^(\w+) (\d+)", shown, re.MULTILINE))
        found = doctor(service.environment)
        assert says["pid"] in found["audit daemon"]["found"]
        assert "our service" in found["audit daemon"]["found"]
        assert found["backlog limit"]["found"].startswith(f"{says['backlog_limit']} ")
        assert found["enabled"]["level"] == "ok"
        assert found["never,task"]["level"] == "ok"
        assert (found["lost"]["level"] == "ok") is (says["lost"] == "0")
        with_ours = {name for name, each in found.items() if each["level"] == "error"}
        audit_changes.set(failure=0, backlog_limit=64)
        audit_changes.add_rule(parse(f"-a never,task -F auid={auid}")[0].command.rule)
        records = RecordSocket.multicast()
        ill = doctor(service.environment)
        records.close()
        assert {name for name, each in ill.items() if each["level"] == "error"} == {
            "never,task",
            *with_ours,
        }
        assert ill["failure mode"]["level"] == "note"
        assert ill["backlog limit"]["level"] == "warning"
        assert f"pid {os.getpid()} " in ill["multicast readers"]["found"]
        audit_changes.set(enabled=0)
        assert doctor(service.environment)["enabled"]["level"] == "error"
        audit_changes.set(enabled=1)


def test_in_a_user_namespace(tmp_path):
    """If the kernel refuses, an error says so, and all other checks are made."""
    if subprocess.run(["unshare", "-Urn", "true"], check=False, capture_output=True).returncode:
        pytest.skip("user namespaces are not allowed here")
    environment = os.environ | {"AUDITSVC_STATE_DIRECTORY": str(tmp_path)}
    found = doctor(environment, "unshare", "-Urn")
    assert found["namespaces"]["level"] == "error"
    assert found["kernel: answers"]["level"] == "error"
    assert found["lost"]["found"].startswith("unknown")
    assert found["multicast readers"]["found"].startswith("unknown")
    assert found["boot: audit="]["level"] in {"ok", "warning", "error"}


def test_without_capabilities(tmp_path):
    """What cannot be known is said, with the command that shows it, and is no error."""
    environment = os.environ | {"AUDITSVC_STATE_DIRECTORY": str(tmp_path)}
    prefix = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    found = doctor(environment, *prefix)
    assert "lacks CAP_AUDIT_CONTROL" in found["capabilities"]["found"]
    assert found["capabilities"]["mend"] == "sudo auditsvc doctor"
    assert found["kernel: answers"]["level"] in {"warning", "error"}
    assert found["enabled"]["found"].startswith("unknown")
