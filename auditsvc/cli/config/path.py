"""`auditsvc config path`: which file is read."""

from __future__ import annotations

import typer

from auditsvc.config import settings_file
from auditsvc.host.terminal import visible


def path() -> None:
    """Show which file of settings is read; it need not exist.

    The file that `auditsvc --config FILE` or AUDITSVC_CONFIG names, else
    /etc/auditsvc/auditsvc.toml.
    """
    typer.echo(visible(str(settings_file())))
