"""The packages of an installation: those that the service needs, pinned, and no others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PINS = ROOT / "packaging/constraints-runtime.txt"
TOOLS = {
    "pytest",
    "playwright",
    "ruff",
    "mypy",
    "hypothesis",
    "import-linter",
    "setuptools",
    "wheel",
    "pip",
}

# Every module of ours but those of the extras, and the distributions of what they brought.
IMPORTED = """
import sys
before = set(sys.modules)  # what a machine's own .pth files bring
import importlib, importlib.metadata, json, pkgutil
import auditsvc
for module in pkgutil.walk_packages(auditsvc.__path__, "auditsvc."):
    left = ("auditsvc.migrations", "auditsvc.__main__", "auditsvc.arrow.", "auditsvc.web",
            "auditsvc.archive.", "auditsvc.fleet.")
    if not module.name.startswith(left):
        importlib.import_module(module.name)
from alembic import command, config
import psycopg
owners = importlib.metadata.packages_distributions()
tops = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted({each.lower() for top in tops for each in owners.get(top, [])})))
"""


def pinned(path):
    """Give the names that a file pins."""
    return set(re.findall(r"(?m)^([a-z0-9._-]+)==", path.read_text().lower()))


def test_the_pins_are_what_their_generator_writes():
    """They cannot drift from constraints.txt or from the dependencies."""
    with (ROOT / "constraints.txt").open() as pins:
        done = subprocess.run(
            [sys.executable, ROOT / "tools/runtime-pins"],
            stdin=pins,
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == PINS.read_text()


def test_every_pin_has_its_hashes_and_is_no_tool():
    """What builds or tests is not among it; each version is that of constraints.txt."""
    text = PINS.read_text()
    assert not pinned(PINS) & TOOLS
    every = (ROOT / "constraints.txt").read_text()
    for name, pin in re.findall(r"(?m)^(([A-Za-z0-9._-]+)==\S+ )", text):
        assert f"\n{name}" in f"\n{every}", pin
    assert text.count("==") <= text.count("--hash=sha256:")


def test_what_the_service_imports_is_pinned(tmp_path):
    """No module of ours needs a distribution that is not among the pins."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", IMPORTED],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    imported = {re.sub(r"[-_.]+", "-", name) for name in json.loads(done.stdout)}
    # sqlglot uses mypy-extensions and SQLAlchemy greenlet, which linters and tests bring here, only
    # where they are there.
    only_here = {"mypy-extensions", "greenlet"}
    assert imported - pinned(PINS) <= {"auditsvc", "setuptools"} | only_here
