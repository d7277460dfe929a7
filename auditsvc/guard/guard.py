"""Guard: compares the kernel with what it was, and answers for each difference.

What must hold:

* Nobody but us takes cover away unnoticed: what was changed and changed back between
  two looks has left its CONFIG_CHANGE record.
* Our own changes are never findings (`Ours` hears of each).
* Putting back comes first. A finding waits for its line at most one further look, if
  records do not yet tell who it was.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from auditsvc.errors import SpoolError
from auditsvc.guard.attribution import attribute, is_probing, undone
from auditsvc.guard.config_change import culprit_of
from auditsvc.guard.config_records import Trail
from auditsvc.guard.finding import Finding
from auditsvc.guard.own_changes import Ours
from auditsvc.guard.restorer import AGAIN_SECONDS, Restorer
from auditsvc.guard.rule_changes import adopt, differences
from auditsvc.kernel.messages import LOCKED
from auditsvc.kernel.settings import Settings, change_text, is_harmful
from auditsvc.rule import Rule, printing
from auditsvc.ruleset.reach import takes_cover

if TYPE_CHECKING:
    from collections.abc import Collection

    from auditsvc.collect.collector import RecordCollector
    from auditsvc.guard.config_change import Deed
    from auditsvc.guard.finding import What
    from auditsvc.guard.sanctioned import Meant
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
        meant: Meant,
        *,
        restore: bool,
    ) -> None:
        """Nothing is asked or changed before `begin`; `restore`: put back what was taken."""
        self.findings = 0
        """How many there were."""
        self._session = session
        self._control = session.control
        self._collector = collector
        self._sink = sink
        self._restore = restore
        self._restorer: Restorer | None = None
        self._meant = meant
        self._waited = 0
        self._begun = False
        self._ours = Ours()
        self._control.listener = self._ours.heard
        self._trail = Trail(sink.directory, lambda: sink.place)
        self._counted = collector.config_changes
        self._pid = os.getpid()
        # The kernel as it was at the last look.
        self._raw: list[bytes] = []
        self._rules: list[Rule] = []
        self._settings = Settings(0, 0, 0, 0, 0)
        self._blinded = False
        """It was switched off, and was not meant to be."""
        self._ousted = False
        self._asked_at = 0.0
        self._held: list[Finding] = []
        """Findings of which it may yet be learnt who it was."""
        self._owed: list[Finding] = []
        """Findings that wait to be put back."""

    def begin(self) -> None:
        """Take what is now for what should be."""
        self._ours.take_changes()
        self._see()
        if self._restore:
            self._restorer = Restorer(self._control, self._rules, self._settings)
        self._begun = True

    def look(self) -> None:
        """Look once: find, put back, and write down what is known."""
        if self._waited < _WAIT_FOR_LOADS and self._meant.busy():
            self._waited += 1
            return
        self._waited = 0
        self._look()

    def _look(self) -> None:
        if self._nothing_new():
            self._trail.mark()
            return
        self._take_own_changes()
        probed = self._meant.probed()
        deeds = [deed for deed in self._read_trail() if not is_probing(deed, probed)]
        # The state after the records: what a record tells of shows there, or is undone.
        rules, settings = self._rules, self._settings
        pid = self._see()
        seen = self._rules, self._settings
        on, switched = self._meant.on(), self._meant.switched()
        found = [
            *self._rule_findings(rules, probed.rules),
            *self._setting_findings(settings, on),
            *self._place_findings(pid),
        ]
        self._answer(found, on, probed.rules)
        self._held += found
        self._held += undone(attribute(self._held, deeds), *seen)
        if switched:
            self._held = [finding for finding in self._held if not _was_meant(finding)]
        self._held = [finding for finding in self._held if not self._say(finding)]
        self._trail.mark()

    def last_look(self) -> None:
        """Look, and wait no longer for who it was or for a load; then the rules may go.

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

    def _nothing_new(self) -> bool:
        counted, self._counted = self._counted, self._collector.config_changes
        if counted != self._counted or self._collector.rivals:
            return False
        if self._held or self._owed:
            return False
        status = self._control.status()
        if status.pid != self._pid:
            return False
        self._ousted = False
        return (
            Settings.from_status(status) == self._settings
            and self._control.raw_rules() == self._raw
        )

    def _see(self) -> int:
        """Remember the kernel as it is; gives the daemon's pid."""
        status, self._raw = self._control.status(), self._control.raw_rules()
        self._rules = [Rule.from_bytes(data) for data in self._raw]
        self._settings = Settings.from_status(status)
        return status.pid

    def _take_own_changes(self) -> None:
        """Follow what the service itself changed; that is wanted."""
        kept = [self._rules] if self._restorer is None else [self._rules, self._restorer.rules]
        for change in self._ours.take_changes():
            for rules in kept:
                if change.rule in rules:
                    rules.remove(change.rule)
                if change.verb != "delete":
                    rules.insert(0 if change.verb == "prepend" else len(rules), change.rule)

    def _read_trail(self) -> list[Deed]:
        """Give the deeds of others since the last look; held findings get their calls."""
        try:
            deeds = self._trail.read(f.deed for f in self._held if f.deed is not None)
        except SpoolError as error:
            log.error("who changed rules cannot be read back", why=str(error))  # noqa: TRY400 - no traceback
            return []
        return [deed for deed in deeds if not self._ours.did(deed)]

    # --- findings -------------------------------------------------------------------------

    def _rule_findings(self, before: list[Rule], probed: Collection[Rule]) -> list[Finding]:
        changed = differences(before, self._rules)
        # Whoever deletes an `always` as well must not make a `never` look harmless.
        wanted = before if self._restorer is None else self._restorer.rules
        new = [rule for rule in changed.added if rule not in wanted]
        together = adopt(wanted, self._rules, new)

        def added(rule: Rule) -> Finding:
            harmful = rule in new and takes_cover(together, rule)
            what: What = "never_added" if harmful else "rule_added"
            return Finding(what, printing.text(rule), rule)

        return [
            *(
                Finding("rule_deleted", printing.text(rule), rule)
                for rule in changed.deleted
                if rule not in probed
            ),
            *(added(rule) for rule in changed.added if rule not in probed),
            *(Finding("rule_moved", printing.text(rule), rule) for rule in changed.moved),
        ]

    def _setting_findings(self, before: Settings, on: bool) -> list[Finding]:
        found = []
        for name, old, new in zip(Settings._fields, before, self._settings, strict=True):
            if name == "enabled" and old != new:
                found += self._switch_findings(old, new, on)
            elif name != "enabled" and is_harmful(name, old, new):
                found.append(Finding("setting", change_text(name, old, new), None, name, new))
        return found

    def _switch_findings(self, old: int, new: int, on: bool) -> list[Finding]:
        detail = change_text("enabled", old, new)
        if new == LOCKED:
            detail += " (locked until the next boot)"
            return [Finding("setting", detail, None, "enabled", new)]
        if not new and on:
            self._blinded = True
            return [Finding("switched_off", detail, None, "enabled", new)]
        if new and (self._blinded or not on):
            self._blinded = False
            return [Finding("switched_on", detail, None, "enabled", new)]
        return []

    def _place_findings(self, pid: int) -> list[Finding]:
        """See that the kernel sends its records to us; if not, ask for them again."""
        rivals = self._collector.rivals
        found = [_replaced(rivals.popleft(), refused=True) for _ in range(len(rivals))]
        if pid == self._pid:
            self._ousted = False
            return found
        now = time.monotonic()
        # Every request of ours is a message to whoever has the place.
        if not pid or now - self._asked_at >= AGAIN_SECONDS:
            self._asked_at = now
            self._session.register_again()
        if not self._ousted:
            self._ousted = True
            if pid:
                found.append(_replaced(pid, refused=False))
            else:
                # A reader that stood still for too long (auditd_reset in kernel/audit.c).
                detail = "the kernel had stopped sending records to us"
                found.append(Finding("given_up", detail))
        return found

    # --- answers --------------------------------------------------------------------------

    def _answer(self, found: list[Finding], on: bool, probed: Collection[Rule]) -> None:
        """Put back what can be; sets `restored` of the findings."""
        restorer = self._restorer
        if restorer is None:
            return
        loads = self._meant.loads()
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
                log.error("audit is locked until the next boot: nothing can be put back")
            restorer.surrender(self._rules, self._settings)
            self._owed.clear()
            return
        restorer.settings = restorer.settings._replace(enabled=enabled)
        if not restorer.differs(self._rules, self._settings):
            self._owed.clear()  # somebody else has put it back
            return
        result = restorer.put_back(self._rules, self._settings)
        if result is None:
            for finding in todo:
                finding.restored = "later"
            if todo and not self._owed:
                log.warning("somebody undoes what is put back: it waits", seconds=AGAIN_SECONDS)
            self._owed += todo
            return
        failed: set[object] = {*result.failed_rules, *result.failed_settings}
        for finding in todo:
            is_back = finding.rule not in failed and finding.setting not in failed
            finding.restored = "yes" if is_back else "failed"
        found += [
            Finding("put_back", owed.detail, owed.rule, restored="yes", who=culprit_of(self._pid))
            for owed in self._owed
            if owed.rule not in failed and owed.setting not in failed
        ]
        self._owed.clear()
        self._ours.take_changes()
        self._rules, self._settings = result.rules, result.settings
        self._blinded = False

    def _say(self, finding: Finding) -> bool:
        """Write a finding down, unless it may yet be learnt who it was; tells whether it is."""
        deed = finding.deed
        if deed is not None and deed.call is not None:
            finding.who = deed.call
        elif finding.what != "put_back":
            if not finding.looks:
                finding.looks += 1
                return False
            if finding.what == "given_up":
                finding.restored = "later" if self._ousted else "yes"
            elif deed is not None:
                login = replace(finding.who.actor, auid=deed.auid, ses=deed.ses)
                known = replace(finding.who, actor=login, known_by=finding.who.known_by or "record")
                finding.who = self._trail.opener(deed) or known
        line = self._sink.daemon.line("DAEMON_CONFIG", finding.fields())
        self._sink.put(line, 1)
        if finding.what == "put_back":
            log.info("put back", **finding.shown())
        else:
            self.findings += 1
            log.error("tampering", what=finding.what, **finding.shown())
        return True


def _was_meant(finding: Finding) -> bool:
    """Whether it is what `off` and `on` do: between two looks, or before `on` wrote it down."""
    undone_off = finding.what == "switched_off" and finding.restored == "undone"
    return undone_off or finding.what == "switched_on"


def _replaced(pid: int, *, refused: bool) -> Finding:
    said = "asked to be the audit daemon" if refused else "is the audit daemon now"
    return Finding(
        "replaced", f"pid {pid} {said}", None, "pid", pid, refused=refused, who=culprit_of(pid)
    )
