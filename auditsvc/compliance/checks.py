"""The checks of the assessor's page: evidence -> met or not, what was found, what would meet it.

Pure. A check is met only by what was found now; what the evidence cannot show is not met, not
known, or for the reader to show.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from auditsvc.compliance.assessment import Answer, Standing
from auditsvc.compliance.model import IN_FORCE, REVIEW_DAYS, ControlState
from auditsvc.doctor import Level
from auditsvc.doctor.daemons import ENABLED, OUR_UNIT
from auditsvc.plural import counted
from auditsvc.store.databases import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.compliance.evidence import Evidence
    from auditsvc.compliance.frameworks import Framework

    Check = Callable[[Evidence, Framework], Answer]

_DAY: Final = 86400
_VERIFY_DAYS: Final = 7
"""PCI DSS 11.5.2: critical files are compared at least once a week."""
_REVIEW_DAYS: Final = 2
"""A day is reviewed on the next one."""
_LEAST_BACKLOG: Final = 8192
_LOCAL: Final = {None, "", "localhost", "127.0.0.1", "::1"}
_PROTECTED: Final = {"verify-ca", "verify-full"}
_CONTENT: Final = ("time", "host", "uid", "syscall")
"""What no call may lack; who has no login session has no login user, a thread no program."""
_INTERVALS: Final = 3
"""So many of `fleet.interval` the lake may be behind."""
_NAMED: Final = 6
"""Controls that an answer names."""


def check(name: str, evidence: Evidence, framework: Framework) -> Answer:
    """Give the answer of one check."""
    return CHECKS[name](evidence, framework)


def _met(found: str) -> Answer:
    return Answer(Standing.MET, found)


def _not_met(found: str, remedy: str) -> Answer:
    return Answer(Standing.NOT_MET, found, remedy)


def _unknown(found: str, remedy: str = "run it as root, on the host itself") -> Answer:
    return Answer(Standing.UNKNOWN, found, remedy)


def _time(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(second))


def _of_doctor(name: str) -> Check:
    """Take the doctor's findings of this name."""

    def answer(evidence: Evidence, framework: Framework) -> Answer:
        del framework
        found = evidence.findings.get(name, ())
        wrong = [each for each in found if each.level in (Level.WARNING, Level.ERROR)]
        if wrong:
            remedies = dict.fromkeys(each.mend for each in wrong if each.mend)
            return _not_met("; ".join(each.found for each in wrong), "; ".join(remedies))
        said = "; ".join(each.found for each in found)
        if not found or any(each.level is Level.NOTE for each in found):
            remedies = dict.fromkeys(each.mend for each in found if each.mend)
            return _unknown(said or "nothing was found", "; ".join(remedies) or "auditsvc doctor")
        return _met(said)

    return answer


def _of_kernel(name: str, is_met: Callable[[int], bool], words: str, remedy: str) -> Check:
    """Take a number of the kernel's status."""

    def answer(evidence: Evidence, framework: Framework) -> Answer:
        del framework
        value = evidence.status["kernel"].get(name)
        if value is None:
            return _unknown(str(evidence.status["kernel"].get("refused", f"{name} is not told")))
        said = f"{words} is {value}"
        return _met(said) if is_met(int(value)) else _not_met(said, remedy)

    return answer


# --- what is logged ----------------------------------------------------------------------


def _rules(evidence: Evidence, framework: Framework) -> Answer:
    report = evidence.rules
    wanted = framework.rule_set
    remedy = "auditsvc rules report"
    if wanted:
        remedy = f'rules = ["{wanted}"]; auditsvc rules report {wanted}'
    if report is None:
        return _unknown("the rules cannot be read", "auditsvc rules check")
    if report.kernel is None:
        return _unknown(report.unknown.get("kernel", "the kernel does not answer"))
    with_rules = [each for each in report.controls if each.findings]
    in_force = sum(each.state in IN_FORCE for each in with_rules)
    absent = sum(each.state is ControlState.ABSENT for each in with_rules)
    said = f"of {counted(len(with_rules), 'control')} with rules {in_force} are in force"
    if absent:
        said += f", {absent} are not on this host"
    if report.proven:
        return _met(said)
    if not report.kernel.settings.get("enabled", 1):
        return _not_met(f"{said}, but audit is off", "auditsvc run, or auditsvc on")
    names = [each.control.id or each.control.title for each in report.open]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return _not_met(f"{said}; open: {', '.join(names[:_NAMED])}{more}", remedy)


