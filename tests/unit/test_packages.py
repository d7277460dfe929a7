"""What is installed is what is in the tree."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not (ROOT / "auditsvc").is_dir(), reason="only in a checkout")
def test_every_package_is_installed():
    """A folder with modules that pyproject.toml does not name would be missing in the wheel."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = set(settings["tool"]["setuptools"]["packages"])
    found = {file.parent for file in (ROOT / "auditsvc").rglob("*.py")}
    assert {".".join(each.relative_to(ROOT).parts) for each in found} <= named
