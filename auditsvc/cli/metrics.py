"""`auditsvc metrics`: the figures for Prometheus, as text."""

from __future__ import annotations

import sys

from auditsvc.cli.options import StoreOption
from auditsvc.config import load_settings
from auditsvc.status.exposition import exposition


def metrics(store: StoreOption = None) -> None:
    """Write the figures for Prometheus, gathered now, in its text format.

    A running service offers the same with the settings [metrics].
    """
    sys.stdout.write(exposition(load_settings(store=store)).decode())
