"""The package without its native core: it builds where no cargo is, and says what it runs on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from auditsvc import native
from auditsvc.decode import decoder_in_use
from auditsvc.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def bare_package(tmp_path_factory):
    """A folder with the package as it is built where PATH has no cargo."""
    folder = tmp_path_factory.mktemp("bare")
    tools = folder / "bin"
    tools.mkdir()
    for name in ("sh", "env"):
        (tools / name).symlink_to(shutil.which(name))
    source = folder / "source"
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "target", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=unwanted)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps"]
    environment = os.environ | {"PATH": str(tools), "HOME": str(folder)}
    environment.pop("CARGO", None)
    environment.pop("RUSTC", None)
    subprocess.run(
        [*pip, "--no-index", "-w", folder, source], env=environment, check=True, timeout=120
    )
    (wheel,) = folder.glob("auditsvc-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "package")
    return folder / "package"


def run(package, code, **environment):
    """Run Python code on the bare package; gives the finished process."""
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=os.environ | {"PYTHONPATH": str(package)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=package,
    )


MAIN = "import sys; sys.argv = ['auditsvc', '--version']; from auditsvc.cli import main; main()"


def test_it_runs_on_the_reference(bare_package):
    """No native module is in the wheel, and --version names the reference."""
    assert not list(bare_package.glob("auditsvc/_native*.so"))
    done = run(bare_package, MAIN)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("(decoder: reference)\n")


def test_native_that_is_not_there_is_one_clear_line(bare_package):
    """With decoder=native a missing core is an error."""
    done = run(bare_package, MAIN, AUDITSVC_DECODER="native")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "cargo" in done.stderr
    assert "AUDITSVC_DECODER=reference" in done.stderr


def test_that_it_is_not_there_is_said(bare_package, tmp_path):
    """`run` and `doctor` warn, and `make wheel` by tools/has-native; a chosen reference is fine."""
    settings = {
        "AUDITSVC_STORE": f"sqlite:///{tmp_path}/store.db",
        "AUDITSVC_STATE_DIRECTORY": str(tmp_path / "state"),
        "AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path / "run"),
    }
    start = MAIN.replace("'--version'", "'run', '--source', 'stdin', '--duration', '0'")
    assert "no native core" in run(bare_package, start, **settings).stderr
    chosen = settings | {"AUDITSVC_DECODER": "reference"}
    assert "no native core" not in run(bare_package, start, **chosen).stderr
    examine = MAIN.replace("'--version'", "'doctor', '--format', 'json'")
    for environment, level in ((settings, "warning"), (chosen, "note")):
        found = json.loads(run(bare_package, examine, **environment).stdout)["findings"]
        assert [each["level"] for each in found if each["name"] == "decoder"] == [level]
    (wheel,) = bare_package.parent.glob("auditsvc-*.whl")
    tool = [ROOT / "tools/has-native", wheel]
    done = subprocess.run(tool, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "warning: " in done.stderr
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("auditsvc/_native.abi3.so", b"")
    assert subprocess.run(tool, check=False).returncode == 0


@pytest.mark.parametrize("name", ["reference", "native"])
def test_the_variable_chooses(name):
    """Where both are there, AUDITSVC_DECODER takes one."""
    if name == "native" and native.native_core() is None:
        pytest.skip("the native core was not built")
    code = "from auditsvc.cli import main; import sys; sys.argv = ['auditsvc', '--version']; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=os.environ | {"AUDITSVC_DECODER": name},
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert done.stdout.endswith(f"(decoder: {name})\n")


def test_a_broken_core_is_never_passed_over(monkeypatch):
    """A core that is there but does not load is an error, not a slow service."""

    def broken(name):
        raise ImportError(f"{name}: undefined symbol")

    monkeypatch.setattr(native.importlib, "import_module", broken)
    for choice in ("auto", "native"):
        with pytest.raises(ConfigError, match="undefined symbol"):
            native.native_core(choice)
    assert native.native_core("reference") is None


def test_auto_takes_the_best():
    """`auto` takes the native core where it is there."""
    core = native.native_core()
    assert decoder_in_use("auto") == ("reference" if core is None else "native")


def test_a_broken_core_is_one_clear_line(bare_package):
    """A native module that is no library is named in one line, without a traceback."""
    broken = bare_package / "auditsvc" / "_native.abi3.so"
    broken.write_bytes(b"not a library")
    try:
        done = run(bare_package, MAIN)
        chosen = run(bare_package, MAIN, AUDITSVC_DECODER="reference")
    finally:
        broken.unlink()
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "AUDITSVC_DECODER=reference" in done.stderr
    assert chosen.stdout.endswith("(decoder: reference)\n")
