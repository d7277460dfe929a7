"""`story` says in words what each event did, on both databases, as search sums it up.

The verbs and words stand in `auditsvc.tables` once. The views use them in SQL, search in Python:
both are held equal here, over recorded logs, over generated ones, and over hostile names.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures.logs import call, end, load, record, rows
from fixtures.report_log import report_log
from fixtures.searching import found
from fixtures.sentences import found_sentences, told_sentences

from auditsvc.search import interpret
from auditsvc.search.criteria import Criteria
from auditsvc.search.select import found_events
from auditsvc.search.summary import summary
from auditsvc.tables import arguments, effects, names, verbs

DATA = Path(__file__).parent.parent / "data"
X86_64 = 0xC000003E


def number(name, arch=X86_64):
    """Give the number of a call."""
    return next(nr for nr, each in names.syscalls(arch).items() if each == name)


def made(serial, name, *, arch=X86_64, more="", **fields):
    """Give an event with a call of this name."""
    line = call(serial, nr=number(name, arch), arch=f"{arch:x}", **fields)
    return line + more + end(serial)


# --- what was done, where a record says it better than the call ----------------------------

SSHD = 'exe="/usr/sbin/sshd" hostname=? addr=192.0.2.9 terminal=ssh res=success'
HEAD = "pid=9 uid=0 auid=1000 ses=3"
TOLD = [
    (("LOGIN", "pid=9 uid=0 old-auid=4294967295 auid=1001 old-ses=4294967295 ses=3 res=1"),
     ("changed-login-id-to", "1001", None, "success")),
    (("USER_LOGIN", f"{HEAD} msg='op=login id=1000 {SSHD}'"),
     ("logged-in", "1000", None, "success")),
    (("DEL_USER", f"{HEAD} msg='op=delete-user id=1005 exe=\"/usr/sbin/userdel\" res=success'"),
     ("deleted-user-account", "1005", None, "success")),
    (("DAEMON_CLOSE", "op=close addr=192.0.2.9:60 port=60 res=success"),
     ("remote-audit-disconnected", "192.0.2.9:60", None, "success")),
    (("SECCOMP", "auid=1 uid=1 gid=1 ses=1 pid=9 sig=31 arch=c000003e syscall=165 code=0x0"),
     ("called-seccomp-controlled-syscall", "mount", None, "failed")),
    (("SECCOMP", "auid=1 uid=1 gid=1 ses=1 pid=9 sig=31 arch=c000003e syscall=9999 code=0x0"),
     ("called-seccomp-controlled-syscall", "9999", None, "failed")),
    (("BPF", "prog-id=45 op=UNLOAD"), ("unloaded-bpf-program", "45", None, None)),
    (("CONFIG_CHANGE", "op=set audit_backlog_limit=8192 old=64 auid=1 ses=1 res=1"),
     ("changed-audit-configuration", "audit_backlog_limit", "8192", "success")),
    (("FEATURE_CHANGE", "feature=loginuid_immutable old=0 new=1 old_lock=0 new_lock=1 res=1"),
     ("changed-audit-feature", "loginuid_immutable", "1", "success")),
    (("USER_AVC", f"{HEAD} msg='avc:  received policyload notice (seqno=2)  exe=\"/x\"'"),
     ("accessed-mac-policy-controlled-object", None, None, None)),
    (("DAEMON_ACCEPT", f'op=access id=a command=query data="-x a" cmd="TABLE story" {HEAD} res=1'),
     ("asked-audit-store", "TABLE story", None, "success")),
    (("DAEMON_ACCEPT", f'op=access id=b command=search data="-x a" cmd=(null) {HEAD} res=1'),
     ("asked-audit-store", "search", None, "success")),
    (("DAEMON_CLOSE", f'op=access id=b rows=7 data="done" {HEAD} res=success'),
     ("ended-question-to-audit-store", "done", None, "success")),
]  # fmt: skip
IN_CALLS = [
    ("write", ("MAC_STATUS", "enforcing=0 old_enforcing=1 auid=1 ses=1 res=1"),
     ("changed-selinux-enforcement", "0", None, "security-policy")),
    ("write", ("MAC_CONFIG_CHANGE", "bool=deny_ptrace val=1 old_val=0 auid=1 ses=1"),
     ("changed-selinux-boolean", "deny_ptrace", "1", "security-policy")),
    ("write", TOLD[0][0], ("changed-login-id-to", "1001", None, "user-session")),
    ("sendto", TOLD[7][0],
     ("changed-audit-configuration", "audit_backlog_limit", "8192", "audit-config")),
    ("sendmsg", ("NETFILTER_CFG", "table=filter:3 family=10 entries=1 op=nft_register_rule"),
     ("loaded-firewall-rule-to", "filter:3", None, "firewall")),
    ("bpf", ("BPF", "prog-id=44 op=LOAD"), ("loaded-bpf-program", "44", None, "process")),
    ("setsockopt", ("ANOM_PROMISCUOUS", "dev=veth0 prom=256 old_prom=0 auid=1 ses=1"),
     ("changed-promiscuous-mode-on-device", "veth0", None, "devices")),
    # A new network namespace registers the firewall's tables: that is not what was asked for.
    ("unshare", ("NETFILTER_CFG", "table=filter:3 family=2 entries=4 op=register"),
     ("changed-namespaces-of", "cat", "CLONE_NEWNET", "process")),
]  # fmt: skip


@pytest.mark.usefixtures("ids")
def test_a_record_names_what_it_was_done_to(url):
    """An account by its id, a setting by its name, a call that was refused: not the operation."""
    load(url, "".join(record(kind, n, body) for n, ((kind, body), _) in enumerate(TOLD, start=1)))
    told = rows(url, "SELECT action, object, object2, outcome FROM story ORDER BY event_id")
    assert [tuple(row.values()) for row in told] == [said for _, said in TOLD]
    assert told_sentences(url) == found_sentences(url)


OWN = "auid=4294967295 pid=7 uid=0 ses=4294967295 subj=unconfined"
BY_MIA = "auid=1000 pid=7 uid=0 ses=3 subj=unconfined"
TAMPERING = 'op=tamper what={} list=exit key="k" detail="{}" restored=yes'
SERVICE = [
    ("DAEMON_START", f"op=start ver=auditsvc-1.0 format=raw kernel=6.1.0 {OWN} res=success",
     "system as 0 started audit service, version auditsvc-1.0"),
    ("DAEMON_END", f"op=terminate {OWN} res=success",
     "system as 0 stopped audit service: terminate"),
    ("DAEMON_ABORT", f"op=error reason=no-space {OWN} res=failed",
     "system as 0 stopped audit service on error: no-space"),
    ("DAEMON_ROTATE", f"op=rotate-logs {OWN} res=success", "system as 0 rotated audit logs"),
    ("DAEMON_ERR", f"op=lost kernel=3 spool=0 overflows=0 {OWN} res=failed",
     "system as 0 lost audit records"),
    ("DAEMON_ERR", f"op=forged messages=2 {OWN} res=success",
     "system as 0 discarded forged records"),
    ("DAEMON_ERR", f"op=replace {BY_MIA} res=failed",
     "1000 as 0 tried to take the place of the audit service: failed"),
    ("DAEMON_CONFIG", f"op=reconfigure state=changed {BY_MIA} res=success",
     "1000 as 0 reloaded configuration of audit service: changed"),
    ("DAEMON_CONFIG", ('op=coverage began=1.5 comm="sleep" exe="/bin/sleep" state=covered'
     f" reason=clear threads=1 covered=1 {BY_MIA} res=success"),
     "1000 as 0 had audit coverage checked of process sleep with result covered using /bin/sleep"),
    ("DAEMON_CONFIG", f"op=coverage-look enabled=1 logs=every share=1.0 {OWN} res=success",
     "system as 0 checked audit coverage of all processes"),
    ("DAEMON_CONFIG", f'op=name kind=user id=1000 acct="mia" {OWN} res=success',
     "system as 0 noted name mia for id 1000"),
    ("DAEMON_CONFIG", f"op=name kind=user id=1000 {OWN} res=success",
     "system as 0 noted name as removed for id 1000"),
    ("DAEMON_CONFIG", f'op=cgroup cgroup="/system.slice/a.service" unit=a.service {BY_MIA} res=1',
     "1000 as 0 was seen with a process in control group /system.slice/a.service"),
    ("DAEMON_CONFIG", f'op=cgroup cgroup="/docker/ab" container=ab name="web" {BY_MIA} res=1',
     "1000 as 0 was seen with a process in control group /docker/ab of container web"),
    ("DAEMON_CONFIG", f"op=store state=from-now {OWN} res=success",
     "system as 0 noted state of audit store: from-now"),
    ("DAEMON_CONFIG", f"op=takeover from=5 records=9 state=complete {OWN} res=success",
     "system as 0 took over audit records of an earlier run: complete"),
    ("DAEMON_CONFIG", f"op=verify state=proved findings=0 lines=9 events=3 {BY_MIA} res=success",
     "1000 as 0 verified evidence of audit log: proved"),
    ("DAEMON_CONFIG", f"op=access-unrecorded of_uid=1000 accesses=9 {OWN} res=failed",
     "system as 0 did not record all questions to audit store of user 1000"),
    ("DAEMON_CONFIG", f"op=switch state=off {BY_MIA} res=success", "1000 as 0 switched audit off"),
    ("DAEMON_CONFIG", f"op=register state=given-up {OWN} res=success",
     "system as 0 registered again as audit service"),
    ("DAEMON_CONFIG", f"op=discard state=unsigned segment=8 {OWN} res=failed",
     "system as 0 deleted audit log without signature up to segment 8"),
    ("DAEMON_CONFIG", f"{TAMPERING.format('rule_deleted', '-w /etc -k k')} {BY_MIA} res=success",
     "1000 as 0 deleted audit rule -w /etc -k k"),
    ("DAEMON_CONFIG", f"{TAMPERING.format('never_added', '-a never,task')} {BY_MIA} res=failed",
     "1000 as 0 added audit rule that excludes events: -a never,task: failed"),
    ("DAEMON_CONFIG", ('op=tamper what=setting detail="backlog_limit 64"'
     f" restored=no {BY_MIA} res=success"), "1000 as 0 changed audit setting backlog_limit 64"),
    ("DAEMON_CONFIG", ('op=tamper what=switched_off detail="enabled 1 to 0"'
     f" restored=yes {BY_MIA} res=success"), "1000 as 0 switched off audit: enabled 1 to 0"),
    ("DAEMON_CONFIG", f'op=tamper what=replaced detail="pid 9 asked" {BY_MIA} res=success',
     "1000 as 0 tried to take the place of the audit service"),
    ("DAEMON_CONFIG", "op=tamper what=rows_altered findings=2 restored=no res=success",
     "system found rows of audit store altered, findings: 2"),
    ("CONFIG_CHANGE", 'auid=1000 ses=3 op=add_rule key="k" list=4 res=1',
     "1000 added audit rule with key k"),
    ("CONFIG_CHANGE", "auid=1000 ses=3 op=remove_rule key=(null) list=4 res=1",
     "1000 deleted audit rule with key that is not set"),
    ("CONFIG_CHANGE", 'auid=1000 ses=3 op=updated_rules path="/etc/passwd" key="k" list=4 res=1',
     "1000 had audit rule updated for /etc/passwd"),
    ("USER_AUTH", f"{HEAD} msg='op=PAM:authentication {SSHD}'",
     "1000 as 0 authenticated as an account using /usr/sbin/sshd"),
]  # fmt: skip
"""The service's own records, and others whose operation is not what it was done to."""


