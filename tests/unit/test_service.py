"""What the service does when the kernel, or its own folders, leave it."""

from __future__ import annotations

from types import SimpleNamespace

from auditsvc.config import load_settings
from auditsvc.service import Service


def test_a_place_that_the_kernel_took_is_asked_for_again():
    """Once the kernel has given the daemon up (auditd_reset), every look asks for the place."""
    asked = []
    service = Service(load_settings(), [])
    service._session = SimpleNamespace(
        new_lost=lambda: 0, registered=False, register_again=lambda: asked.append(1)
    )
    service._watch_kernel()
    service._session.registered = True
    service._watch_kernel()
    assert asked == [1]


def test_a_runtime_folder_that_cannot_be_written_ends_nothing(tmp_path):
    """`status` then has nothing to show, which is a trouble and not the end of the evidence."""
    (tmp_path / "file").write_text("")
    service = Service(load_settings(runtime_directory=tmp_path / "file"), [])
    service._log_troubles()
    service._show_state()
    assert "file" in service._trouble["state"]