def _audit_on(evidence: Evidence, framework: Framework) -> Answer:
    return _of_kernel("enabled", bool, "the kernel's enabled", "auditsvc on")(evidence, framework)


def _content(evidence: Evidence, framework: Framework) -> Answer:
    del framework
    newest = evidence.newest
    if newest is None:
        return _unknown("the store cannot be read", "auditsvc status")
    if not newest:
        return _not_met("the store has no call", "systemctl start auditsvc; auditsvc status")
    outcome = {None: "outcome unknown", 0: "failed"}.get(newest["success"], "succeeded")
    auid = "unset" if newest["auid"] is None else newest["auid"]
    said = (
        f"the newest call: {newest['time']} UTC, host {newest['host']}, login user {auid}, user"
        f" {newest['uid']}, program {newest['exe']}, {newest['syscall']}, {outcome}"
    )
    lacking = [name for name in _CONTENT if newest[name] is None]
    if lacking:
        return _not_met(f"{said}; without {', '.join(lacking)}", "SELECT * FROM partials")
    return _met(f"{said}; objects are in the views files, paths and connections")


def _guard(evidence: Evidence, framework: Framework) -> Answer:
    del framework
    if evidence.settings.guard == "off":
        return _not_met("guard is off", 'guard = "report"')
    if not evidence.is_running:
        return _not_met("the service does not run", "systemctl start auditsvc")
    return _met(f"guard is {evidence.settings.guard}; the view `tamper` has what it found")


def _coverage(evidence: Evidence, framework: Framework) -> Answer:
    del framework
    share = None if evidence.rules is None else evidence.rules.share
    if share is None:
        return _unknown("which tasks are covered is not known", "auditsvc coverage, as root")
    said = f"{share} tasks are covered" + (f", {share.unknown} unknown" if share.unknown else "")
    if share.not_covered:
        remedy = "audit=1 on the kernel's command line, then a restart; auditsvc coverage"
        return _not_met(f"{said}; {share.not_covered} are not", remedy)
    if share.unknown:
        return _unknown(said, "auditsvc coverage; each task is known after its first record")
    return _met(said)


# --- who reads it, and what becomes of it --------------------------------------------------


def _access_log(evidence: Evidence, framework: Framework) -> Answer:
    del framework
    found = evidence.accesses
    if found is None:
        return _unknown("the view `access` cannot be read", "auditsvc migrate; auditsvc status")
    last = "none" if found.last is None else f"the last at {_time(found.last)}"
    said = f"{counted(found.count, 'access', 'accesses')} on record, {last}"
    if not evidence.settings.access.required:
        return _not_met(f"{said}; one that cannot be recorded goes on", "access.required = true")
    return _met(f"{said}; nothing is read that cannot be recorded")


def _other_host(evidence: Evidence, framework: Framework) -> Answer:
    del framework
    if evidence.settings.fleet.bucket is not None:
        return _shipped(evidence)
    url = parse_url(evidence.settings.store)
    remedy = 'store = "postgresql://auditsvc@HOST/audit?sslmode=verify-full", or fleet.bucket'
    if url.get_backend_name() != "postgresql" or url.host in _LOCAL:
        return _not_met("the store is on this host", remedy)
    waiting = evidence.status["service"].get("spool_waiting")
    if not evidence.is_running:
        return _not_met("the service does not run", "systemctl start auditsvc")
    mode = url.query.get("sslmode", "prefer")
    if mode not in _PROTECTED:
        return _not_met(f"the store is on {url.host}; sslmode is {mode}", remedy)
    return _met(f"the store is on {url.host}, sslmode={mode}; bytes that wait: {waiting}")


