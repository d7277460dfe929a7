"""Bare roots of the distributions, made once and copied by the tests that change them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]
ROOTS = HERE / "build/roots"


@pytest.fixture(scope="module")
def suite(request):
    """Give the name of the distribution's release."""
    return request.param


@pytest.fixture(scope="module")
def bare_root(suite):
    """Make a bare root of the release, if there is none; gives its folder."""
    made = subprocess.run(
        [HERE / "tools/make-root", suite, ROOTS.relative_to(HERE) / suite],
        cwd=HERE,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if made.returncode == 3:
        pytest.skip(made.stderr.strip())
    assert made.returncode == 0, made.stderr
    return ROOTS / suite


_told = pytest.StashKey[list[str]]()


@pytest.fixture
def tell(pytestconfig):
    """Give what has a line shown under the tests' results."""
    return pytestconfig.stash.setdefault(_told, []).append


def pytest_terminal_summary(terminalreporter, config):
    """Show what tests have told."""
    for line in config.stash.get(_told, []):
        terminalreporter.write_line(line)
