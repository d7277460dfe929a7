"""The figures for Prometheus: each with its name, type, meaning and source, in one table.

    gather(settings) -> facts -> METRICS -> samples

Names follow Prometheus's conventions (prometheus.io/docs/practices/naming). Labels are causes,
states, parts and kinds of sources: never a key, a program or a user, of which there can be any
number. A part that cannot be read has `auditsvc_part_up` 0 and no figures. Gathering costs some
short queries, whatever number of records there are.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from auditsvc import __version__
from auditsvc.config import Cause
from auditsvc.decode import decoder_in_use
from auditsvc.errors import AuditsvcError
from auditsvc.evidence.folder import Folder
from auditsvc.runtime.active_alerts import active_alerts
from auditsvc.spool.segments import sizes
from auditsvc.status.health import judge
from auditsvc.status.report import make_report
from auditsvc.store.read.questions import (
    asked_together,
    last_verified,
    ledger_counts,
    newest_second,
    partial_counts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from auditsvc.config import Settings

Facts = dict[str, dict[str, Any]]
Sample = tuple[tuple[str, ...], float]
"""The values of the labels, and the figure."""
_DAY: Final = 86400
_SERVICE, _KERNEL, _FORWARD = "service", "kernel", "forwarder"
_NOW: Final = ("open", "gap")
"""Causes of the ledger that can become less: a late record fills a gap."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure."""

    name: str
    """Without the suffix `_total` of a counter."""
    kind: Literal["gauge", "counter"]
    help: str
    samples: Callable[[Facts], Iterator[Sample]]
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """The name as it is asked for."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def gather(settings: Settings) -> Facts:
    """Gather all facts; a part that cannot be read has `refused` with the reason."""
    began = time.time()
    with asked_together(settings.store):
        facts: Facts = dict(make_report(settings))
        health = judge(facts)
        facts["health"] = {"well": health.status == 0, "problems": len(health.problems)}
        facts["events"] = _events(settings, facts["service"])
    facts["spool"] = _spool(settings)
    facts["alerts"] = _alerts(settings)
    facts["program"] = {
        "version": __version__,
        "decoder": decoder_in_use(settings.decoder_name),
        "source": settings.source if settings.source in _SOURCES else "file",
        "host": settings.host,
    }
    facts["gathered"] = {"at": began, "seconds": time.time() - began}
    return facts


_SOURCES: Final = ("netlink", "multicast", "stdin", "journal")


def _spool(settings: Settings) -> dict[str, Any]:
    try:
        found: dict[str, Any] = {"bytes": sum(sizes(settings.spool_directory).values())}
        head = Folder(settings.spool_directory).last()
    except (AuditsvcError, OSError) as error:
        return {"refused": str(error)}
    return found if head is None else found | {"signed": head.time}


def _alerts(settings: Settings) -> dict[str, Any]:
    try:
        active = active_alerts(settings.runtime_directory)
    except OSError as error:
        return {"refused": str(error)}
    return {"active": {cause.value: cause in active for cause in Cause}}


def _events(settings: Settings, service: dict[str, Any]) -> dict[str, Any]:
    try:
        newest = newest_second(settings.store)
        found: dict[str, Any] = {
            "ledger": ledger_counts(settings.store),
            "partials": partial_counts(settings.store),
            "newest": newest,
        }
        verified = last_verified(settings.store)
        if verified.at is not None:
            found |= {"verified_at": verified.at, "proved": verified.proved}
    except AuditsvcError as error:
        return {"refused": str(error)}
    if "spool_waiting" in service:
        waits = bool(service["spool_waiting"]) and newest is not None
        found["lag"] = max(0.0, time.time() - newest) if waits and newest is not None else 0.0
    return found


# --- where a figure is found ------------------------------------------------------------


def _of(part: str, name: str, factor: float = 1) -> Callable[[Facts], Iterator[Sample]]:
    """Give one sample: the fact of that name, if it is known."""

    def samples(facts: Facts) -> Iterator[Sample]:
        value = facts[part].get(name)
        if value is not None:
            yield (), float(value) * factor

    return samples


def _counts(part: str, name: str) -> Callable[[Facts], Iterator[Sample]]:
    """Give a sample for each entry of a mapping."""

    def samples(facts: Facts) -> Iterator[Sample]:
        for label, value in sorted((facts[part].get(name) or {}).items()):
            if label != "at":
                yield (label,), float(value)

    return samples


def _ledger(unit: str) -> Callable[[Facts], Iterator[Sample]]:
    def samples(facts: Facts) -> Iterator[Sample]:
        for kind, cause, of, count in sorted(facts["events"].get("ledger", ())):
            if of == unit and cause not in _NOW:
                yield (cause, kind), float(count)

    return samples


def _now(wanted: str) -> Callable[[Facts], Iterator[Sample]]:
    def samples(facts: Facts) -> Iterator[Sample]:
        for kind, cause, _, count in sorted(facts["events"].get("ledger", ())):
            if cause == wanted:
                yield (kind,), float(count)

    return samples


def _info(facts: Facts) -> Iterator[Sample]:
    yield tuple(str(facts["program"][name]) for name in _INFO), 1.0


def _parts(facts: Facts) -> Iterator[Sample]:
    for part, values in facts.items():
        if part in _PARTS:
            yield (part,), float("refused" not in values)


def _share(facts: Facts) -> Iterator[Sample]:
    tasks = facts[_SERVICE].get("coverage") or {}
    total = sum(tasks.get(state, 0) for state in ("covered", "not_covered", "unknown"))
    if total:
        yield (), tasks["covered"] / total


_INFO: Final = ("version", "decoder", "source", "host")
_PARTS: Final = (_KERNEL, _SERVICE, _FORWARD, "store", "retention", "spool", "events")

METRICS: Final = (
    Metric("auditsvc_info", "gauge", "Version, decoder, source and host; always 1.", _info, _INFO),
    Metric(
        "auditsvc_running",
        "gauge",
        "Whether the service runs (1) or not (0).",
        _of(_SERVICE, "running"),
    ),
    Metric(
        "auditsvc_healthy",
        "gauge",
        "Whether `auditsvc status` finds no problem.",
        _of("health", "well"),
    ),
    Metric(
        "auditsvc_problems",
        "gauge",
        "Problems that `auditsvc status` names.",
        _of("health", "problems"),
    ),
    Metric(
        "auditsvc_part_up",
        "gauge",
        "Whether the facts of a part can be read.",
        _parts,
        ("part",),
    ),
    Metric(
        "auditsvc_start_time_seconds",
        "gauge",
        "When the service started, in seconds since 1970.",
        _of(_SERVICE, "began"),
    ),
    Metric(
        "auditsvc_gathered_timestamp_seconds",
        "gauge",
        "When these figures were gathered, in seconds since 1970.",
        _of("gathered", "at"),
    ),
    Metric(
        "auditsvc_gathering_seconds",
        "gauge",
        "How long gathering these figures took.",
        _of("gathered", "seconds"),
    ),
    # The kernel.
    Metric(
        "auditsvc_kernel_enabled",
        "gauge",
        "The kernel's audit switch: 0 off, 1 on, 2 locked.",
        _of(_KERNEL, "enabled"),
    ),
    Metric(
        "auditsvc_kernel_lost_records",
        "counter",
        "Records that the kernel lost since boot or the last reset of its counter.",
        _of(_KERNEL, "lost"),
    ),
    Metric(
        "auditsvc_kernel_backlog_records",
        "gauge",
        "Records in the kernel's queue.",
        _of(_KERNEL, "backlog"),
    ),
    Metric(
        "auditsvc_kernel_backlog_limit_records",
        "gauge",
        "At this length of the queue audited tasks wait, then records are lost.",
        _of(_KERNEL, "backlog_limit"),
    ),
    Metric("auditsvc_kernel_rules", "gauge", "Rules in the kernel.", _of(_KERNEL, "rules")),
    # The service since its start.
    Metric(
        "auditsvc_collected_records",
        "counter",
        "Records written to the spool since the service started.",
        _of(_SERVICE, "records"),
    ),
    Metric(
        "auditsvc_run_kernel_lost_records",
        "counter",
        "Records that the kernel lost since the service started.",
        _of(_SERVICE, "kernel_lost"),
    ),
    Metric(
        "auditsvc_spool_dropped_records",
        "counter",
        "Records not written, to keep the spool's reserve, since the service started.",
        _of(_SERVICE, "dropped"),
    ),
    Metric(
        "auditsvc_spool_unwritten_records",
        "gauge",
        "Records that the spool could not take and that no record in the log reports yet.",
        _of(_SERVICE, "missing"),
    ),
    Metric(
        "auditsvc_tamper_findings",
        "counter",
        "Changes by others that the guard found since the service started.",
        _of(_SERVICE, "tamper"),
    ),
    Metric(
        "auditsvc_spool_waiting_bytes",
        "gauge",
        "Bytes of log that are not in the store yet.",
        _of(_SERVICE, "spool_waiting"),
    ),
    Metric("auditsvc_spool_bytes", "gauge", "Bytes of the spool.", _of("spool", "bytes")),
    Metric(
        "auditsvc_lag_seconds",
        "gauge",
        "Age of the newest stored event while log waits to be stored; 0 if none waits.",
        _of("events", "lag"),
    ),
    # The store.
    *(
        Metric(
            f"auditsvc_ledger_{unit}",
            "counter",
            f"The ledger's counts in {unit}, by cause and kind of source.",
            _ledger(unit),
            ("cause", "source"),
        )
        for unit in ("records", "lines", "files", "events")
    ),
    Metric(
        "auditsvc_open_records",
        "gauge",
        "Records of events that have not ended, by kind of source.",
        _now("open"),
        ("source",),
    ),
    Metric(
        "auditsvc_missing_serials",
        "gauge",
        "Serials that were not seen, by kind of source; a late record makes them fewer.",
        _now("gap"),
        ("source",),
    ),
    Metric(
        "auditsvc_partial_events",
        "gauge",
        "Stored events that did not end properly, by reason.",
        _counts("events", "partials"),
        ("reason",),
    ),
    Metric(
        "auditsvc_newest_event_timestamp_seconds",
        "gauge",
        "Time of the newest stored event, in seconds since 1970.",
        _of("events", "newest"),
    ),
    Metric("auditsvc_store_bytes", "gauge", "Bytes of rows.", _of("retention", "bytes")),
    Metric(
        "auditsvc_store_file_bytes",
        "gauge",
        "Bytes of the store on its disk.",
        _of("retention", "file_bytes"),
    ),
    Metric(
        "auditsvc_store_growth_bytes_per_day",
        "gauge",
        "Bytes by which the store grows in a day; absent until that is known.",
        _of("retention", "bytes_a_day"),
    ),
    Metric(
        "auditsvc_store_full_seconds",
        "gauge",
        "Seconds until the store is full, at its present growth; absent if never or unknown.",
        _of("retention", "full_in_days", _DAY),
    ),
    Metric(
        "auditsvc_archive_through_timestamp_seconds",
        "gauge",
        "Up to when (seconds since 1970) the archive has the events; absent without an archive.",
        _of("archive", "through_timestamp"),
    ),
    Metric(
        "auditsvc_archive_waiting_seconds",
        "gauge",
        "How long the days together are that are over and not in the archive yet; absent without"
        " an archive.",
        _of("archive", "waiting_days", _DAY),
    ),
    Metric(
        "auditsvc_fleet_batches",
        "counter",
        "Batches that this store has put into the inbox of the fleet; absent without a fleet.",
        _of("fleet", "batches"),
    ),
    Metric(
        "auditsvc_fleet_events",
        "counter",
        "Events of these batches; absent without a fleet.",
        _of("fleet", "events"),
    ),
    Metric(
        "auditsvc_fleet_made_timestamp_seconds",
        "gauge",
        "When (seconds since 1970) the last of these batches was made; absent before the first.",
        _of("fleet", "made"),
    ),
    Metric(
        "auditsvc_fleet_lag_seconds",
        "gauge",
        "Age of the oldest transaction with events that were not shipped; absent without a fleet.",
        _of("fleet", "lag_seconds"),
    ),
    # The forwarder.
    Metric(
        "auditsvc_forward_enabled",
        "gauge",
        "Whether the settings switch forwarding on.",
        _of(_FORWARD, "enabled"),
    ),
    Metric(
        "auditsvc_forward_running",
        "gauge",
        "Whether the forwarder runs.",
        _of(_FORWARD, "running"),
    ),
    Metric(
        "auditsvc_forward_sent_events",
        "counter",
        "Events in the systemd journal since the forwarder started.",
        _of(_FORWARD, "sent"),
    ),
    Metric(
        "auditsvc_forward_waiting_transactions",
        "gauge",
        "Transactions of the store that the forwarder has not had.",
        _of(_FORWARD, "waiting_transactions"),
    ),
    Metric(
        "auditsvc_forward_lag_seconds",
        "gauge",
        "Age of the oldest event that the forwarder has not had.",
        _of(_FORWARD, "lag_seconds"),
    ),
    # Evidence, and what `[alert]` tells.
    Metric(
        "auditsvc_signed_timestamp_seconds",
        "gauge",
        "When the last head of the evidence was signed, in seconds since 1970; absent without one.",
        _of("spool", "signed"),
    ),
    Metric(
        "auditsvc_verified_timestamp_seconds",
        "gauge",
        "When `auditsvc verify` was last run, in seconds since 1970; absent if it never was.",
        _of("events", "verified_at"),
    ),
    Metric(
        "auditsvc_verified",
        "gauge",
        "Whether that proved the log (1) or not (0).",
        _of("events", "proved"),
    ),
    Metric(
        "auditsvc_alerts",
        "gauge",
        "Whether an alert is active, by cause, as `[alert]` has them.",
        _counts("alerts", "active"),
        ("cause",),
    ),
    Metric(
        "auditsvc_space_used_ratio",
        "gauge",
        "Share of the room for the log that is in use.",
        _of(_SERVICE, "space_used", 0.01),
    ),
    # Coverage.
    Metric(
        "auditsvc_coverage_tasks",
        "gauge",
        "Tasks by state at the last look: covered, not_covered, unknown, exempt.",
        _counts(_SERVICE, "coverage"),
        ("state",),
    ),
    Metric(
        "auditsvc_coverage_ratio",
        "gauge",
        "Share of covered tasks among those that are not exempt.",
        _share,
    ),
)
"""All figures, in the order in which they are written."""
