"""The units of `auditsvc web`: no privileges, hardened, and the socket that systemd passes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

from fixtures.commands import AUDITSVC
from fixtures.systemd_analyze import assert_low_exposure, assert_nothing_wrong, needs_systemd

from auditsvc.host.priority import NICE, give_way

PACKAGING = Path(__file__).parents[2] / "packaging"
UNITS = [PACKAGING / f"auditsvc-web.{kind}" for kind in ("service", "socket")]


def said(unit):
    """Give what a unit says, by section."""
    found = RawConfigParser(strict=False, delimiters="=", comment_prefixes="#")
    found.optionxform = str
    found.read(unit)
    return found


def test_it_has_no_privilege_and_a_user_of_its_own():
    """Nothing is left to drop; who may open the pages is a group."""
    service, of_socket = (said(unit) for unit in UNITS)
    assert service.get("Service", "CapabilityBoundingSet") == ""
    assert service.get("Service", "AmbientCapabilities") == ""
    assert service.get("Service", "NoNewPrivileges") == "yes"
    assert service.get("Service", "User") == "auditsvc-web"
    assert of_socket.get("Socket", "SocketMode") == "0660"
    group = of_socket.get("Socket", "SocketGroup")
    assert service.get("Service", "Group") == group
    users = (PACKAGING / "debian/auditsvc.sysusers").read_text()
    assert f"g {group} -\n" in users
    assert f"u auditsvc-web -:{group} " in users
    assert of_socket.get("Socket", "ListenStream").startswith("/run/")


def test_it_gives_way_by_the_unit():
    """As by hand: its filter of system calls refuses setpriority(2), so nothing is left to do."""
    service = said(UNITS[0])
    assert int(service.get("Service", "Nice")) >= NICE
    assert "@resources" in service.get("Service", "SystemCallFilter")


def test_another_nice_of_the_unit_is_no_error(monkeypatch):
    """Somebody may have set it lower there."""
    monkeypatch.setattr(os, "getpriority", lambda *_: 0)
    refused = []

    def refuse(*what):
        refused.append(what)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    give_way()
    assert len(refused) == 1


@needs_systemd
def test_its_exposure_is_low():
    """2.0 or below, by systemd's own weights."""
    assert_low_exposure(UNITS[0])


@needs_systemd
def test_systemd_finds_nothing_wrong(tmp_path):
    """No unknown option, no value that is none."""
    for unit in UNITS:
        text = unit.read_text().replace("/opt/auditsvc/bin/auditsvc", sys.executable)
        (tmp_path / unit.name).write_text(
            re.sub("^(User|Group|SocketGroup)=.*", "", text, flags=re.MULTILINE)
        )
    assert_nothing_wrong(*(tmp_path / unit.name for unit in UNITS))


def test_the_package_has_them():
    """Both units, not enabled, and their settings."""
    rules = (PACKAGING / "debian/rules").read_text()
    assert "dh_installsystemd --name=auditsvc-web --no-enable --no-start" in rules
    assert "packaging/web.toml $(PACKAGE)/etc/auditsvc/web.toml" in rules
    make = (PACKAGING.parent / "tools/make-deb").read_text()
    assert "auditsvc.auditsvc-web.$each" in make
    assert said(UNITS[0]).get("Service", "Environment") == "AUDITSVC_CONFIG=/etc/auditsvc/web.toml"


def test_the_socket_of_systemd_is_answered(made, tmp_path):
    """The link names it; it is still there when the process has ended."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        code = (
            f"import os, sys; os.dup2({listening.fileno()}, 3);"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()));"
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        asked = [AUDITSVC, "web", "--store", f"sqlite:///{made}", "--listen", "systemd"]
        command = [sys.executable, "-P", "-c", code, *asked]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, pass_fds=[listening.fileno()]
        ) as process:
            try:
                link = process.stdout.readline()
                assert f"(by {path})" in link
                address = link.split()[0].removeprefix("http://localhost")
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(path))
                    head = f"GET {address} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                    client.sendall(head.encode())
                    assert b"303 See Other" in client.recv(65536)
            finally:
                process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    assert path.exists()


def test_without_a_socket_it_says_what_passes_one(tmp_path):
    """One line."""
    done = subprocess.run(
        [AUDITSVC, "web", "--store", f"sqlite:///{tmp_path}/x.db", "--listen", "systemd"],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("LISTEN_")},
    )
    assert done.returncode == 2
    assert "systemctl start auditsvc-web.socket" in done.stderr
