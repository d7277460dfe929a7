"""SIGHUP: rules and settings are read again; if anything is wrong, the old ones stay."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog
from fixtures.fake_kernel import FakeKernel

from auditsvc.config import load_settings
from auditsvc.errors import ConfigError, RuleError
from auditsvc.forward.process import Child
from auditsvc.kernel import session as sessions
from auditsvc.kernel.session import Session
from auditsvc.record.daemon import Actor
from auditsvc.retention.upkeep import Upkeep
from auditsvc.rule import parse
from auditsvc.service.reload import LIVE, changed, merged
from auditsvc.service.run import Service

A, B, C = "-a always,exit -S open -k a", "-a always,exit -S open -k b", "-a always,exit -S all -k c"
PAGE = (Path(__file__).parents[2] / "packaging/README.md").read_text()


def lines(*text):
    """The commands of lines."""
    return [line.command for line in parse("\n".join(text))]


@pytest.fixture
def host(monkeypatch, tmp_path):
    """A running service on a modelled kernel; `says` is what the next reload reads."""
    control = FakeKernel()
    monkeypatch.setattr(sessions, "Control", lambda: control)
    spooled = []
    says = SimpleNamespace(settings={}, rules=[A], error=None)

    def read():
        if says.error is not None:
            raise says.error
        return load_settings(runtime_directory=tmp_path, **says.settings), lines(*says.rules), []

    settings, rules, notes = read()
    service = Service(settings, rules, notes, read)
    service._parts.sink = SimpleNamespace(put=lambda line, _: spooled.append(line.decode()))
    service._parts.session = Session(tmp_path)
    service._parts.session.begin(service._exclusions.begin(), 64)

    def reload():
        spooled.clear()
        with structlog.testing.capture_logs() as logged:
            service._reload(Actor())
        (line,) = spooled
        return line, logged

    return SimpleNamespace(
        control=control, says=says, reload=reload, service=service, rules=lambda: control.loaded
    )


def rules(*text):
    """The rules of lines."""
    return [each.rule for each in lines(*text)]


def test_rules_are_loaded_and_deleted(host):
    """What differs is changed, and the log and the evidence say so."""
    host.says.rules = [B, C]
    line, logged = host.reload()
    assert host.rules() == rules(B, C)
    assert "op=reconfigure state=changed" in line
    assert line.rstrip().endswith("res=success")
    assert logged[-1]["event"] == "reloaded"
    assert "state=no-change" in host.reload()[0]
    assert host.rules() == rules(B, C)


@pytest.mark.parametrize(
    "error",
    [
        RuleError("my.rules:2:4: unknown list", "did you mean `exit`"),
        ConfigError("configuration /etc/auditsvc/auditsvc.toml: Invalid value"),
        PermissionError(13, "Permission denied", "/etc/auditsvc/rules.d"),
    ],
    ids=["rules", "settings", "permission"],
)
def test_what_cannot_be_read_changes_nothing(host, error):
    """Rules and settings stay; one line says why, and the evidence has the failure."""
    host.says.error = error
    host.says.settings = {"spool": {"keep_bytes": 1}}
    line, (logged,) = host.reload()
    assert host.rules() == rules(A)
    assert host.service._settings.spool.keep_bytes == 1 << 30
    assert logged["event"] == "reload failed: the old rules and settings stay"
    assert logged["why"] == str(error)
    assert "state=no-change" in line
    assert line.rstrip().endswith("res=failed")
    host.says.error = None
    assert host.reload()[1][-1]["event"] == "reloaded"
    assert host.service._settings.spool.keep_bytes == 1


def test_what_the_kernel_refuses_changes_nothing(host):
    """All old rules and settings stay, and are held from then on too."""
    host.control.refused = set(rules(C))
    host.says.rules = [B, C]
    host.says.settings = {"spool": {"keep_bytes": 1}}
    line, logged = host.reload()
    assert host.rules() == rules(A)
    assert line.rstrip().endswith("res=failed")
    assert logged[-1]["log_level"] == "error"
    assert host.service._settings.spool.keep_bytes == 1 << 30
    host.service._parts.session.set_rules(host.service._exclusions._all())
    assert host.rules() == rules(A)


def test_what_is_kept_changes_at_once(host):
    """The loader's thread prunes by the new settings from its next look on."""
    upkeep = host.service._parts.upkeep = Upkeep(host.service._settings.retention)
    host.says.settings = {"retention": {"keep": "7d"}}
    assert "state=changed" in host.reload()[0]
    assert upkeep.retention.days == 7


def test_settings_that_need_a_restart_are_named(host, monkeypatch):
    """In the log and in `systemctl status`; those that can change are in use."""
    told = []
    monkeypatch.setattr("auditsvc.service.run.systemd.notify", told.append)
    host.says.settings = {
        "host": "other",
        "kernel": {"backlog_limit": 9999},
        "loader": {"patience": 3.0, "latency": 0.5},
    }
    line, logged = host.reload()
    assert "state=changed" in line
    assert logged[0]["settings"] == "host, kernel.backlog_limit, loader.latency"
    assert "restart" in logged[0]["event"]
    assert told[-1].startswith("STATUS=these settings change at the next restart: host, kernel.")
    settings = host.service._settings
    assert (settings.loader.patience, settings.loader.latency) == (3.0, 0.18)
    assert settings.host != "other"


def test_every_live_setting_exists_and_is_documented():
    """Each is a setting, and packaging/README.md names it."""
    old = load_settings()
    for name in LIVE:
        section, _, last = name.rpartition(".")
        part = getattr(old, section) if section else old
        assert hasattr(part, last)
        assert f"`{name}`" in PAGE or (section and f"`{section}.*`" in PAGE), name


def test_settings_are_compared_and_merged_by_their_names():
    """Only what differs is named; only what is live is taken."""
    old = load_settings()
    new = load_settings(host="x", forward={"keys": ("a",), "enabled": True})
    assert changed(old, new) == ["host", "forward.enabled", "forward.keys"]
    assert changed(old, merged(old, new)) == ["forward.keys"]


def test_the_forwarder_begins_again_with_the_new_choice(monkeypatch):
    """It is ended, and started at once; that is no failure."""
    settings = load_settings(forward={"enabled": True})
    child = Child(settings)
    ended = []

    def start():
        status = iter([None, 0])
        return SimpleNamespace(
            pid=len(ended) + 1, poll=lambda: next(status), terminate=lambda: ended.append(1)
        )

    monkeypatch.setattr(child, "_start", start)
    child.watch()
    assert child.pid == 1
    child.watch()
    child.reload(settings)
    with structlog.testing.capture_logs() as logged:
        child.watch()
        assert child.pid is None
        child.watch()
    assert (child.pid, logged, ended) == (2, [], [1])
