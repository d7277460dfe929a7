"""The version of this program and the decoder in use, for `auditsvc --version` and `search -v`."""

from __future__ import annotations

from typing import Annotated

import typer

from auditsvc import __version__
from auditsvc.config import load_settings
from auditsvc.decode import decoder_in_use


def show_version(wanted: bool) -> None:
    """Show it and end, if it is wanted."""
    if wanted:
        decoder = decoder_in_use(load_settings().decoder_name)
        typer.echo(f"auditsvc {__version__} (decoder: {decoder})")
        raise typer.Exit


_HELP = "Show the version and decoder."
VersionOption = Annotated[
    bool, typer.Option("--version", callback=show_version, is_eager=True, help=_HELP)
]
ShortVersionOption = Annotated[
    bool, typer.Option("-v", "--version", callback=show_version, is_eager=True, help=_HELP)
]
"""With the letter that ausearch has for it."""
