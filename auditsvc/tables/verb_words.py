"""What a sentence of `story` says for a verb; maintained by hand.

A verb (`auditsvc.tables.verbs`) is a word of ausearch's; a sentence is for somebody who has never
read an audit record. What stands nowhere here is said as it is, without its hyphens.
"""

from __future__ import annotations

from typing import Final

SAID: Final = {
    "logged-in": "logged in as",
    "crypto-officer-logged-in": "logged in as crypto officer",
    "crypto-officer-logged-out": "logged out as crypto officer",
    "logged-out": "logged out as",
    "authenticated": "authenticated as",
    "was-authorized": "was authorized as",
    "acquired-credentials": "acquired credentials of",
    "refreshed-credentials": "refreshed credentials of",
    "disposed-credentials": "gave up credentials of",
    "changed-login-id-to": "changed login user to",
    "changed-password": "changed password of",
    "changed-group-password": "changed group password of",
    "changed-group": "changed id of group",
    "changed-user-id": "changed id of user",
    "added-group-account-to": "added group",
    "deleted-group-account-from": "deleted group",
    "modified-group-account": "changed group",
    "modified-user-account": "changed user account",
    "caused-account-error": "met an error with account",
    "assigned-user-role-to": "gave a role to",
    "removed-user-role-from": "took a role from",
    "started-session": "started session for",
    "ended-session": "ended session of",
    "became-root-unexpectedly": "became root unexpectedly as",
    "failed-log-in-too-many-times-to": "failed too many times to log in to",
    "attempted-log-in-during-unusual-hour-to": "tried at an unusual hour to log in to",
    "attempted-log-in-from-unusual-place-to": "tried from an unusual place to log in to",
    "attempted-log-in-to-watched-account": "tried to log in to watched account",
    "opened-too-many-sessions-to": "opened too many sessions of",
    "started-crypto-session": "started encrypted session with",
    "negotiated-crypto-key": "used encryption key",
    "started-audit": "started audit service, version",
    "shutdown-audit": "stopped audit service:",
    "aborted-auditd-startup": "did not start audit service:",
    "stopped-audit-on-error": "stopped audit service on error:",
    "changed-auditd-configuration": "reloaded configuration of audit service:",
    "lost-audit-records": "reported trouble with audit records:",
    "missed-audit-records": "lost audit records",
    "listened-to-audit": "listened to audit records:",
    "tried-to-replace-audit": "tried to take the place of the audit service",
    "remote-audit-connected": "accepted remote audit connection from",
    "remote-audit-disconnected": "closed remote audit connection from",
    "asked-audit-store": "asked audit store:",
    "ended-question-to-audit-store": "ended question to audit store:",
    "left-questions-unrecorded": "did not record all questions to audit store of user",
    "noted-audit-store": "noted state of audit store:",
    "took-over-audit-records": "took over audit records of an earlier run:",
    "verified-audit-evidence": "verified evidence of audit log:",
    "deleted-unsigned-segments": "deleted audit log without signature up to segment",
    "registered-again": "registered again as audit service",
    "lost-registration": "lost registration as audit service:",
    "was-checked-for": "had audit coverage checked of",
    "checked-coverage-of-all": "checked audit coverage of all processes",
    "noted-name": "noted name",
    "noted": "was seen with a process in control group",
    "added-audit-rule": "added audit rule with key",
    "deleted-audit-rule": "deleted audit rule with key",
    "updated-audit-rule": "had audit rule updated for",
    "removed-audit-rule": "deleted audit rule",
    "moved-audit-rule": "moved audit rule",
    "inserted-audit-rule": "added audit rule",
    "inserted-excluding-rule": "added audit rule that excludes events:",
    "switched-off-audit": "switched off audit:",
    "switched-on-audit": "switched on audit:",
    "restored-audit-configuration": "restored audit configuration:",
    "found-audit-log-altered": "found audit log altered:",
    "found-rows-altered": "found rows of audit store altered, findings:",
    "initialized-audit-subsystem": "initialized audit subsystem with",
    "shutdown-system": "shut down system",
    "told-kernel-message": "reported kernel message",
    "sent-test": "sent test message",
    "changed-selinux-enforcement": "changed SELinux enforcement to",
    "changed-selinux-boolean": "changed SELinux boolean",
    "loaded-selinux-policy": "loaded SELinux policy",
    "caused-selinux-error": "caused SELinux error",
    "changed-apparmor-profiles": "changed AppArmor profiles",
    "changed-landlock-domain": "changed Landlock domain",
    "loaded-mac-policy": "loaded security policy",
    "changed-mac-configuration": "changed configuration of security policy",
    "added-mac-network-domain-mapping-to": "added security labels of network domain",
    "deleted-mac-network-domain-mapping-from": "deleted security labels of network domain",
    "changed-network-label-of": "changed security label of",
    "changed-ipsec-label-of": "changed IPsec security label of",
    "told-labels-of": "named security labels of",
    "overrode-label-of": "overrode security label of",
    "modified-level-of": "changed security level of",
    "accessed-mac-policy-controlled-object": "asked security policy for access to",
    "used-apparmor-controlled-object": "asked AppArmor for access to",
    "used-landlock-controlled-object": "asked Landlock for access to",
    "used-ipe-controlled-object": "asked integrity policy for access to",
    "accessed-policy-controlled-file": "asked access policy for file",
    "called-seccomp-controlled-syscall": "made call that seccomp restricts:",
    "used-suspicious-link": "used suspicious link in call",
    "controlled-vm": "controlled virtual machine",
    "assigned-vm-resource": "assigned resource of virtual machine",
    "assigned-vm-id": "assigned id of virtual machine",
    "created-vm-image": "created image of virtual machine",
    "deleted-vm-image": "deleted image of virtual machine",
    "migrated-vm-from": "migrated virtual machine from",
    "migrated-vm-to": "migrated virtual machine to",
    "loaded-bpf-program": "loaded BPF program",
    "unloaded-bpf-program": "unloaded BPF program",
    "used-bpf-program": "used BPF program",
    "used-bpf": "called BPF",
    "used-io-uring": "used io_uring",
    "performed-io-uring-operation": "performed operation of io_uring",
    "used-asynchronous-io": "used asynchronous I/O",
    "changed-cpu-state-of": "changed CPU state of",
    "yielded-cpu-of": "yielded CPU of",
    "read-cpu-number-of": "read CPU number of",
    "checked-filesystem-metadata-of": "checked metadata of file system of",
    "made-device": "created device or special file",
    "controlled": "made control call on",
    "killed-pid": "sent signal to",
    "opened-process": "opened handle of",
    "created-process-from": "created child of",
    "made-unrecorded-call": "made call of which only parts are recorded, about",
    "slept": "slept in",
    "returned-from-signal-handler": "returned from signal handler in",
    "waited-for-signal": "waited for signal in",
    "shut-down": "shut down connection of",
    "compared": "compared two processes",
}
"""What a sentence says for a verb that people do not say so, before an object."""

