"""Options that the verbs for rules share."""

from __future__ import annotations

from typing import Annotated

import typer

PathsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="Rule files, folders, or names of shipped sets. Default: the rules in use.",
        metavar="PATH",
        show_default=False,
    ),
]
ExclusiveOption = Annotated[
    bool, typer.Option("--exclusive", help="Treat rules that others loaded as unwanted.")
]
