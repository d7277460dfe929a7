"""The state at a glance: one verdict, a line for each part, the next thing to do.

    facts of auditsvc.status.report, their health, now -> lines of at most 80 columns if the
    terminal's width allows it; times are local

All facts are in the JSON; here is what a person looks for.
"""

from __future__ import annotations

from datetime import UTC, datetime
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from auditsvc.plural import counted
from auditsvc.status.health import NOT_RUNNING, WELL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from auditsvc.status.health import Health

    Facts = Mapping[str, Mapping[str, Any]]

_VERDICTS: Final = {WELL: "auditsvc is well", NOT_RUNNING: "auditsvc is not running"}
_NAME: Final = 10
"""Columns of the name of a part."""
_SWITCH: Final = ("off", "on", "on, locked until the next boot")
_SOON: Final = 14
"""Days in which a full store is near."""
_BESIDE: Final = {"duplicate": "read again (stored before)", "raw": "kept as text only"}
"""Causes of the ledger that a person may want to know of, in words."""
_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")


def glance(facts: Facts, health: Health, now: float, columns: int = 80) -> list[str]:
    """Give the lines."""
    lines = [_VERDICTS.get(health.status, "auditsvc has a problem")]
    for problem in health.problems:
        lines += wrap(problem, columns, initial_indent="  ! ", subsequent_indent="    ")
    lines.append("")
    for name, text in parts(facts, now):
        lines += wrap(
            text,
            columns,
            initial_indent=f"{name:{_NAME}}",
            subsequent_indent=" " * _NAME,
            break_on_hyphens=False,
        )
    lines.append("")
    lines += wrap(f"Next: {_next(facts, health)}", columns, subsequent_indent=" " * 6)
    return lines


def parts(facts: Facts, now: float) -> Iterator[tuple[str, str]]:
    """Give the parts that are known: name and what is to be said of it; times are local."""
    kernel, service, store = facts["kernel"], facts["service"], facts["store"]
    if "refused" not in kernel:
        switch = _SWITCH[min(kernel["enabled"], 2)]
        rules = counted(kernel["rules"], "rule")
        queue = f"queue {kernel['backlog']} of {kernel['backlog_limit']}"
        yield "kernel", f"{switch}, {rules}, {queue}, lost {kernel['lost']} since boot"
    if service.get("running"):
        since = _local(service["began"], now)
        words = (f"since {since}", f"pid {service['pid']}", service["source"], service["decoder"])
        yield "service", f"{', '.join(words)} decoder"
        lost = service["kernel_lost"] + service["missing"] + service["dropped"]
        rate = f"{service['rate']:,.1f} a second"
        yield "records", f"{service['records']:,} collected, {rate}, {lost:,} lost"
        yield "lag", f"{size(service['spool_waiting'])} of log wait to be stored"
        if forecast := service.get("space_forecast"):
            yield "disk", f"{service['space_used']:.0f} % of the log's room used; {forecast}"
        if service["tamper"]:
            yield "tamper", f"{counted(service['tamper'], 'change')} by others"
        if text := _coverage(service["coverage"], now):
            yield "coverage", text
    retention = facts["retention"]
    if "refused" not in store and "refused" not in retention:
        oldest = retention["oldest"]
        since = f", since {_local(_second(oldest), now)}" if oldest else ""
        yield "store", f"{_stored(store)}, {size(retention['bytes'])}{since}"
        grows = retention["bytes_a_day"]
        rate = f"grows {size(grows)} a day; " if grows else ""
        keep = f"; keeps {retention['keep']}" if retention["keep"] else ""
        yield "room", f"{rate}{retention['forecast']}{keep}"
    kept = facts.get("archive", {})
    if kept.get("to") and "refused" not in kept:
        reached = f"up to {kept['through']}" if kept["through"] else "nothing yet"
        days = counted(kept["waiting_days"], "day")
        missing = f"; {days} to be written" if kept["waiting_days"] else ""
        yield "archive", f"{reached}, {counted(kept['parts'], 'part')}{missing}"
    fleet = facts.get("fleet", {})
    if fleet.get("to") and "refused" not in fleet:
        behind = fleet.get("lag_seconds")
        shipped = f"{fleet['events']:,} events in {counted(fleet['batches'], 'batch', 'batches')}"
        yield "fleet", shipped + (f", {behind:g} s behind" if behind is not None else "")
    forwarder = facts["forwarder"]
    if forwarder.get("enabled"):
        sent = f"{forwarder['sent']:,} events sent" if forwarder.get("running") else "not running"
        behind = forwarder.get("lag_seconds")
        yield "journal", sent + (f", {behind:g} s behind" if behind is not None else "")


def _stored(ledger: Mapping[str, int]) -> str:
    """Say what is stored, and what else of the records that were read is none.

    Not how many were read: with them are the ends of events, which are no rows.
    """
    said = [f"{ledger.get('stored', 0):,} records stored"]
    for cause, words in _BESIDE.items():
        if ledger.get(cause):
            said.append(f"{ledger[cause]:,} {words}")
    return "; ".join(said)


def _coverage(tasks: Mapping[str, float], now: float) -> str:
    total = sum(tasks.get(state, 0) for state in ("covered", "not_covered", "unknown"))
    if not total:
        return ""
    share = tasks["covered"] / total
    return (
        f"{share:.0%} of {counted(int(total), 'task')}: {tasks['not_covered']:g} not covered,"
        f" {tasks['unknown']:g} unknown ({_local(tasks['at'], now)})"
    )


def _next(facts: Facts, health: Health) -> str:
    """Give the most important thing to do; the first that applies."""
    service, retention = facts["service"], facts["retention"]
    if health.status == NOT_RUNNING:
        return "systemctl start auditsvc, or see why it ended: journalctl -u auditsvc -n 20"
    if health.problems:
        return "auditsvc doctor shows what is wrong and how to fix it"
    if service["tamper"]:
        return "auditsvc query 'SELECT * FROM tamper ORDER BY time DESC LIMIT 20'"
    full = retention.get("full_in_days")
    if full is not None and full < _SOON:
        return "limit what is kept: [retention] in auditsvc.toml, see man auditsvc.toml"
    if service["coverage"].get("not_covered"):
        return "auditsvc coverage shows which tasks are not covered, and what to do"
    return "nothing to do"


def size(number: float) -> str:
    """Write bytes in the unit in which they have few digits."""
    unit = 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.0f} bytes" if not unit else f"{number:.1f} {_UNITS[unit]}"


def _second(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()


def _local(second: float, now: float) -> str:
    """Write a time in local time; only the time of the day if it is today."""
    then, today = (datetime.fromtimestamp(each, UTC).astimezone() for each in (second, now))
    return then.strftime("%H:%M" if then.date() == today.date() else "%Y-%m-%d %H:%M")
