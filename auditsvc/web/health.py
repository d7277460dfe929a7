"""The line of health: is all well, and each part of it, as far as this user may know."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from auditsvc.errors import AuditsvcError
from auditsvc.report.choice import Choice
from auditsvc.report.proof import proof
from auditsvc.report.reader import open_reader
from auditsvc.runtime.active_alerts import active_alerts
from auditsvc.status.glance import glance, parts
from auditsvc.status.health import judge
from auditsvc.status.report import make_report
from auditsvc.store.read.limits import Limits
from auditsvc.web.answers import part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.responses import Response

    from auditsvc.web.asking import Asker

_SHORT: Final = Limits(seconds=3)


class Health:
    """Makes the line, which comes after the page."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def part(self, request: Request) -> Response:
        """Show the verdict, the problems, and a word of each part."""
        del request
        facts = make_report(self._asker.settings)
        known = judge(facts)
        refused = {each["refused"] for each in facts.values() if "refused" in each}
        problems = [
            each for each in known.problems if not any(each.endswith(why) for why in refused)
        ]
        now = time.time()
        lines = glance(facts, known, now)
        return part(
            "health.html",
            status=known.status,
            problems=problems,
            refused=sorted(refused),
            parts=[*parts(facts, now), *self._proof(), *self._alerts()],
            verdict=lines[0],
            todo=" ".join(each.strip() for each in lines[-lines[::-1].index("") :]),
        )

    def _proof(self) -> Iterator[tuple[str, str]]:
        """Say whether the ledger adds up, and what was lost."""
        try:
            with open_reader(self._asker.url, _SHORT) as reader:
                found = proof(reader, Choice())
        except AuditsvcError as error:
            yield "proof", f"not known: {error.what}"
        else:
            yield "proof", f"{found.ledger_text}; {found.lost_text}"

    def _alerts(self) -> Iterator[tuple[str, str]]:
        """Say which alerts are active."""
        try:
            active = active_alerts(self._asker.settings.runtime_directory)
        except OSError as error:
            yield "alerts", f"not known to this user: {error.strerror}"
        else:
            said = (f"{cause.value}: {text}" for cause, text in active.items())
            yield "alerts", "; ".join(said) or "none is active"
