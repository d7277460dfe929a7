"""The lines of each framework, and which checks answer them.

PCI DSS 4.0 requirement 10; DISA STIG RHEL 9 version 2, its audit part; NIST SP 800-53 revision 5,
family AU; CIS Debian 12 version 1.1.0 section 6.2; ISO/IEC 27001:2022 annex A. The rules of the
shipped sets, control by control, are in `auditsvc rules report`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from auditsvc.compliance.assessment import Line


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework; `rule_set` is the shipped set with its rules, None: what `run` loads."""

    title: str
    lines: tuple[Line, ...]
    rule_set: str | None = None
    keep_days: int | None = 0
    """For how many days events must be kept at least; 0: the site decides; None: for ever."""
    at_hand_days: int = 0
    """For how many of them events must be at hand, in the store and not in the archive alone."""


PCI: Final = Framework(
    "PCI DSS 4.0, requirement 10",
    (
        Line("10.2.1", "Access, administration, refusals and changes are logged", ("rules",)),
        Line("10.2.1.3", "Access to the audit log itself is logged", ("access log",)),
        Line("10.2.1.6", "Start, stop and change of audit are logged", ("guard", "audit on")),
        Line("10.2.2", "Who, what, when, where from, the object, the outcome", ("content",)),
        Line("10.3.1", "Only who needs it can read the log", ("modes", "settings file")),
        Line("10.3.2", "The log is protected from changes", ("modes",)),
        Line("10.3.3", "The log is promptly copied to another host", ("other host",)),
        Line("10.3.4", "A change of the log is noticed", ("seal",)),
        Line("10.4.1", "The log is reviewed each day", ("review",)),
        Line("10.4.1.1", "By automated means", ("review",)),
        Line("10.5.1", "Kept 12 months, 3 of them at hand", ("retention",)),
        Line("10.6.1", "The clock is synchronised", ("clock",)),
        Line("10.6.3", "Changes of the clock are logged", ("rules",)),
        Line("10.7.2", "A failure of audit is noticed and alerted", ("health", "alerts")),
        Line("10.7.3", "And answered: nothing was lost", ("losses", "coverage")),
    ),
    "pci-dss-4.0",
    365,
    90,
)

STIG: Final = Framework(
    "DISA STIG RHEL 9, audit",
    (
        Line("RHEL-09-653010", "The package audit is installed", ("auditd",)),
        Line("RHEL-09-653015", "The audit service is enabled and runs", ("service",)),
        Line("RHEL-09-212055", "Tasks that start before the service are audited", ("audit=1",)),
        Line("RHEL-09-653120", "The backlog is long enough", ("backlog",)),
        Line("RHEL-09-654010 ff.", "The rules of the STIG are loaded", ("rules",)),
        Line("RHEL-09-654265", "A failure of audit stops the system", ("failure mode",)),
        Line("RHEL-09-654270", "Login uids cannot be changed", ("login uids",)),
        Line("RHEL-09-654275", "The configuration of audit is locked", ("lock",)),
        Line("RHEL-09-653030", "Room for a week of records", ("retention", "space")),
        Line("RHEL-09-653035", "A warning at 75 % of the space", ("space", "alerts")),
        Line("RHEL-09-653020", "A disk error is answered", ("health", "alerts")),
        Line("RHEL-09-653060", "Records are sent to another host", ("other host",)),
        Line("RHEL-09-653080", "Modes and owner of the log", ("modes",)),
        Line("RHEL-09-653085", "Modes and owner of its folder", ("modes",)),
        Line("RHEL-09-653095", "Records are written to disk in time", ("fsync",)),
        Line("RHEL-09-653100", "Records have the name of the host", ("content",)),
        Line("RHEL-09-232035", "Modes of the audit tools", ("tools",)),
        Line("RHEL-09-651025", "The audit tools are protected by checksums", ("tool checksums",)),
    ),
    "stig-rhel9",
    7,
)

NIST: Final = Framework(
    "NIST SP 800-53 revision 5, family AU",
    (
        Line("AU-2, AU-12", "The chosen events are logged", ("rules", "coverage")),
        Line("AU-3, AU-3(1)", "Content of records", ("content",)),
        Line("AU-4", "Capacity of the log", ("space",)),
        Line("AU-4(1)", "Transfer to another system", ("other host",)),
        Line("AU-5", "Response to failures of audit", ("health", "alerts")),
        Line("AU-5(1)", "A warning before the space is used up", ("space", "alerts")),
        Line("AU-6, AU-6(1)", "Review, analysis and reporting", ("review",)),
        Line("AU-7, AU-7(1)", "Reduction and reports on demand", ("store",)),
        Line("AU-8", "Time stamps", ("clock",)),
        Line("AU-9", "Protection of audit information", ("modes", "settings file", "tools")),
        Line("AU-9(2)", "A copy on another system", ("other host",)),
        Line("AU-9(3)", "Cryptographic protection", ("seal",)),
        Line("AU-9(4)", "Access by few privileged users, on record", ("modes", "access log")),
        Line("AU-10", "Non-repudiation", ("seal", "login uids")),
        Line("AU-11", "Retention", ("retention",)),
        Line("AU-12(3)", "Changes of what is audited", ("guard",)),
        Line("AU-14(1)", "Audit from the start of the system", ("audit=1",)),
    ),
)

CIS: Final = Framework(
    "CIS Debian 12, section 6.2",
    (
        Line("6.2.1.1", "The packages of auditd are installed", ("auditd",)),
        Line("6.2.1.2", "The audit service is enabled and runs", ("service",)),
        Line("6.2.1.3", "Tasks that start before the service are audited", ("audit=1",)),
        Line("6.2.1.4", "The backlog is long enough", ("backlog",)),
        Line("6.2.2.1", "The size of the log is configured", ("space",)),
        Line("6.2.2.2", "Logs are not deleted automatically", ("retention",)),
        Line("6.2.2.3", "The system stops when the log is full", ("failure mode",)),
        Line("6.2.2.4", "A warning when space is low", ("space", "alerts")),
        Line("6.2.3.1 to .19", "The rules of the benchmark are loaded", ("rules",)),
        Line("6.2.3.20", "The configuration of audit is locked", ("lock",)),
        Line("6.2.4.1 to .4", "Modes and owner of the log and its folder", ("modes",)),
        Line("6.2.4.5 to .7", "Modes and owner of the settings", ("settings file",)),
        Line("6.2.4.8 to .10", "Modes and owner of the tools", ("tools",)),
    ),
    "cis-debian",
    None,
)

ISO: Final = Framework(
    "ISO/IEC 27001:2022, annex A: logging",
    (
        Line("A.8.15", "Activities, exceptions and faults are logged", ("rules", "content")),
        Line("A.8.15 protection", "Logs are protected", ("modes", "settings file", "seal")),
        Line("A.8.15 copies", "Logs are kept on another system", ("other host",)),
        Line("A.8.15 access", "Who reads the logs is on record", ("access log",)),
        Line("A.8.15 analysis", "Logs are analysed", ("review",)),
        Line("A.8.16", "Anomalies and failures are noticed", ("health", "losses", "alerts")),
        Line("A.8.17", "The clock is synchronised", ("clock",)),
        Line("A.5.28", "Evidence is kept and complete", ("retention", "losses", "coverage")),
    ),
)

FRAMEWORKS: Final = {"pci": PCI, "stig": STIG, "nist": NIST, "cis": CIS, "iso": ISO}
