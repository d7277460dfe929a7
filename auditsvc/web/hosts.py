"""The hosts of a fleet: how far the lake is behind each, who is silent, whether sums add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from auditsvc.plural import counted
from auditsvc.processes.drawing import duration
from auditsvc.report.proof import Proof
from auditsvc.store.read.events import second_text
from auditsvc.web.answers import missing, part

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from auditsvc.web.asking import Asker

SILENT: Final = 2 * 3600.0
"""Seconds after which a host counts as silent, as for `auditsvc fleet status`."""
_MOST: Final = 50


@dataclass(frozen=True, slots=True)
class Host:
    """A store of a host, for its row."""

    host: str
    store: str
    newest: str | None
    lag: str
    events: int
    waiting: str
    ledger: str
    has_lost: bool
    wrong: str
    address: str


class Hosts:
    """Makes the list, which comes after the page."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def part(self, request: Request) -> Response:
        """Show the verdict, and the hosts: first those with which something is wrong."""
        del request
        source = self._asker.source
        if source is None or source.report is None:
            return missing("There are hosts where the fleet is asked: auditsvc web --fleet.")
        facts = source.report(SILENT)
        known = [_host(each, unseen=bool(facts["unseen"])) for each in facts["hosts"]]
        ordered = sorted(known, key=lambda each: (not each.wrong, each.host))
        wrong = [each for each in known if each.wrong]
        verdict = "All hosts are well" if known else "No host has shipped yet"
        if wrong:
            verdict = f"{counted(len(wrong), 'store')} not well"
        lost = sum(each.has_lost for each in known)
        return part(
            "hosts.html",
            verdict=verdict,
            is_well=not wrong and not lost,
            lost=counted(lost, "store") if lost else "",
            events=facts["events"],
            stores=counted(len(known), "store"),
            waiting=None if facts["unseen"] else facts["waiting"],
            unseen=facts["unseen"],
            hosts=ordered[:_MOST],
            further=len(ordered) - _MOST,
        )


def _host(facts: dict[str, Any], *, unseen: bool) -> Host:
    proof = Proof(facts["ledger"], None)
    wrong = [*facts["wrong"], *([] if proof.adds_up else ["its ledger does not add up"])]
    newest, lag = facts["newest"], facts["lag_seconds"]
    return Host(
        facts["host"],
        facts["store"],
        None if newest is None else second_text(int(newest)),
        "-" if lag is None else duration(round(lag * 1000)),
        facts["events"],
        "not known" if unseen else str(facts["waiting"]),
        proof.lost_text if proof.adds_up else proof.line,
        bool(proof.lost),
        "; ".join(wrong),
        f"/?{urlencode({'host': facts['host']})}",
    )
