"""docs/metrics.md, from the table of figures; its caller hands that over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

_HEAD: Final = """\
# Metrics

Made by `make pages` from the program's own table; do not edit.

`auditsvc metrics` writes figures in Prometheus's text format. With the settings `[metrics]` in
[configuration.md](configuration.md) a running service offers the same: by HTTP on a unix socket or
a port of the loopback (`/metrics`), or as a file for node_exporter's textfile collector. They are
gathered every `metrics.every` seconds; to ask more often costs nothing. The unit needs
[packaging/metrics.conf](../packaging/metrics.conf) for a port or a textfile, not for a socket
in /run/auditsvc, which only root can use. A socket in a folder with the setgid bit is for the
folder's group too: the Debian package makes /run/auditsvc-metrics and the group
`auditsvc-metrics`.

[packaging/grafana](../packaging/grafana) has two dashboards, one for these figures
(`auditsvc.json`), one that asks a PostgreSQL store (`auditsvc-events.json`), and alert rules for
Prometheus (`alerts.yml`).

| Name | Type | Labels | Meaning |
| --- | --- | --- | --- |
"""


class Figure(Protocol):
    """What the page shows of a figure."""

    @property
    def full_name(self) -> str:
        """Its name in a query."""

    @property
    def kind(self) -> str:
        """Gauge or counter."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of its labels."""

    @property
    def help(self) -> str:
        """Its meaning."""


def metrics_page(figures: Iterable[Figure]) -> str:
    """Write the page."""
    rows = (
        f"| `{each.full_name}` | {each.kind} | {', '.join(each.labels)} | {each.help} |\n"
        for each in figures
    )
    return _HEAD + "".join(rows)
