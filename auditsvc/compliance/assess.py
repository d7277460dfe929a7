"""Makes the assessor's page as values: takes the evidence now, and answers each line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from auditsvc import __version__
from auditsvc.compliance.assessment import Assessed, Assessment
from auditsvc.compliance.checks import check
from auditsvc.compliance.evidence import take
from auditsvc.store.databases import shown_url

if TYPE_CHECKING:
    from auditsvc.compliance.evidence import Evidence
    from auditsvc.compliance.frameworks import Framework
    from auditsvc.config import Settings


def assess(settings: Settings, framework: Framework) -> Assessment:
    """Take the evidence and judge each line."""
    return judge_lines(take(settings, framework.rule_set), framework)


def judge_lines(evidence: Evidence, framework: Framework) -> Assessment:
    """Judge each line by evidence that was taken."""
    uname = os.uname()
    return Assessment(
        framework=framework.title,
        made=evidence.now,
        host=evidence.settings.host,
        release=f"{uname.sysname} {uname.release} {uname.machine}",
        version=__version__,
        store=shown_url(evidence.settings.store),
        lines=tuple(
            Assessed(line, tuple(check(name, evidence, framework) for name in line.checks))
            for line in framework.lines
        ),
    )
