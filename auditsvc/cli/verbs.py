"""Adds verbs to a command line: each is a module, and only the one that is named is imported."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from auditsvc.cli.options import Command

if TYPE_CHECKING:
    from collections.abc import Mapping

    import typer


def add_verbs(app: typer.Typer, package: str, verbs: Mapping[str, str], named: str | None) -> None:
    """Add the named verb; all of them if none is named, or another.

    `verbs`: what each does, in the order of the help. The module of each in `package`, and the
    function in it, have its name, with _ for -; `list`, which is Python's, is `listing`.
    """
    for verb, does in verbs.items():
        if verb == named or named not in verbs:
            name = "listing" if verb == "list" else verb.replace("-", "_")
            module = import_module(f"{package}.{name}")
            command = getattr(module, "COMMAND", Command)
            app.command(verb, cls=command, short_help=does)(getattr(module, name))
