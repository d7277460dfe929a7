"""Guard: compares the kernel with its earlier state, and reports or undoes each difference.

What must hold:

* Every change by others that reduces coverage is found: what was changed and changed back
  between two looks has left its CONFIG_CHANGE record.
* Our own changes are never findings (`OwnChanges` notes each).
* Restoring comes first. The line of a finding is written at most one look later, if the
  records do not yet show who it was.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from auditsvc.errors import SpoolError
from auditsvc.guard.attribution import attribute, is_probing, undone
from auditsvc.guard.config_change import actor_info
from auditsvc.guard.config_records import ConfigRecords
from auditsvc.guard.finding import GuardFinding
from auditsvc.guard.own_changes import OwnChanges
from auditsvc.guard.restorer import AGAIN_SECONDS, Restorer
from auditsvc.guard.rule_changes import adopt, differences
from auditsvc.kernel.messages import LOCKED
from auditsvc.kernel.settings import Settings, change_text, is_harmful
from auditsvc.rule import Rule, printing
from auditsvc.ruleset.reach import takes_cover

if TYPE_CHECKING:
    from collections.abc import Collection

    from auditsvc.collect.collector import RecordCollector
    from auditsvc.guard.config_change import ConfigChange
    from auditsvc.guard.finding import What
    from auditsvc.guard.sanctioned import Sanctioned
    from auditsvc.kernel.session import Session
    from auditsvc.spool.sink import Sink

log = structlog.get_logger()

_LAST_WAIT: Final = 0.1
_WAIT_FOR_LOADS: Final = 2  # looks
_RESTORABLE: Final = frozenset(
    {"rule_deleted", "rule_moved", "never_added", "switched_off", "setting"}
)


class Guard:
    """Made before the session begins; `begin` right after it, then `look` twice a second."""

    def __init__(
        self,
        session: Session,
        collector: RecordCollector,
        sink: Sink,
        sanctioned: Sanctioned,
        *,
        restore: bool,
    ) -> None:
        """Nothing is read or changed before `begin`; `restore`: undo changes by others."""
        self.findings = 0
        """Number of findings so far."""
        self._session = session
        self._control = session.control
        self._collector = collector
        self._sink = sink
        self._restore = restore
        self._restorer: Restorer | None = None
        self._sanctioned = sanctioned
        self._waited = 0
        self._begun = False
        self._ours = OwnChanges()
        self._control.listener = self._ours.note
        self._records = ConfigRecords(sink.directory, lambda: sink.place)
        self._counted = collector.config_changes
        self._pid = os.getpid()
        # The kernel as it was at the last look.
        self._raw: list[bytes] = []
        self._rules: list[Rule] = []
        self._settings = Settings(0, 0, 0, 0, 0)
        self._switched_off = False
        """Whether audit was switched off without a request."""
        self._displaced = False
        self._asked_at = 0.0
        self._held: list[GuardFinding] = []
        """Findings for which records may still show who it was."""
        self._owed: list[GuardFinding] = []
        """Findings that wait to be restored."""

    def begin(self) -> None:
        """Take the current state as the wanted one."""
        self._ours.take_changes()
        self._see()
        if self._restore:
            self._restorer = Restorer(self._control, self._rules, self._settings)
        self._begun = True

    def look(self) -> None:
        """Look once: find, restore, and write the findings."""
        if self._waited < _WAIT_FOR_LOADS and self._sanctioned.busy():
            self._waited += 1
            return
        self._waited = 0
        self._look()

    def _look(self) -> None:
        if self._unchanged():
            self._records.mark()
            return
        self._take_own_changes()
        notices = self._sanctioned.probed()
        probed = {rule for each in notices for rule in each.rules}
        changes = [change for change in self._read_records() if not is_probing(change, notices)]
        # The state is read after the records: a change in a record shows there, or was undone.
        rules, settings = self._rules, self._settings
        pid = self._see()
        state = self._rules, self._settings
        on, switched = self._sanctioned.on(), self._sanctioned.switched()
        found = [
            *self._rule_findings(rules, probed),
            *self._setting_findings(settings, on),
            *self._registration_findings(pid),
        ]
        self._put_back(found, on, probed)
        self._held += found
        self._held += undone(attribute(self._held, changes), *state)
        if switched:
            self._held = [finding for finding in self._held if not _was_sanctioned(finding)]
        self._held = [finding for finding in self._held if not self._write(finding)]
        self._records.mark()

    def last_look(self) -> None:
        """Look, without waiting for records or a load; then the rules may be deleted.

        A run that ended before `begin` has nothing to compare with.
        """
        try:
            if self._begun:
                self._look()
            if self._held:
                time.sleep(_LAST_WAIT)
                self._look()
        finally:
            self._control.listener = None

    # --- what is new ----------------------------------------------------------------------

    def _unchanged(self) -> bool:
        counted, self._counted = self._counted, self._collector.config_changes
        if counted != self._counted or self._collector.rivals:
            return False
        if self._held or self._owed:
            return False
        status = self._control.status()
        if status.pid != self._pid:
            return False
        self._displaced = False
        return (
            Settings.from_status(status) == self._settings
            and self._control.raw_rules() == self._raw
        )

    def _see(self) -> int:
        """Note the kernel's state; gives the pid of the audit daemon."""
        status, self._raw = self._control.status(), self._control.raw_rules()
        self._rules = [Rule.from_bytes(data) for data in self._raw]
        self._settings = Settings.from_status(status)
        return status.pid

    def _take_own_changes(self) -> None:
        """Apply what the service itself changed: that is wanted."""
        kept = [self._rules] if self._restorer is None else [self._rules, self._restorer.rules]
        for change in self._ours.take_changes():
            for rules in kept:
                if change.rule in rules:
                    rules.remove(change.rule)
                if change.verb != "delete":
                    rules.insert(0 if change.verb == "prepend" else len(rules), change.rule)

    def _read_records(self) -> list[ConfigChange]:
        """Give the changes by others since the last look; held findings get their calls."""
        try:
            changes = self._records.read(f.change for f in self._held if f.change is not None)
        except SpoolError as error:
            log.error("who changed rules cannot be read from the spool", why=str(error))  # noqa: TRY400 - no traceback
            return []
        return [change for change in changes if not self._ours.made(change)]

    # --- findings -------------------------------------------------------------------------

    def _rule_findings(self, before: list[Rule], probed: Collection[Rule]) -> list[GuardFinding]:
        changed = differences(before, self._rules)
        # A `never` rule must not seem harmless because an `always` rule was deleted too.
        wanted = before if self._restorer is None else self._restorer.rules
        new = [rule for rule in changed.added if rule not in wanted]
        together = adopt(wanted, self._rules, new)

        def added(rule: Rule) -> GuardFinding:
            harmful = rule in new and takes_cover(together, rule)
            what: What = "never_added" if harmful else "rule_added"
            return GuardFinding(what, printing.text(rule), rule)

        return [
            *(
                GuardFinding("rule_deleted", printing.text(rule), rule)
                for rule in changed.deleted
                if rule not in probed
            ),
            *(added(rule) for rule in changed.added if rule not in probed),
            *(GuardFinding("rule_moved", printing.text(rule), rule) for rule in changed.moved),
        ]

    def _setting_findings(self, before: Settings, on: bool) -> list[GuardFinding]:
        found = []
        for name, old, new in zip(Settings._fields, before, self._settings, strict=True):
            if name == "enabled" and old != new:
                found += self._switch_findings(old, new, on)
            elif name != "enabled" and is_harmful(name, old, new):
                found.append(GuardFinding("setting", change_text(name, old, new), None, name, new))
        return found

    def _switch_findings(self, old: int, new: int, on: bool) -> list[GuardFinding]:
        detail = change_text("enabled", old, new)
        if new == LOCKED:
            detail += " (locked until the next boot)"
            return [GuardFinding("setting", detail, None, "enabled", new)]
        if not new and on:
            self._switched_off = True
            return [GuardFinding("switched_off", detail, None, "enabled", new)]
        if new and (self._switched_off or not on):
            self._switched_off = False
            return [GuardFinding("switched_on", detail, None, "enabled", new)]
        return []

    def _registration_findings(self, pid: int) -> list[GuardFinding]:
        """Check that we are the audit daemon; if not, register again."""
        rivals = self._collector.rivals
        found = [_replaced(rivals.popleft(), refused=True) for _ in range(len(rivals))]
        if pid == self._pid:
            self._displaced = False
            return found
        now = time.monotonic()
        # Each request sends a message to the process that is the audit daemon.
        if not pid or now - self._asked_at >= AGAIN_SECONDS:
            self._asked_at = now
            self._session.register_again()
        if not self._displaced:
            self._displaced = True
            if pid:
                found.append(_replaced(pid, refused=False))
            else:
                # The reader did not read for too long (auditd_reset in kernel/audit.c).
                detail = "the kernel had stopped sending records to us"
                found.append(GuardFinding("given_up", detail))
        return found

    # --- answers --------------------------------------------------------------------------

    def _put_back(self, found: list[GuardFinding], on: bool, probed: Collection[Rule]) -> None:
        """Restore what is possible; sets `restored` of the findings."""
        restorer = self._restorer
        if restorer is None:
            return
        loads = self._sanctioned.loads()
        others = {f.rule for f in found if f.what == "rule_added" and f.rule is not None}
        others.update(probed)
        restorer.accept(self._rules, self._settings, others=others, loads=loads)
        enabled = 1 if on else self._settings.enabled
        todo = [
            finding
            for finding in found
            if finding.what in _RESTORABLE
            and (finding.what != "rule_deleted" or restorer.is_wanted(finding.rule))
            and (finding.what != "never_added" or finding.rule not in loads.rules)
            and (finding.what != "rule_moved" or finding.rule not in loads.placed)
            and (not finding.setting or loads.settings.get(finding.setting) != finding.value)
        ]
        if self._settings.enabled == LOCKED:
            for finding in todo:
                finding.restored = "failed"
            if todo:
                log.error("audit is locked until the next boot: nothing can be restored")
            restorer.accept_all(self._rules, self._settings)
            self._owed.clear()
            return
        restorer.settings = restorer.settings._replace(enabled=enabled)
        if not restorer.differs(self._rules, self._settings):
            self._owed.clear()  # somebody else has restored it
            return
        result = restorer.put_back(self._rules, self._settings)
        if result is None:
            for finding in todo:
                finding.restored = "later"
            if todo and not self._owed:
                log.warning(
                    "another program undoes what is restored: waiting", seconds=AGAIN_SECONDS
                )
            self._owed += todo
            return
        failed: set[object] = {*result.failed_rules, *result.failed_settings}
        for finding in todo:
            restored = finding.rule not in failed and finding.setting not in failed
            finding.restored = "yes" if restored else "failed"
        found += [
            GuardFinding(
                "put_back", owed.detail, owed.rule, restored="yes", who=actor_info(self._pid)
            )
            for owed in self._owed
            if owed.rule not in failed and owed.setting not in failed
        ]
        self._owed.clear()
        self._ours.take_changes()
        self._rules, self._settings = result.rules, result.settings
        self._switched_off = False

    def _write(self, finding: GuardFinding) -> bool:
        """Write a finding, unless records may still show who it was; gives whether it did."""
        change = finding.change
        if change is not None and change.call is not None:
            finding.who = change.call
        elif finding.what != "put_back":
            if not finding.attempts:
                finding.attempts += 1
                return False
            if finding.what == "given_up":
                finding.restored = "later" if self._displaced else "yes"
            elif change is not None:
                login = replace(finding.who.actor, auid=change.auid, ses=change.ses)
                known = replace(finding.who, actor=login, known_by=finding.who.known_by or "record")
                finding.who = self._records.opener(change) or known
        line = self._sink.daemon.line("DAEMON_CONFIG", finding.fields())
        self._sink.put(line, 1)
        if finding.what == "put_back":
            log.info("restored", **finding.shown())
        else:
            self.findings += 1
            log.error("tampering", what=finding.what, **finding.shown())
        return True


def _was_sanctioned(finding: GuardFinding) -> bool:
    """Whether it is due to `off` and `on`: between two looks, or before `on` wrote its request."""
    undone_off = finding.what == "switched_off" and finding.restored == "undone"
    return undone_off or finding.what == "switched_on"


def _replaced(pid: int, *, refused: bool) -> GuardFinding:
    event = "asked to be the audit daemon" if refused else "is the audit daemon now"
    return GuardFinding(
        "replaced", f"pid {pid} {event}", None, "pid", pid, refused=refused, who=actor_info(pid)
    )
