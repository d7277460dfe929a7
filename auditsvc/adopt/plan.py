"""The plan of a change-over: auditd's settings, rules and plugins, and what they become.

plan = make_plan(folder, settings, path)     # changes nothing
plan.lines      # for people
plan.text       # the file of settings as it would be
plan.blockers   # why it cannot be done
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from auditsvc.adopt.auditd_conf import read_conf, read_plugins
from auditsvc.adopt.conf_plan import add_conf
from auditsvc.adopt.plan_line import Draft, PlanLine, Verdict, as_toml
from auditsvc.adopt.plugin_plan import add_plugins
from auditsvc.adopt.rule_plan import RulePlan, source_of
from auditsvc.adopt.settings_file import conflicts, found_settings, merged
from auditsvc.collect.logfile import in_order, name_of
from auditsvc.config import Settings
from auditsvc.errors import AuditsvcError, plain

if TYPE_CHECKING:
    from collections.abc import Collection

    from auditsvc.rule import Rule

FOLDER: Final = Path("/etc/audit")
_LOG: Final = "/var/log/audit/audit.log"


@dataclass(slots=True)
class Plan:
    """What would be done."""

    lines: list[PlanLine]
    log: Path
    """auditd's log, without its rotations."""
    rules: Path | None
    """Where auditd's rules are."""
    path: Path
    """The file of settings."""
    text: str
    """Its content."""
    needs_load: bool = False
    """Whether `rules load` has to run after each start."""
    blockers: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Give it for programs."""
        logs = logs_of(self.log)
        return {
            "lines": [
                {
                    "where": each.where,
                    "auditd": each.said,
                    "verdict": str(each.verdict),
                    "auditsvc": each.becomes,
                }
                for each in self.lines
            ],
            "logs": [str(each) for each in logs],
            "logs_bytes": sum(each.stat().st_size for each in logs),
            "settings_file": str(self.path),
            "settings": self.text,
            "blockers": self.blockers,
        }


def make_plan(
    folder: Path, settings: Settings, path: Path, loaded: Collection[Rule], store: str | None
) -> Plan:
    """Read all that auditd reads; AuditsvcError if auditd.conf is not there.

    `settings` are the present ones, `path` their file, `store` one that was named.
    """
    conf = read_conf(folder / "auditd.conf")
    log = Path(conf.value("log_file", _LOG))
    draft = Draft()
    add_conf(draft, conf, settings.spool_directory, log)
    draft.settings["source"] = "netlink"
    if store is not None:
        draft.settings["store"] = store
        draft.origins["store"] = "--store"
    draft.lines.sort(key=lambda each: int(each.where.rpartition(":")[2]))
    add_plugins(draft, *read_plugins(Path(conf.value("plugin_dir", f"{folder}/plugins.d"))))
    rules = RulePlan(draft, loaded)
    source = source_of(folder)
    rules.add(source)
    found = found_settings(path)
    for name in conflicts(found, draft.settings):
        draft.say(
            str(path),
            f"{name} = {as_toml(found[name])}",
            Verdict.SAME,
            f"stays; auditd's would be {as_toml(draft.settings[name])}",
        )
    text = merged(found, draft.settings, draft.origins)
    plan = Plan(draft.lines, log, source, path, text, rules.needs_load, rules.blockers)
    try:
        Settings(**tomllib.loads(text))
    except ValidationError as error:
        plan.blockers += [
            f"setting {'.'.join(map(str, each['loc']))}: {plain(each['msg'])}"
            for each in error.errors()
        ]
    if conf.word("local_events") == "no":
        plan.blockers.append("auditd does not collect this host's records: local_events = no")
    return plan


def logs_of(log: Path) -> list[Path]:
    """Give a log and its rotations, oldest first; none if the folder is not there."""
    base = name_of(log).base
    try:
        found = [each for each in log.parent.iterdir() if name_of(each).base == base]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise AuditsvcError(f"{log.parent}: {error.strerror}", "run as root") from error
    return in_order(each for each in found if each.is_file())