@pytest.mark.usefixtures("ids")
def test_the_service_s_own_records_are_told_in_plain_words(url):
    """Each says what was done, to whom it is told for the first time."""
    lines = [record(kind, n, body) for n, (kind, body, _) in enumerate(SERVICE, start=1)]
    load(url, "".join(lines))
    told = told_sentences(url)
    assert [told[event] for event in sorted(told)] == [said for *_, said in SERVICE]
    assert told == found_sentences(url)


PROCESS_WORDS = [
    ("kill", {"a0": "4d2", "a1": "9"}, "sent signal to process 1234 with SIGKILL"),
    ("pidfd_send_signal", {"a0": "3", "a1": "9"}, "sent signal to a process with SIGKILL"),
    ("setuid", {"a0": "7"}, "changed identity of process cat to 7"),
    ("pidfd_open", {"a0": "4d2"}, "opened handle of process 1234"),
    ("ptrace", {"a0": "10", "a1": "4d2"}, "traced process 1234 with PTRACE_ATTACH"),
    ("fork", {}, "created child of process cat"),
    ("exit_group", {"success": None}, "ended process cat"),
    ("shutdown", {}, "shut down connection of a socket"),
    ("kcmp", {}, "compared two processes"),
]


@pytest.mark.one_database
@pytest.mark.usefixtures("ids")
def test_a_sentence_tells_a_process_from_other_things(url):
    """`cat` or `1234` alone could be a file or a user; `shut down` alone the host."""
    calls = enumerate(PROCESS_WORDS, start=1)
    load(url, "".join(made(n, name, items=0, **args) for n, (name, args, _) in calls))
    told = told_sentences(url)
    words = [f"system as 0 {said} using /usr/bin/cat" for *_, said in PROCESS_WORDS]
    assert [told[event] for event in sorted(told)] == words
    assert told == found_sentences(url)


