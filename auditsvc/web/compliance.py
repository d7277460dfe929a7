"""The page of compliance: each line of a framework, met or not, and what would meet it.

It is `auditsvc compliance` as this user sees it: what only root can read is not known. The
evidence is taken anew for each page, which can take seconds, so the lines come after the page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.compliance.assess import assess
from auditsvc.compliance.assessment import Standing
from auditsvc.compliance.frameworks import FRAMEWORKS
from auditsvc.errors import UsageError
from auditsvc.web.answers import page, part

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from auditsvc.web.asking import Asker

_FIRST: Final = "pci"
_LOOKS: Final = {
    Standing.MET: "good",
    Standing.NOT_MET: "bad",
    Standing.SHOW: "none",
    Standing.UNKNOWN: "fair",
}


class CompliancePages:
    """The pages of the frameworks."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def page(self, request: Request) -> Response:
        """Show which frameworks there are, and a place for the lines of one."""
        name = _named(request)
        titles = {each: framework.title for each, framework in FRAMEWORKS.items()}
        return page(
            "compliance.html", "Compliance", name=name, titles=titles, alone=self._asker.alone
        )

    def lines(self, request: Request) -> Response:
        """Show the lines of a framework."""
        framework = FRAMEWORKS[_named(request)]
        with self._asker.recorded(request) as asking:
            found = assess(self._asker.settings, framework)
            asking.access.rows += len(found.lines)
        open_lines = [
            each for each in found.lines if each.standing in (Standing.NOT_MET, Standing.UNKNOWN)
        ]
        return part(
            "compliance_lines.html",
            found=found,
            looks=_LOOKS,
            open_lines=open_lines,
            reason=asking.access.reason,
        )


def _named(request: Request) -> str:
    name = request.query_params.get("framework", _FIRST)
    if name not in FRAMEWORKS:
        raise UsageError(
            f"framework={name}: there is no such framework", f"there are {', '.join(FRAMEWORKS)}"
        )
    return name
