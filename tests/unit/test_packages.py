"""What is installed is what is in the tree."""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
pytestmark = pytest.mark.skipif(not (ROOT / "auditsvc").is_dir(), reason="only in a checkout")


def test_every_package_is_installed():
    """A folder with modules that pyproject.toml does not name would be missing in the wheel."""
    named = set(SETTINGS["packages"])
    found = {file.parent for file in (ROOT / "auditsvc").rglob("*.py")}
    assert {".".join(each.relative_to(ROOT).parts) for each in found} <= named


def _modules():
    """Give the modules that say what they give to others."""
    files = [f for f in (ROOT / "auditsvc").rglob("*.py") if "__all__" in f.read_text()]
    names = (".".join(each.relative_to(ROOT).with_suffix("").parts) for each in files)
    return sorted(name.removesuffix(".__init__") for name in names)


def test_all_that_is_named_is_there():
    """What a package gives to others, in its `__all__`, can be had from it."""
    modules = _modules()
    assert "auditsvc.store" in modules
    missing = [
        f"{module}.{name}"
        for module in modules
        for name in import_module(module).__all__
        if not hasattr(import_module(module), name)
    ]
    assert missing == []


def test_every_other_file_is_installed():
    """Templates, scripts, styles and rules: each is package data, and no pattern is of nothing."""
    folders = SETTINGS["package-dir"]
    patterns = SETTINGS["package-data"]
    chosen = {
        (package, pattern): set(folder_of(package, folders).glob(pattern))
        for package in patterns
        for pattern in patterns[package]
    }
    assert [each for each, files in chosen.items() if not files] == []
    there = {
        file
        for folder in folders.values()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and file.suffix not in {".py", ".pyc", ".so"}
    }
    assert len(there) > 20
    assert there - set().union(*chosen.values()) == set()


def folder_of(package, folders):
    """Give where a package stands in the tree: its own entry, or within its parent."""
    if package in folders:
        return ROOT / folders[package]
    parent, _, name = package.rpartition(".")
    return folder_of(parent, folders) / name