def _shipped(evidence: Evidence) -> Answer:
    """See how far the fleet's object store has this host's events; None: Amazon's, by TLS."""
    fleet, facts = evidence.settings.fleet, evidence.status["fleet"]
    place = fleet.endpoint or "Amazon S3"
    said = f"events are shipped to the bucket {fleet.bucket} at {place}"
    parts = urlsplit(fleet.endpoint or "https://s3.amazonaws.com")
    if parts.hostname in _LOCAL:
        return _not_met(f"{said}, which is this host", "fleet.endpoint of another host")
    if parts.scheme != "https":
        return _not_met(f"{said}, not encrypted", f'fleet.endpoint = "https://{parts.netloc}"')
    if "refused" in facts:
        return _unknown(str(facts["refused"]), "auditsvc status")
    if not evidence.is_running:
        return _not_met(f"{said}; the service does not run", "systemctl start auditsvc")
    behind = facts.get("lag_seconds")
    if behind is None or behind > _INTERVALS * fleet.interval:
        how_far = "none has arrived" if behind is None else f"{behind:g} s behind"
        return _not_met(f"{said}; {how_far}", "auditsvc status; journalctl -u auditsvc")
    return _met(f"{said}; {facts['batches']} batches, {behind:g} s behind")


def _seal(evidence: Evidence, framework: Framework) -> Answer:
    del framework
    if not evidence.settings.evidence.enabled:
        return _not_met("the log is not signed", "evidence.enabled = true")
    if evidence.verified is None:
        return _unknown("the store cannot be read", "auditsvc status")
    last = evidence.verified
    if last.at is None:
        return _not_met("the log is signed, and was never verified", "auditsvc verify")
    when = f"verified at {_time(last.at)}"
    if not last.proved:
        return _not_met(f"{when}: not as it was signed", "auditsvc verify, and what it names")
    if evidence.now - last.at > _VERIFY_DAYS * _DAY:
        return _not_met(f"last {when}", f"auditsvc verify, at least every {_VERIFY_DAYS} days")
    return _met(f"{when}: log and store are as they were signed")


def _tool_checksums(evidence: Evidence, framework: Framework) -> Answer:
    del evidence, framework
    return Answer(
        Standing.SHOW,
        "checksums of the program's files are kept by the package manager",
        "show that dpkg --verify auditsvc, or AIDE, runs by a schedule",
    )


def _review(evidence: Evidence, framework: Framework) -> Answer:
    del framework
    remedy = "auditsvc report daily; auditsvc report daily --reviewed"
    if evidence.accesses is None:
        return _unknown("the view `access` cannot be read", "auditsvc migrate; auditsvc status")
    last = evidence.accesses.review
    if last is None:
        return _not_met("no review is on record", remedy)
    said = (
        f"the last review was at {_time(last)}; reviewed on"
        f" {evidence.accesses.review_days} of the last {REVIEW_DAYS} days"
    )
    if evidence.now - last > _REVIEW_DAYS * _DAY:
        return _not_met(said, remedy)
    return _met(said)


def _retention(evidence: Evidence, framework: Framework) -> Answer:
    retention, needed = evidence.settings.retention, framework.keep_days
    oldest = evidence.status["retention"].get("oldest")
    said = f"kept: {retention.keep or 'for ever'}; the oldest event: {oldest or 'none'}"
    if evidence.settings.archive.to is not None:
        return _archived(evidence, framework, said)
    if needed is None:
        remedy = "no retention.keep and no retention.max_bytes"
        return _not_met(said, remedy) if retention.is_limited else _met(said)
    if retention.max_bytes is not None:
        said += f"; the oldest days go above {retention.max_bytes} bytes"
        return _not_met(said, "no retention.max_bytes: days that are asked for may be deleted")
    if retention.days is not None and retention.days < needed:
        return _not_met(said, f'retention.keep = "{needed + 1}d"')
    full = evidence.status["retention"].get("full_in_days")
    if full is not None and full < needed:
        return _not_met(f"{said}; the store is full in {full:.0f} days", "a larger disk")
    if not needed:
        return Answer(Standing.SHOW, said, "compare it with the period that the site has chosen")
    return _met(said)


