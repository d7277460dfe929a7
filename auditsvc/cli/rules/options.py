"""What the verbs on rule files share."""

from __future__ import annotations

from typing import Annotated

import typer

PathsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="Rule files, folders of them, or shipped sets by name. Default: the rules in use.",
        metavar="PATH",
        show_default=False,
    ),
]
ExclusiveOption = Annotated[
    bool, typer.Option("--exclusive", help="Rules that others loaded count as unwanted.")
]