_UNNAMED: Final = {
    "a file": "read-from wrote-to closed moved-position-in controlled checked-metadata-of locked"
    " changed-file-permissions-of changed-file-ownership-of changed-file-attributes-of"
    " checked-filesystem-metadata-of changed-timestamp-of flushed copied-data-to waited-for-events-on advised-kernel-about watched"
    " stopped-watching deleted renamed linked symlinked read-path-of checked-integrity-of exported"
    " updated-audit-rule",
    "a program": "executed",
    "a directory": "changed-directory-to changed-root-directory-to",
    "a file system": "controlled-quota-of listed-mounts-of mounted"
    " unmounted changed-mount-attributes-of",
    "a socket": "accepted-connection-from bound-socket connected-to listened-on received-from sent-to"
    " shut-down read-address-of read-options-of changed-options-of",
    "a process": "ended waited-for killed-pid traced read-memory-of wrote-memory-of opened-process"
    " took-descriptor-of was-checked-for created-process-from changed-identity-of changed-privileges-of"
    " changed-namespaces-of changed-settings-of restricted-calls-of changed-limits-of"
    " adjusted-scheduling-policy-of listed-namespaces-of read-working-directory-of"
    " read-process-id-of read-identity-of read-capabilities-of read-security-label-of"
    " read-limits-of read-usage-of read-scheduling-policy-of yielded-cpu-of"
    " changed-process-group-of changed-file-mode-mask-of changed-execution-domain-of"
    " restricted-access-of traced-performance-of synchronised-threads-of"
    " registered-thread-memory-of read-thread-memory-of changed-cpu-state-of read-cpu-number-of"
    " resumed-call-of set-timer-of read-timer-of created-timer-of deleted-timer-of"
    " changed-signal-handler-of changed-signal-mask-of changed-signal-stack-of"
    " read-pending-signals-of slept returned-from-signal-handler waited-for-signal"
    " allocated-memory-in protected-memory-of freed-memory-of advised-kernel-about-memory-of"
    " locked-memory-of unlocked-memory-of sealed-memory-of changed-memory-keys-of"
    " mapped-memory-of reaped-memory-of read-memory-policy-of changed-memory-policy-of"
    " handled-page-faults-of read-bounding-capability-of dropped-bounding-capability-of"
    " changed-ambient-capability-of",
    "without a name": "crypto-officer-logged-in crypto-officer-logged-out noted changed-group"
    " changed-user-id authenticated-to-group added-mac-network-domain-mapping-to"
    " deleted-mac-network-domain-mapping-from",
    "an account": "logged-in logged-out authenticated was-authorized acquired-credentials"
    " refreshed-credentials disposed-credentials changed-password changed-group-password"
    " started-session ended-session became-root-unexpectedly failed-log-in-too-many-times-to"
    " attempted-log-in-during-unusual-hour-to attempted-log-in-from-unusual-place-to"
    " changed-login-id-to changed-role-to assigned-user-role-to removed-user-role-from"
    " caused-account-error opened-too-many-sessions-to",
    "an address": "started-crypto-session remote-audit-connected remote-audit-disconnected"
    " failed-too-many-times-from",
    "an object": "accessed-mac-policy-controlled-object used-apparmor-controlled-object"
    " used-landlock-controlled-object used-ipe-controlled-object told-labels-of overrode-label-of"
    " modified-level-of checked-permission-of reached-limit-of",
    "an unknown one": "called-seccomp-controlled-syscall",
    "an address of the network": "changed-network-label-of changed-ipsec-label-of",
    "the system": "failed-self-test-of tested-file-system-integrity-of",
    "no file": "switched-process-accounting-to",
    "another value": "changed-selinux-enforcement",
    "the firewall": "loaded-firewall-rule-to",
    "a session": "behaved-unusually-in",
    "another host": "migrated-vm-from migrated-vm-to",
    "its defaults": "initialized-audit-subsystem",
    "an unknown object": "made-unrecorded-call",
    "no cause told": "shutdown-audit aborted-auditd-startup lost-audit-records listened-to-audit"
    " stopped-audit-on-error lost-registration found-audit-log-altered",
    "not told": "started-audit changed-auditd-configuration noted-audit-store"
    " took-over-audit-records verified-audit-evidence deleted-unsigned-segments switched-off-audit"
    " switched-on-audit restored-audit-configuration inserted-excluding-rule found-rows-altered",
    "that is not told": "left-questions-unrecorded",
    "that is not set": "added-audit-rule deleted-audit-rule",
    "as removed": "noted-name",
    "no question told": "asked-audit-store",
    "no end told": "ended-question-to-audit-store",
}
UNNAMED: Final = {verb: words for words, verbs in _UNNAMED.items() for verb in verbs.split()}
"""What a sentence calls an object that an event does not name: each verb that ends in a
preposition needs one, here or in SAID."""

PROCESSES: Final = frozenset(verb for verb, words in UNNAMED.items() if words == "a process")
"""Verbs whose object is a process: a sentence says so, as its name or number alone does not."""

FAILURES: Final = frozenset(
    (
        *("aborted-auditd-startup", "stopped-audit-on-error", "lost-audit-records"),
        *("missed-audit-records", "left-questions-unrecorded", "deleted-unsigned-segments"),
    )
)
"""Verbs that tell a failure themselves: that it failed would say that there was none."""