def _archived(evidence: Evidence, framework: Framework, said: str) -> Answer:
    """Judge what is kept where days that are over go to the archive before they are deleted."""
    archive, retention = evidence.settings.archive, evidence.settings.retention
    facts, needed = evidence.status["archive"], framework.keep_days
    if "refused" in facts:
        return _unknown(str(facts["refused"]), "auditsvc status")
    through = facts.get("through") or "nothing yet"
    said += f"; the archive {archive.to} keeps {archive.keep or 'for ever'}, up to {through}"
    if archive.days is not None and (needed is None or archive.days < needed):
        least = "no archive.keep" if needed is None else f'archive.keep = "{needed + 1}d"'
        return _not_met(said, least)
    if facts.get("waiting_days", 0) > 1:  # that of yesterday is due just now
        waiting = counted(int(facts["waiting_days"]), "day")
        return _not_met(f"{said}; {waiting} to be written", "auditsvc archive; auditsvc status")
    at_hand = framework.at_hand_days
    if retention.max_bytes is not None and at_hand:
        return _not_met(
            f"{said}; the oldest days at hand go above {retention.max_bytes} bytes",
            f'retention.keep = "{at_hand + 1}d", and no retention.max_bytes',
        )
    if retention.days is not None and retention.days < at_hand:
        return _not_met(said, f'retention.keep = "{at_hand + 1}d"')
    if needed == 0:
        return Answer(Standing.SHOW, said, "compare it with the period that the site has chosen")
    return _met(said)


def _fsync(evidence: Evidence, framework: Framework) -> Answer:
    del framework
    policy = evidence.settings.spool.fsync
    if policy == "none":
        return _not_met("spool.fsync is none", 'spool.fsync = "second"')
    return _met(f"spool.fsync is {policy}")


# --- the service, its failures and its space -----------------------------------------------


def _service(evidence: Evidence, framework: Framework) -> Answer:
    del framework
    if not evidence.is_running:
        return _not_met(
            "the service does not run", "systemctl enable auditsvc; systemctl start auditsvc"
        )
    said = (
        f"auditsvc {evidence.status['service'].get('version', '')} runs, which takes auditd's place"
    )
    found = evidence.findings.get(OUR_UNIT, ())
    if any(each.level is Level.WARNING for each in found):
        return _not_met(f"{said}, and is not enabled", f"systemctl enable {OUR_UNIT}")
    if [each.found for each in found] != [ENABLED]:
        return Answer(
            Standing.SHOW,
            "; ".join((said, *(each.found for each in found))),
            "show what starts `auditsvc run` when this host is started",
        )
    return _met(f"{said}, and is enabled")


def _auditd(evidence: Evidence, framework: Framework) -> Answer:
    del evidence, framework
    return Answer(
        Standing.SHOW,
        "auditsvc takes auditd's place; a scanner looks for auditd's package",
        "state auditsvc as a compensating control (docs/from-auditd.md), or run it beside auditd:"
        ' source = "multicast"',
    )


def _health(evidence: Evidence, framework: Framework) -> Answer:
    del framework
    if not evidence.is_running:
        return _not_met("the service does not run", "systemctl start auditsvc")
    if evidence.problems:
        return _not_met("; ".join(evidence.problems), "auditsvc status; auditsvc doctor")
    return _met("the service runs and is well")