@pytest.mark.usefixtures("ids")
def test_a_call_that_carries_a_request_is_told_by_the_record_of_it(url):
    """`setenforce 0` writes to a file, `nft` sends a message: the kernel says what that was."""
    lines = [
        record(kind, n, body) + made(n, name, a0="40000000")
        for n, (name, (kind, body), _) in enumerate(IN_CALLS, start=1)
    ]
    load(url, "".join(lines))
    told = rows(url, "SELECT action, object, object2, object_kind FROM story ORDER BY event_id")
    assert [tuple(row.values()) for row in told] == [said for *_, said in IN_CALLS]
    assert told_sentences(url) == found_sentences(url)


def test_a_login_user_is_told_alike_alone_and_in_a_call(url):
    """By name in `search`, by id in `story`; that it was taken away is said in words."""
    body = "pid=1 uid=0 old-auid=4294967295 auid={} tty=(none) old-ses=1 ses=4294967295 res=1"
    lines = []
    for n, auid in enumerate((0, 4294967295)):
        lines.append(record("LOGIN", 2 * n, body.format(auid)))
        lines.append(record("LOGIN", 2 * n + 1, body.format(auid)) + made(2 * n + 1, "write"))
    load(url, "".join(lines))
    told = rows(url, "SELECT object FROM story ORDER BY event_id")
    assert [row["object"] for row in told] == ["0", "0", "unset", "unset"]
    with found_events(url, Criteria()) as result:
        assert [summary(event).object for event in result.events] == [
            *("root", "root", "unset", "unset")
        ]


