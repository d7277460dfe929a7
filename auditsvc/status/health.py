"""Whether the service is well, from the facts of `auditsvc.status.report`, for monitoring.

    facts -> Health(exit status 0, 1 or 3; the problems, each one line)

The exit statuses are those of `systemctl status`: 0 well, 3 not running. 1 is for a problem: a
part whose facts cannot be read, a service that cannot write its spool or its store or no longer
responds, audit that is off although nobody requested it, a forwarder that should run and does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Facts = Mapping[str, Mapping[str, Any]]

WELL: Final = 0
TROUBLE: Final = 1
NOT_RUNNING: Final = 3
_NAMES: Final = {WELL: "well", TROUBLE: "trouble", NOT_RUNNING: "not running"}
_OLD: Final = 60.0
"""Seconds. The service writes its state twice a second; a slow disk may delay it."""


@dataclass(frozen=True, slots=True)
class Health:
    """A judgement of the facts; `status` is the exit status."""

    status: int
    problems: tuple[str, ...] = ()

    def as_facts(self) -> dict[str, str]:
        """Give it as a part of the report."""
        return {"state": _NAMES[self.status], "problems": "; ".join(self.problems)}


def judge(facts: Facts) -> Health:
    """Judge the facts. A service that does not run counts before any problem of the others."""
    problems = tuple(_problems(facts))
    if facts["service"].get("running") is False:
        return Health(NOT_RUNNING, problems)
    return Health(TROUBLE if problems else WELL, problems)


def _problems(facts: Facts) -> Iterator[str]:
    reasons = [(values["refused"], part) for part, values in facts.items() if "refused" in values]
    # The forwarder's lag and retention cannot be read for the same reason as the store.
    for reason, part in dict(reasons).items():
        yield f"{part}: {reason}"
    if held := facts["retention"].get("held"):
        yield f"retention: {held}"
    service = facts["service"]
    if not service.get("running"):
        return
    if service["age"] > _OLD:
        yield f"service: its state is {service['age']:.0f} seconds old"
    for name, part in (("spool_trouble", "spool"), ("store_trouble", "store")):
        if service[name]:
            yield f"{part}: {service[name]}"
    yield from _space(service)
    kernel = facts["kernel"]
    if service["source"] == "netlink" and kernel.get("switch") == "on" and not kernel["enabled"]:
        yield "kernel: audit is off, and no `auditsvc off` requested it"
    forwarder = facts["forwarder"]
    if forwarder.get("enabled") and not forwarder.get("running"):
        yield "forwarder: it does not run"


def _space(service: Mapping[str, Any]) -> Iterator[str]:
    if service.get("space_stage") == "act":
        yield f"spool: {service['space_used']:.0f} % of the room for the log are used"
