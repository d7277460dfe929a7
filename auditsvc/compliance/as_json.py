"""The rules report as JSON values. Pure."""

from __future__ import annotations

from typing import Any

from auditsvc.compliance.model import Judged, Report, RuleFinding, Share, moment
from auditsvc.rule import printing


def as_json(report: Report) -> dict[str, Any]:
    """Give the report as JSON values; times are UTC."""
    return {
        "made": moment(report.made),
        "host": report.host,
        "kernel": report.release,
        "version": report.version,
        "store": report.store,
        "days": report.days,
        "proven": report.proven,
        "warnings": report.warnings,
        "unknown": report.unknown,
        "covered": None if report.share is None else _share(report.share),
        "sets": [
            {"name": each.name, "path": each.path, "sha256": each.sha256} for each in report.sources
        ],
        "tally": {str(state): count for state, count in report.tally().items()},
        "controls": [_control(each) for each in report.controls],
    }


def _share(share: Share) -> dict[str, int]:
    return {
        "covered": share.covered,
        "not_covered": share.not_covered,
        "unknown": share.unknown,
    }


def _control(judged: Judged) -> dict[str, Any]:
    control, seen = judged.control, judged.seen
    return {
        "framework": control.framework,
        "id": control.id,
        "title": control.title,
        "state": str(judged.state),
        "rules": [_finding(each) for each in judged.findings],
        "settings": [
            {
                "name": each.setting.name,
                "asked": each.setting.value,
                "now": each.now,
                "met": each.met,
            }
            for each in judged.settings
        ],
        "events": None if seen is None else seen.count,
        "last_seen": None if seen is None or seen.last is None else moment(seen.last),
        "counted_by": None if seen is None else seen.by,
        "rules_not_counted": 0 if seen is None else seen.uncounted,
        "note": control.note,
    }


def _finding(finding: RuleFinding) -> dict[str, Any]:
    return {
        "rule": printing.text(finding.rule),
        "where": f"{finding.line.filename}:{finding.line.number}",
        "state": str(finding.state),
        "by": None if finding.by is None else printing.text(finding.by),
        "but_for": [printing.text(each) for each in finding.exceptions],
        "loaded": finding.loaded,
        "lacking": finding.lacking,
    }