TARGETS = [
    ("ptrace", {"a0": "4206", "a1": "4d2"}, "1234"),
    ("process_vm_writev", {"a0": "4d2"}, "1234"),
    ("prlimit64", {"a0": "4d2", "a1": "7"}, "1234"),
    ("prlimit64", {"a0": "0", "a1": "7"}, "cat"),  # itself
    ("perf_event_open", {"a1": "ffffffff"}, "-1"),  # all
    ("kill", {"a0": "0", "a1": "f"}, "0"),
    ("kill", {"a0": "ffffff00", "a1": "f"}, "-256"),
    ("pidfd_send_signal", {"a0": "3", "a1": "9"}, None),
    ("memfd_create", {}, None),
    ("wait4", {"a0": "ffffffff"}, None),
    ("shmat", {"a0": "7"}, None),
    ("prctl", {"a0": "f"}, "cat"),
    ("mprotect", {}, "cat"),
]
"""Calls, arguments, and the object that the log tells."""


@pytest.mark.one_database
@pytest.mark.usefixtures("ids")
def test_who_calls_is_not_what_it_was_done_to(url):
    """Another process is the one that the arguments name; what they do not tell is not said."""
    lines = [made(n, name, items=0, **args) for n, (name, args, _) in enumerate(TARGETS, start=1)]
    load(url, "".join(lines))
    told = rows(url, "SELECT object FROM story ORDER BY event_id")
    assert [row["object"] for row in told] == [each for *_, each in TARGETS]
    assert told_sentences(url) == found_sentences(url)


