"""Who made the change of a finding, and changes that only their records show. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.guard.finding import GuardFinding
from auditsvc.guard.own_changes import key_of
from auditsvc.kernel.settings import change_text, is_harmful
from auditsvc.rule import FilterList, printing
from auditsvc.runtime.probe_notice import SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditsvc.guard.config_change import ConfigChange
    from auditsvc.guard.finding import What
    from auditsvc.kernel.settings import Settings
    from auditsvc.rule import Rule
    from auditsvc.runtime.probe_notice import ProbeNotice


def attribute(
    findings: Iterable[GuardFinding], changes: Sequence[ConfigChange]
) -> list[ConfigChange]:
    """Give each finding its change; returns the changes without a finding, in their order."""
    left = list(changes)
    for finding in findings:
        if finding.change is None and (change := _change_of(finding, left)) is not None:
            finding.change = change
            left.remove(change)
            if finding.what == "rule_moved":  # it was deleted and added again
                again = (d for d in left if d.adds and _same_rule(finding.rule, d))
                if (other := next(again, None)) is not None:
                    left.remove(other)
    return left


def _change_of(finding: GuardFinding, changes: Sequence[ConfigChange]) -> ConfigChange | None:
    return next((change for change in changes if _matches(change, finding)), None)


def _matches(change: ConfigChange, finding: GuardFinding) -> bool:
    match finding.what:
        case "rule_deleted" | "rule_moved":
            return change.done and change.removes and _same_rule(finding.rule, change)
        case "never_added" | "rule_added":
            return change.done and change.adds and _same_rule(finding.rule, change)
        case "switched_off" | "switched_on" | "setting" | "replaced":
            # A refused request to be the audit daemon has a record too.
            same = (change.setting, change.value) == (finding.setting, finding.value)
            return same and change.done is not finding.refused
    return False


def _same_rule(rule: Rule | None, change: ConfigChange) -> bool:
    return rule is not None and (rule.filter_list, key_of(rule)) == (change.filter_list, change.key)


def is_probing(change: ConfigChange, probed: Iterable[ProbeNotice]) -> bool:
    """Whether an `on` or `off` announced this change: same rule, process and time."""
    return (change.adds or change.removes) and any(_is_of(change, each) for each in probed)


def _is_of(change: ConfigChange, probed: ProbeNotice) -> bool:
    who = probed.who
    return (
        any(_same_rule(rule, change) for rule in probed.rules)
        and (change.auid, change.ses) == (who.auid, who.ses)
        and (change.call is None or change.call.actor.pid == who.pid)
        and -1 <= change.second - probed.time <= SECONDS
    )


def undone(
    changes: Sequence[ConfigChange], rules: Sequence[Rule], now: Settings
) -> list[GuardFinding]:
    """Make findings of changes that the kernel's state does not show (any more).

    A rule that was deleted and then added was put back; one that was added and then deleted
    was loaded in between. A setting that has the value in the record is no finding: it had
    this value already.
    """
    found: list[GuardFinding] = []
    open_: dict[tuple[int | None, bytes | None], list[tuple[ConfigChange, GuardFinding]]] = {}
    for change in changes:
        if not change.done:
            if change.setting == "pid":
                found.append(
                    _of(change, "replaced", f"pid {change.value} asked to be the audit daemon")
                )
        elif change.setting:
            current = getattr(now, change.setting, change.value)
            if change.setting == "enabled" and not change.value and current:
                found.append(_of(change, "switched_off", change_text("enabled", current, 0)))
            elif change.setting != "enabled" and is_harmful(change.setting, current, change.value):
                detail = change_text(change.setting, current, change.value)
                found.append(_of(change, "setting", detail))
        elif change.adds or change.removes:
            before = open_.setdefault((change.filter_list, change.key), [])
            if before and before[-1][0].adds is not change.adds:
                before.pop()  # it was undone: the finding of the first one is for both
                continue
            what: What = "rule_added" if change.adds else "rule_deleted"
            finding = _of(change, what, _candidates(change, rules))
            before.append((change, finding))
            found.append(finding)
    return found


def _of(change: ConfigChange, what: What, detail: str) -> GuardFinding:
    return GuardFinding(
        what,
        detail,
        setting=change.setting,
        value=change.value,
        restored="undone",
        refused=not change.done,
        change=change,
    )


def _candidates(change: ConfigChange, rules: Sequence[Rule]) -> str:
    """Describe the rule as far as known: the record has its list and key, not the rule."""
    same = [rule for rule in rules if _same_rule(rule, change)]
    if len(same) == 1 and change.removes:
        return printing.text(same[0])
    try:
        which = FilterList(change.filter_list or 0).name.lower()
    except ValueError:
        which = str(change.filter_list)
    key = "no key" if change.key is None else f"key {change.key.decode(errors='surrogateescape')}"
    return f"a rule of the list {which} with {key}"