def _alerts(evidence: Evidence, framework: Framework) -> Answer:
    del framework
    metrics, alert = evidence.settings.metrics, evidence.settings.alert
    ways = [name for name in ("exec", "mail", "webhook", "journal") if getattr(alert, name)]
    if ways:
        causes = ", ".join(alert.on)
        return _met(f"the service itself tells of {causes} by {', '.join(ways)}")
    if not metrics.is_on:
        return _not_met(
            "nobody is told of a failure",
            'alert.mail = ["root"]; or metrics.listen = "unix:/run/auditsvc-metrics/socket", and '
            "the rules of packaging/grafana/alerts.yml in Prometheus",
        )
    return Answer(
        Standing.SHOW,
        f"figures are offered at {metrics.listen or metrics.textfile}",
        "show that Prometheus has the rules of packaging/grafana/alerts.yml, and who is told",
    )


def _losses(evidence: Evidence, framework: Framework) -> Answer:
    del framework
    if evidence.lost is None:
        return _unknown("the store's ledger cannot be read", "auditsvc status")
    if evidence.lost:
        causes = ", ".join(f"{count} {cause}" for cause, count in sorted(evidence.lost.items()))
        return _not_met(
            f"records lost, of all that is stored: {causes}",
            "explain each (SELECT * FROM ledger); a larger kernel.backlog_limit and "
            "kernel.receive_buffer, more room for the spool",
        )
    return _met("the ledger has no lost record")


def _space(evidence: Evidence, framework: Framework) -> Answer:
    spool = _of_doctor("disk: spool")(evidence, framework)
    store = _of_doctor("disk: store")(evidence, framework)
    forecast = evidence.status["retention"].get("forecast", "unknown")
    said = f"{spool.found}; {store.found}; forecast: {forecast}"
    for each in (spool, store):
        if each.standing is not Standing.MET:
            return Answer(each.standing, said, each.remedy)
    return _met(said)


def _backlog(evidence: Evidence, framework: Framework) -> Answer:
    return _of_kernel(
        "backlog_limit",
        lambda value: not value or value >= _LEAST_BACKLOG,
        "the kernel's backlog limit",
        "kernel.backlog_limit = 16384, and audit_backlog_limit=8192 on the kernel's command line",
    )(evidence, framework)


def _tools(evidence: Evidence, framework: Framework) -> Answer:
    del framework
    found: Any = evidence.writable_tools
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        return _not_met(
            f"another user than root may change {found[0]}{more}",
            f"chown -R root {found[0]}; chmod -R go-w {found[0]}",
        )
    return _met("only root may change the program")


CHECKS: Final[dict[str, Check]] = {
    "rules": _rules,
    "audit on": _audit_on,
    "content": _content,
    "guard": _guard,
    "coverage": _coverage,
    "access log": _access_log,
    "modes": _of_doctor("modes"),
    "settings file": _of_doctor("settings file"),
    "tools": _tools,
    "seal": _seal,
    "tool checksums": _tool_checksums,
    "other host": _other_host,
    "review": _review,
    "retention": _retention,
    "clock": _of_doctor("clock"),
    "store": _of_doctor("store"),
    "audit=1": _of_doctor("boot: audit="),
    "backlog": _backlog,
    "fsync": _fsync,
    "service": _service,
    "auditd": _auditd,
    "health": _health,
    "alerts": _alerts,
    "losses": _losses,
    "space": _space,
    "failure mode": _of_kernel(
        "failure",
        lambda value: value == 2,
        "the kernel's failure mode",
        "-f 2 in a rule file (the machine stops when audit fails), or state as a compensating"
        " control that every loss is counted and shown",
    ),
    "lock": _of_kernel(
        "enabled",
        lambda value: value == 2,
        "the kernel's enabled",
        "-e 2 at the end of the rules (until the next start of the machine), or guard = "
        '"restore" as a compensating control',
    ),
    "login uids": _of_doctor("login uid immutable"),
}
"""Each check by its name, as the lines of the frameworks have them."""
