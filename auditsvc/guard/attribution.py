"""Whose deed a finding is, and which deeds left no trace but their record. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.guard.finding import Finding
from auditsvc.guard.own_changes import key_of
from auditsvc.kernel.settings import change_text, is_harmful
from auditsvc.rule import FilterList, printing
from auditsvc.runtime.probe_notice import SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditsvc.guard.config_change import Deed
    from auditsvc.guard.finding import What
    from auditsvc.kernel.settings import Settings
    from auditsvc.rule import Rule
    from auditsvc.runtime.probe_notice import ProbeNotice


def attribute(findings: Iterable[Finding], deeds: Sequence[Deed]) -> list[Deed]:
    """Give each finding its deed; returns the deeds that are none's, in their order."""
    left = list(deeds)
    for finding in findings:
        if finding.deed is None and (deed := _deed_of(finding, left)) is not None:
            finding.deed = deed
            left.remove(deed)
            if finding.what == "rule_moved":  # it was deleted, and added again
                again = (d for d in left if d.adds and _same_rule(finding.rule, d))
                if (other := next(again, None)) is not None:
                    left.remove(other)
    return left


def _deed_of(finding: Finding, deeds: Sequence[Deed]) -> Deed | None:
    return next((deed for deed in deeds if _tells(deed, finding)), None)


def _tells(deed: Deed, finding: Finding) -> bool:
    match finding.what:
        case "rule_deleted" | "rule_moved":
            return deed.done and deed.removes and _same_rule(finding.rule, deed)
        case "never_added" | "rule_added":
            return deed.done and deed.adds and _same_rule(finding.rule, deed)
        case "switched_off" | "switched_on" | "setting" | "replaced":
            # Who is refused the daemon's place has a record too.
            said = (deed.setting, deed.value) == (finding.setting, finding.value)
            return said and deed.done is not finding.refused
    return False


def _same_rule(rule: Rule | None, deed: Deed) -> bool:
    return rule is not None and (rule.filter_list, key_of(rule)) == (deed.filter_list, deed.key)


def is_probing(deed: Deed, probed: ProbeNotice) -> bool:
    """Whether it is a change that `on` or `off` announced: that rule's, by that process, then."""
    who = probed.who
    return (
        (deed.adds or deed.removes)
        and any(_same_rule(rule, deed) for rule in probed.rules)
        and (deed.auid, deed.ses) == (who.auid, who.ses)
        and (deed.call is None or deed.call.actor.pid == who.pid)
        and -1 <= deed.second - probed.time <= SECONDS
    )


def undone(deeds: Sequence[Deed], rules: Sequence[Rule], now: Settings) -> list[Finding]:
    """Make findings of deeds that the kernel's state does not show (any more).

    A rule that went and one like it that came is one that was put back; one that came
    and went is one that was there in between. A setting that is as the record says is
    no finding: who asked for what was so already.
    """
    found: list[Finding] = []
    open_: dict[tuple[int | None, bytes | None], list[tuple[Deed, Finding]]] = {}
    for deed in deeds:
        if not deed.done:
            if deed.setting == "pid":
                found.append(
                    _of(deed, "replaced", f"pid {deed.value} asked to be the audit daemon")
                )
        elif deed.setting:
            current = getattr(now, deed.setting, deed.value)
            if deed.setting == "enabled" and not deed.value and current:
                found.append(_of(deed, "switched_off", change_text("enabled", current, 0)))
            elif deed.setting != "enabled" and is_harmful(deed.setting, current, deed.value):
                detail = change_text(deed.setting, current, deed.value)
                found.append(_of(deed, "setting", detail))
        elif deed.adds or deed.removes:
            before = open_.setdefault((deed.filter_list, deed.key), [])
            if before and before[-1][0].adds is not deed.adds:
                before.pop()  # its opposite, which undid it, is told with it
                continue
            what: What = "rule_added" if deed.adds else "rule_deleted"
            finding = _of(deed, what, _candidates(deed, rules))
            before.append((deed, finding))
            found.append(finding)
    return found


def _of(deed: Deed, what: What, detail: str) -> Finding:
    return Finding(
        what,
        detail,
        setting=deed.setting,
        value=deed.value,
        restored="undone",
        refused=not deed.done,
        deed=deed,
    )


def _candidates(deed: Deed, rules: Sequence[Rule]) -> str:
    """Say which rule it may have been: the record has its list and key, not the rule."""
    alike = [rule for rule in rules if _same_rule(rule, deed)]
    if len(alike) == 1 and deed.removes:
        return printing.text(alike[0])
    try:
        which = FilterList(deed.filter_list or 0).name.lower()
    except ValueError:
        which = str(deed.filter_list)
    key = "no key" if deed.key is None else f"key {deed.key.decode(errors='surrogateescape')}"
    return f"a rule of the list {which} with {key}"