@pytest.mark.one_database
def test_what_a_program_was_told_is_not_its_own_word(url):
    """A message that holds exe= and res=: libaudit writes its own after it, and that is shown."""
    text = "op=x exe=forged res=failed terminal=forged hostname=forged"
    own = 'exe="/bin/x" hostname=client.example addr=? terminal=ssh res=success'
    load(url, record("USER_LOGIN", 1, f"{HEAD} msg='{text} acct=\"mia\" {own}'"))
    (row,) = rows(url, "SELECT how, outcome FROM story")
    assert row == {"how": "/bin/x", "outcome": "success"}
    assert rows(url, "SELECT kind FROM logins") == []
    assert found(url, "-x", "/bin/x", "-sv", "yes", "-tm", "ssh", "-hn", "client")
    for words in (("-x", "forged"), ("-tm", "forged"), ("-hn", "forged"), ("-sv", "no")):
        assert not found(url, *words)


# --- the verbs -----------------------------------------------------------------------------


def test_every_call_and_type_has_a_verb():
    """Those of every architecture, and the calls that are in socketcall and ipc."""
    calls = {name for arch in names.arches() for name in names.syscalls(arch).values()}
    parts = {name for of in arguments.PARTS.values() for name in of.values()}
    assert calls | parts <= set(verbs.CALLS)
    assert set(names.record_types().values()) <= set(verbs.TYPES)


def test_what_is_said_of_calls_is_said_of_calls_that_exist():
    """A call that is spelled wrongly would have no effect."""
    for table in (effects.FILES, effects.CONNECTIONS, effects.CHANGES, effects.SECOND):
        assert set(table) <= set(verbs.CALLS)
    assert set(effects.LINKS) | set(effects.OBJECT) | effects.OF_ANOTHER <= set(verbs.CALLS)
    assert set(effects.CHANGES_BY_TYPE) <= set(verbs.TYPES)
    assert {call for call, _ in arguments.ARGUMENTS} <= set(verbs.CALLS)
    # An argument that is the second object has words.
    assert not [c for c in effects.SECOND.items() if c not in arguments.ARGUMENTS]


@pytest.mark.one_database
@pytest.mark.usefixtures("ids")
def test_a_reboot_is_told_from_a_setting_of_its_key(url):
    """Systemd makes the call at each boot, for Ctrl-Alt-Del; ausearch's words stay as they are."""
    load(url, made(1, "reboot", a2="0") + made(2, "reboot", a2="4321fedc"))
    told = told_sentences(url)
    assert told == found_sentences(url)
    assert [text.split(" using")[0].split("rebooted ")[1] for text in told.values()] == [
        *("with CAD_OFF", "with POWER_OFF")
    ]
    with found_events(url, Criteria()) as result:
        assert not any("with" in summary(event).sentence() for event in result.events)
    assert interpret.argument("reboot", 2, "0") == "CAD_OFF"


@pytest.mark.usefixtures("ids")
def test_a_recorded_log_is_told_in_the_same_sentences(url):
    """Each event has a sentence and a verb of its own, in the view as in search."""
    load(url, (DATA / "mixed.log").read_bytes())
    told = told_sentences(url)
    assert len(told) == 170
    assert told == found_sentences(url)
    assert rows(url, "SELECT action FROM story WHERE action LIKE 'made-%'") == []


# An enriched log has names of users, which search shows; the views show ids.
RECORDS = [each for each in sorted(DATA.glob("records/*.log")) if each.stem != "enriched"]


@pytest.mark.one_database
@pytest.mark.usefixtures("ids")
def test_records_of_each_type_are_told_in_the_same_sentences(url):
    """Also those that are not whole, and those that no kernel writes."""
    for log in RECORDS:
        load(url, log.read_bytes(), name=log.stem)
    assert told_sentences(url) == found_sentences(url)


@pytest.mark.usefixtures("ids")
def test_a_log_with_every_type_is_told_in_the_same_sentences(url):
    """Accounts, denials, sessions, virtual machines and all others."""
    load(url, report_log())
    assert told_sentences(url) == found_sentences(url)
