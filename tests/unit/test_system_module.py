"""`audit` is the distribution's module, whatever other modules have this name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from auditsvc.doctor.bindings import bindings
from auditsvc.doctor.finding import Level
from auditsvc.errors import KernelError
from auditsvc.host import system_module
from auditsvc.kernel import Control

pytest.importorskip("audit")

EVIL = "import os; os.write(1, b'RAN ')\n"
ASK = (
    "from auditsvc.host.system_module import audit_module, found_at, others\n"
    "print(found_at(), audit_module().audit_msg_type_to_name(1300), len(others()))\n"
)


def ask(folder, **environment):
    """Ask a process of its own which module it has; `folder` is where it runs."""
    return subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def evil(tmp_path):
    """Give a folder with modules of these names, and a package."""
    (tmp_path / "audit.py").write_text(EVIL)
    (tmp_path / "_audit.py").write_text(EVIL)
    return tmp_path


@pytest.mark.parametrize("how", ["the current directory", "PYTHONPATH", "a package", "both"])
def test_no_other_module_is_run(evil, how, tmp_path):
    """Neither it nor an extension that stands beside it; the distribution's is used, and told."""
    if how == "a package":
        (evil / "audit").mkdir()
        (evil / "audit.py").rename(evil / "audit/__init__.py")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {} if how in ("the current directory", "a package") else {"PYTHONPATH": str(evil)}
    done = ask(elsewhere if how == "PYTHONPATH" else evil, **environment)
    assert done.returncode == 0, done.stderr
    assert "RAN" not in done.stdout
    assert done.stdout.split()[1:] == ["SYSCALL", "1"]
    assert done.stdout.startswith("/usr/lib")


def test_one_that_pip_installed_is_not_run(tmp_path):
    """The environment's own packages and /usr/local are no distribution's."""
    site = Path(sys.prefix) / "lib/python3/site-packages"
    for folder in (str(site), "/usr/local/lib/python3/dist-packages", str(tmp_path), "/"):
        assert not system_module._is_systems(folder, set())
    assert system_module._is_systems("/usr/lib/python3/dist-packages", set())
    assert not system_module._is_systems("/usr/lib/x", {"/usr/lib/x"})


def test_a_module_that_others_may_change_is_refused(evil, monkeypatch):
    """Found where the distribution's would be, but not root's alone."""
    (evil / "_audit.py").chmod(0o666)
    program = (
        "from auditsvc.host import system_module\n"
        f"system_module.system_folders = lambda: [{str(evil)!r}]\n"
        "try: system_module.audit_module()\n"
        "except system_module.KernelError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd="/", capture_output=True, text=True, check=True
    )
    assert "others may write it" in done.stdout
    assert "RAN" not in done.stdout
    assert monkeypatch


USES = re.compile(r"\baudit\.(audit_\w+)")


def test_only_what_libaudit_4_has_is_used():
    """Every function of the module that a source file names is among those that are checked."""
    package = Path(system_module.__file__).parents[1]
    used = {name for file in package.rglob("*.py") for name in USES.findall(file.read_text())}
    assert used == set(system_module.FUNCTIONS)
    assert used <= {"audit_elf_to_machine", "audit_msg_type_to_name", "audit_syscall_to_name"}


@pytest.mark.parametrize("missing", system_module.FUNCTIONS)
def test_a_module_without_a_function_is_refused_in_one_line(tmp_path, monkeypatch, missing):
    """Wherever the kernel is needed, each time, and by the doctor; names come from our tables."""
    (tmp_path / "_audit.py").write_text("")
    others = [name for name in system_module.FUNCTIONS if name != missing]
    (tmp_path / "audit.py").write_text("".join(f"def {name}(*_): pass\n" for name in others))
    monkeypatch.setattr(system_module, "_loaded", {})
    monkeypatch.setattr(system_module, "system_folders", lambda: [str(tmp_path)])
    for _ in range(2):
        with pytest.raises(KernelError, match=f"has no {missing}") as refused:
            Control()
        assert "\n" not in str(refused.value)
        assert "python3-audit" in refused.value.hint
    found = bindings()
    assert found.level is Level.ERROR
    assert missing in found.found


def test_the_doctor_tells(monkeypatch, evil):
    """What is used, what stands before it, and that none is there."""
    assert bindings().level is Level.OK
    monkeypatch.syspath_prepend(evil)
    found = bindings()
    assert (found.level, str(evil) in found.found) == (Level.WARNING, True)
    monkeypatch.setattr(system_module, "_loaded", {})
    monkeypatch.setattr(system_module, "system_folders", list)
    assert bindings().level is Level.ERROR
