"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

from auditsvc.render.output import Form

StoreOption = Annotated[
    str | None,
    typer.Option("--store", help="Where the rows are, as an SQLAlchemy URL.", metavar="URL"),
]


FormOption = Annotated[
    Form | None,
    typer.Option("--format", help="Default: table on a terminal, else json.", show_default=False),
]
