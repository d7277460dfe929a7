"""Fixtures that live in files of their own."""

from __future__ import annotations

pytest_plugins = ["fixtures.journal", "fixtures.postgres"]
