"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

StoreOption = Annotated[
    str | None,
    typer.Option("--store", help="Where the rows are, as an SQLAlchemy URL.", metavar="URL"),
]
