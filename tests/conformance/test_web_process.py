"""`auditsvc web` as a package and a process: its files, its imports, where it listens."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fixtures.commands import AUDITSVC
from fixtures.waiting import until

from auditsvc.errors import UsageError
from auditsvc.host.priority import NICE
from auditsvc.web.render import STATIC, asset
from auditsvc.web.serve import listen

ROOT = Path(__file__).parents[2]


def test_kept_files_are_those_that_the_page_names():
    """Of htmx and uPlot: the hash of each file, in docs/web.md beside its licence."""
    page = (ROOT / "docs/web.md").read_text()
    for name in STATIC:
        if not name.startswith("web."):
            assert hashlib.sha256(asset(name)).hexdigest() in page, name


def test_the_service_imports_none_of_it():
    """Neither `auditsvc run` nor any other verb needs what `web` needs."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('starlette', 'jinja2', 'uvicorn')));"
        "import auditsvc.service.run, auditsvc.cli; auditsvc.cli.all_commands();"
        "assert not [name for name in sys.modules if name.startswith('auditsvc.web')]"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_without_the_extra_it_says_what_to_install(tmp_path):
    """One line."""
    for name in ("starlette", "jinja2", "uvicorn"):
        (tmp_path / f"{name}.py").write_text("raise ModuleNotFoundError(name=__name__)\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [AUDITSVC, "web"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'auditsvc[web]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("place", ["0.0.0.0:80", "8181", "127.0.0.1:99999", "[::]:80", "evil:1"])
def test_it_listens_to_this_host_alone(place):
    """Any other place is refused, with how to come from elsewhere."""
    with pytest.raises(UsageError, match="ssh -L"):
        listen(place)


def test_a_place_that_cannot_be_had_is_said(tmp_path):
    """A folder that is missing, a file that is there, a path that no socket can have."""
    (tmp_path / "file").touch()
    for name, why in (("no/folder", "No such file"), ("file", "in use"), ("x" * 200, "too long")):
        with pytest.raises(UsageError, match=why):
            listen(f"unix:{tmp_path}/{name}")


@pytest.mark.parametrize("place", ["127.0.0.1:0", "unix"])
def test_the_command(made, tmp_path, place):
    """It prints a link, answers it, gives way, and ends with status 0 on a signal."""
    path = tmp_path / "web.sock"
    where = f"unix:{path}" if place == "unix" else place
    command = [AUDITSVC, "web", "--store", f"sqlite:///{made}", "--listen", where]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            address = urlsplit(process.stdout.readline().split()[0])
            assert b"303 See Other" in ask(address, path if place == "unix" else None)
            second = process.stdout.readline()
            assert "token=" in second
            assert address.query not in second
            tasks = Path(f"/proc/{process.pid}/task").iterdir()
            assert all(os.getpriority(os.PRIO_PROCESS, int(each.name)) >= NICE for each in tasks)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not path.exists()


def ask(address, path):
    """Ask for an address, by its port or by a socket; give the answer."""
    family = socket.AF_UNIX if path else socket.AF_INET
    with socket.socket(family) as connection:
        until(lambda: connected(connection, str(path) if path else ("127.0.0.1", address.port)))
        head = (
            f"GET /?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(head.encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def connected(connection, place):
    """Whether it is connected now."""
    return connection.connect_ex(place) == 0


def test_a_dead_socket_is_replaced_and_a_living_one_is_not(tmp_path):
    """For its owner alone."""
    path = tmp_path / "web.sock"
    first, _ = listen(f"unix:{path}")
    assert path.stat().st_mode & 0o777 == 0o600
    first.listen()
    with pytest.raises(UsageError, match="another program"):
        listen(f"unix:{path}")
    first.close()
    listen(f"unix:{path}")[0].close()
