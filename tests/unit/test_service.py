"""What the service does when the kernel drops it, or its folders cannot be written."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from auditsvc.config import load_settings
from auditsvc.ingest.loader import Loader
from auditsvc.record.daemon import Actor
from auditsvc.runtime.service_state import read_state
from auditsvc.service.run import Service


def test_a_place_that_the_kernel_took_is_asked_for_again():
    """Once the kernel has given the daemon up (auditd_reset), every look asks for the place."""
    asked = []
    service = Service(load_settings(), [])
    service._parts.session = SimpleNamespace(
        new_lost=lambda: 0, registered=False, register_again=lambda: asked.append(1)
    )
    service._watch_kernel()
    service._parts.session.registered = True
    service._watch_kernel()
    assert asked == [1]


def test_a_runtime_folder_that_cannot_be_written_ends_nothing(tmp_path):
    """`status` then has nothing to show, which is a trouble and not the end of the evidence."""
    (tmp_path / "file").write_text("")
    service = Service(load_settings(runtime_directory=tmp_path / "file"), [])
    service._health.report_errors(service._parts)
    service._health.show_state(service._parts)
    assert "file" in service._health.errors["state"]


def test_who_is_ready_says_so_at_once(tmp_path, monkeypatch):
    """The state is there before READY=1: until then `doctor` would take us for a stranger."""
    said = []
    service = Service(load_settings(runtime_directory=tmp_path), [])
    monkeypatch.setattr("auditsvc.service.run.Signals", lambda _: None)
    monkeypatch.setattr(service._wiring, "prepare", lambda: None)
    monkeypatch.setattr(
        "auditsvc.service.run.systemd.notify",
        lambda word: said.append((word, read_state(tmp_path))),
    )
    monkeypatch.setattr(service, "_begin", lambda: None)
    monkeypatch.setattr(service, "_wait", lambda *_: ("duration", Actor()))
    service.run(0)
    (ready, state), *_ = said
    assert (ready, state.pid) == ("READY=1", os.getpid())
    assert read_state(tmp_path) is None


def test_a_rule_that_the_lock_keeps_out_is_said():
    """Under -e 2 the forwarder cannot be left out, and whoever runs it must hear of that."""
    service = Service(load_settings(), [])
    notes = []
    session = SimpleNamespace(set_rules=lambda _: notes.append("locked"), notes=notes)
    service._parts.session = session
    service._exclusions._forwarder = SimpleNamespace(watch=lambda: None, pid=7)
    service._exclusions._opened = True  # the store
    service._watch_helpers()
    assert notes == []


def test_where_audit_is_locked_the_loader_is_a_thread(tmp_path, monkeypatch):
    """No rule could exclude a process (-e 2): it would be fed with its own calls."""
    monkeypatch.setattr("auditsvc.service.wiring.is_locked", lambda: True)
    monkeypatch.setattr("auditsvc.service.wiring.fork_loader", pytest.fail)
    settings = load_settings(state_directory=tmp_path, store=f"sqlite:///{tmp_path}/store.db")
    service = Service(settings, [])
    service._wiring.prepare()
    loader = service._wiring.make_loader()
    assert isinstance(loader, Loader)
    assert service._wiring.process is None
    service._parts.sink.close()
