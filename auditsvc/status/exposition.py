"""The figures as text for Prometheus: for a scrape, a textfile, or standard output.

    settings -> bytes

Imports prometheus_client, which a run without metrics does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from auditsvc.host.terminal import encodable
from auditsvc.status.metrics import METRICS, gather

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from auditsvc.config import Settings
    from auditsvc.status.metrics import Facts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FAMILIES = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}


class _Facts(Collector):
    """The facts of one moment, as prometheus_client asks for them."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        for metric in METRICS:
            family = _FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels)
            for labels, value in metric.samples(self._facts):
                family.add_metric([encodable(label) for label in labels], value)
            if family.samples:
                yield family


def exposition(settings: Settings) -> bytes:
    """Gather the figures and write them in the text format."""
    return written(gather(settings))


def written(facts: Facts) -> bytes:
    """Write facts in the text format."""
    registry = CollectorRegistry()
    registry.register(_Facts(facts))
    return generate_latest(registry)
