"""The views of connections, denials and logins say what the log says, on both databases."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
from pathlib import Path

from fixtures.logs import SECOND, call, end, load, record, rows

from auditsvc.render.rows import Format, write_rows
from auditsvc.store.read.sql import run_query

AULAST = Path(__file__).parents[2] / "build/peers/usr/bin/aulast"
INET = "02000050C00002070000000000000000"
BIG_ENDIAN = "00020050C0000207"


CONNECT = {"x86_64": (42, "c000003e", INET), "i386": (102, "40000003", INET)}
"""Number, architecture and address; i386 and s390x have socketcall."""
CONNECT["s390x"] = (102, "80000016", BIG_ENDIAN)
RESULTS = {0: ("success", None), -115: ("in progress", "EINPROGRESS")}
RESULTS[-111] = ("failed", "ECONNREFUSED")


def test_a_connect_that_goes_on_has_not_failed(url):
    """Also in socketcall, whose first argument says which call it is."""
    lines = []
    for nr, arch, saddr in CONNECT.values():
        for result in RESULTS:
            serial = len(lines) + 1
            success = "no" if result else "yes"
            line = call(serial, nr=nr, arch=arch, a0="3", success=success, exit=result)
            lines.append(line + record("SOCKADDR", serial, f"saddr={saddr}") + end(serial))
    load(url, "".join(lines))
    shown = "action, address, port, outcome, errno, syscall"
    found = rows(url, f"SELECT {shown} FROM connections ORDER BY event_id")
    assert [list(row.values()) for row in found] == [
        ["connect", "192.0.2.7", 80, outcome, errno, "connect"]
        for outcome, errno in RESULTS.values()
    ] * len(CONNECT)


def session(serial, second, *, pid=700, ses=5, ended=True):
    """Give a login, from the first record to the end."""
    lines = [
        record("LOGIN", serial, f"pid={pid} uid=0 old-auid=4294967295 auid=0 tty=(none)"
               f" old-ses=4294967295 ses={ses} res=1", second=second),
        record("USER_LOGIN", serial + 1, f"pid={pid} uid=0 auid=0 ses={ses} msg='op=login id=0"
               ' exe="/usr/sbin/sshd" hostname=client.example addr=192.0.2.9 terminal=ssh'
               " res=success'", second=second + 1),
    ]  # fmt: skip
    if ended:
        said = 'op=PAM:session_close acct="root" exe="/usr/sbin/sshd" terminal=ssh res=success'
        head = f"pid={pid} uid=0 auid=0 ses={ses}"
        lines.append(record("USER_END", serial + 2, f"{head} msg='{said}'", second=second + 60))
    return "".join(lines)


def test_logins_are_those_of_aulast(url, tmp_path):
    """The same sessions, with the same proof: closed, opened again without a logout, open."""
    log = session(10, SECOND) + session(20, SECOND + 100, pid=701, ses=6, ended=False)
    log += session(30, SECOND + 200, pid=702, ses=6) + session(40, SECOND + 300, ses=8, ended=False)
    (tmp_path / "log").write_text(log)
    done = subprocess.run(
        [AULAST, "-f", tmp_path / "log", "--proof"], capture_output=True, text=True, check=True
    )
    proofs = re.findall(r"proof serial numbers?: ([\d, ]+)", done.stdout)
    theirs = sorted(tuple(map(int, each.split(","))) for each in proofs)
    load(url, log)
    columns = ("event_id", "user_login_event_id", "end_event_id")
    serials = {row["event_id"]: row["serial"] for row in rows(url, "SELECT * FROM events")}
    found = rows(url, "SELECT * FROM logins ORDER BY event_id")
    assert [row["how_ended"] for row in found] == ["logout", "gone", "logout", None]
    for row in found:  # what aulast does not name as a proof
        row["end_event_id"] = row["end_event_id"] if row["how_ended"] == "logout" else None
    ours = [tuple(serials.get(row[column], 0) for column in columns) for row in found]
    assert ours == theirs


CALLER = 'pid=9 uid=0 auid=1000 ses=3 comm="x" exe="/bin/x"'
AVC = (
    'avc:  {} {{ read write }} for  pid=9 comm="x" path="/srv/f" scontext=u:r:a:s0'
    " tcontext=u:r:b:s0 tclass=file permissive={}"
)
APPARMOR = 'apparmor="{}" operation="open" profile="/bin/x" name="/srv/f" pid=9 comm="x"'
SMACK = 'lsm=SMACK fn=x action={} subject="a" object="b" requested=r pid=9 path="/srv/f"'
LANDLOCK = 'domain=1a blockers=fs.read_file path="/srv/f" dev="sda1" ino=5'
DENIED = [
    ("AVC", AVC.format("denied", 0), "selinux", True, "read,write"),
    ("AVC", AVC.format("denied", 1), "selinux", False, "read,write"),
    ("AVC", AVC.format("granted", 0), None, None, None),
    ("AVC", APPARMOR.format("DENIED"), "apparmor", True, "open"),
    ("AVC", APPARMOR.format("ALLOWED"), "apparmor", False, "open"),
    ("AVC", APPARMOR.format("STATUS"), None, None, None),
    ("AVC", SMACK.format("denied"), "smack", True, "r"),
    ("AVC", SMACK.format("granted"), None, None, None),
    ("LANDLOCK_ACCESS", LANDLOCK, "landlock", True, "fs.read_file"),
    ("SECCOMP", f"{CALLER} sig=31 arch=c000003e syscall=41 compat=0 ip=0x0 code=0x80000000",
     "seccomp", True, "socket"),
    ("SECCOMP", f"{CALLER} sig=0 arch=40000003 syscall=102 compat=1 ip=0x0 code=0x7ffc0000",
     "seccomp", False, "socketcall"),
]  # fmt: skip


def test_denials_stand_alone_and_in_calls(url):
    """The same record says the same as an event of its own and in the middle of a call."""
    lines = []
    for n, (kind, body, *_) in enumerate(DENIED):
        lines.append(record(kind, 2 * n, body) + end(2 * n))
        if kind != "SECCOMP":  # which the kernel never writes into a call
            lines += [call(2 * n + 1, nr=0), record(kind, 2 * n + 1, body), end(2 * n + 1)]
    load(url, "".join(lines))
    sql = "SELECT a.serial, d.* FROM denials d JOIN all_events a ON a.event_id = d.event_id"
    told = {row["serial"]: row for row in rows(url, sql)}
    for n, (kind, _, mechanism, enforced, permission) in enumerate(DENIED):
        for serial in (2 * n,) if kind == "SECCOMP" else (2 * n, 2 * n + 1):
            row = told.get(serial)
            said = row and (row["mechanism"], bool(row["enforced"]), row["permission"])
            assert said == (mechanism and (mechanism, enforced, permission)), (kind, serial)
            if row and kind != "SECCOMP":
                assert row["object"] == "/srv/f"
                assert row["syscall"] == ("read" if serial & 1 else None)


def test_only_what_was_refused_is_a_denial(url):
    """Not a password that was changed, nor what a program says of a policy that it received."""
    head = "pid=9 uid=0 auid=1000 ses=3"
    avc = 'avc:  {} exe="/usr/bin/dbus-daemon" sauid=81 hostname=? addr=? terminal=?'
    refused = "denied  { send_msg } for scontext=u:r:a:s0 tcontext=u:r:b:s0 tclass=dbus "
    said = [
        ("USER_CHAUTHTOK", 'op=change-password id=1000 exe="/usr/bin/passwd" res=success'),
        ("USER_AVC", avc.format("received policyload notice (seqno=2) ")),
        ("USER_AVC", avc.format(refused)),
        ("USER_AVC", avc.format(refused.replace("denied", "granted"))),
        ("USER_SELINUX_ERR", "op=x scontext=u:r:a:s0 tcontext=u:r:b:s0 tclass=dbus"),
    ]
    lines = [record(kind, n, f"{head} msg='{body}'") for n, (kind, body) in enumerate(said)]
    # With ipe.success_audit=1.
    ipe = 'ipe_op=EXECUTE ipe_hook=BPRM_CHECK enforcing=1 path="/x" rule="op=EXECUTE action={}"'
    lines += [record("1420", 10 + n, ipe.format(act)) for n, act in enumerate(("ALLOW", "DENY"))]
    load(url, "".join(lines))
    sql = (
        "SELECT e.type, d.permission FROM denials d JOIN events e USING (event_id)"
        " ORDER BY d.event_id"
    )
    assert [tuple(row.values()) for row in rows(url, sql)] == [
        ("USER_AVC", "send_msg"),
        ("USER_SELINUX_ERR", "x"),
        ("IPE_ACCESS", None),
    ]


def test_no_argument_looks_like_several(url):
    """Arguments with blanks or quotes stand in a shell's quotes, from which it reads the same."""
    argv = ["sh", "-c", "a 'b' c", "", "it's", 'say "hi"', "tab\there", "x\ny", "a\\", "$HOME"]
    told = " ".join(f"a{n}={each.encode().hex().upper() or 0}" for n, each in enumerate(argv))
    told = told.replace("a3=0", 'a3=""')
    load(url, call(1, nr=59) + record("EXECVE", 1, f"argc={len(argv)} {told}") + end(1))
    (row,) = rows(url, "SELECT command FROM commands")
    assert shlex.split(row["command"]) == argv


def test_commands_and_changes_stand_alone_and_in_calls(url):
    """Sudo, su, shells, keystrokes; rules, accounts, modules, the clock, mounts."""
    head = "pid=9 uid=0 auid=1000 ses=3"
    rule = 'auid=1000 ses=3 op={} key="k" list=4 res=1'
    argv = 'argc=3 a0="sh" a1="-c" a2="id; ls"'
    events = [
        [("USER_CMD", (f"{head} msg='cwd=\"/root\" cmd=6C73202D6C exe=\"/usr/bin/sudo\""
          " terminal=pts/0 res=failed'"))],
        [("USER_START", (f"{head} msg='op=PAM:session_open acct=\"eve\" exe=\"/usr/bin/su\""
          " terminal=pts/0 res=success'"))],
        [("USER_START", (f"{head} msg='op=PAM:session_open acct=\"eve\" exe=\"/usr/sbin/sshd\""
          " terminal=ssh res=success'"))],
        [("TTY", f'{head} major=136 minor=0 comm="bash" data=6C730D')],
        [{"nr": 59, "exe": '"/usr/bin/dash"', "tty": "pts1"}, ("EXECVE", argv)],
        [("CONFIG_CHANGE", rule.format("add_rule"))],
        [{"nr": 44}, ("CONFIG_CHANGE", rule.format("remove_rule"))],
        [("ADD_USER", f"{head} msg='op=add acct=\"mia\" exe=\"/usr/sbin/useradd\" res=success'")],
        [{"nr": 313}, ("KERN_MODULE", 'name="dummy"')],
        [{"nr": 227, "a0": "0", "success": "no", "exit": -1}],
        [{"nr": 165}, ("CWD", 'cwd="/"'), ("PATH", 'item=0 name="/mnt" nametype=NORMAL')],
        [{"nr": 0}, ("NETFILTER_CFG", "table=filter:1 family=2 entries=3 op=nft_register_rule")],
        [{"nr": 54}, ("ANOM_PROMISCUOUS", "dev=eth7 prom=256 old_prom=0 auid=0 uid=0 gid=0 ses=1")],
        [{"nr": 1}, ("APPARMOR_STATUS", ('apparmor="STATUS" operation="profile_remove"'
                     ' profile="unconfined" name="cups" pid=9 comm="x"'))],
        [{"nr": 1}, ("INTEGRITY_POLICY_RULE", 'action=measure func="MMAP_CHECK" res=1')],
    ]  # fmt: skip
    lines = []
    for serial, event in enumerate(events, start=1):
        for each in event:
            plain = isinstance(each, tuple)
            lines.append(record(each[0], serial, each[1]) if plain else call(serial, **each))
        lines.append(end(serial))
    load(url, "".join(lines))
    found = rows(url, "SELECT how, command, outcome, terminal FROM commands ORDER BY event_id")
    assert [tuple(row.values()) for row in found] == [
        ("sudo", "ls -l", "failed", "pts/0"),
        ("su", "session of eve", "success", "pts/0"),
        ("typed", "ls\r", None, None),
        ("shell", "sh -c 'id; ls'", "success", "pts1"),
    ]
    found = rows(url, "SELECT what, action, object, outcome FROM changes ORDER BY event_id")
    assert [tuple(row.values()) for row in found] == [
        ("audit", "added-audit-rule", "k", "success"),
        ("audit", "deleted-audit-rule", "k", "success"),
        ("account", "added-user-account", "mia", "success"),
        ("module", "loaded-kernel-module", "dummy", "success"),
        ("clock", "changed-system-time", None, "failed"),
        ("mount", "mounted", "/mnt", "success"),
        ("firewall", "loaded-firewall-rule-to", "filter:1", "success"),
        ("network device", "changed-promiscuous-mode-on-device", "eth7", "success"),
        ("security policy", "changed-apparmor-profiles", "cups", "success"),
        ("security policy", "changed-integrity-policy", None, "success"),
    ]


HOSTILE = ("\x1b]0;owned\x07\x1b[2J", "a\nb\r\tc", "<script>alert(1)</script>", "\u202egnp.exe",
           "=cmd|' /C calc'!A0", "\x9b31m\x7f", "'; DROP TABLE syscall; --")  # fmt: skip
RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def test_hostile_names_in_a_sentence_do_not_reach_a_terminal(url):
    """The sentence has the name as it is; what is printed has it escaped, a row a line."""
    lines = []
    for serial, name in enumerate(HOSTILE, start=1):
        raw = name.encode().hex().upper()
        lines += [call(serial, nr=257), record("CWD", serial, 'cwd="/"')]
        lines += [record("PATH", serial, f"item=0 name={raw} nametype=NORMAL"), end(serial)]
    load(url, "".join(lines))
    sql = "SELECT sentence FROM story ORDER BY event_id"
    sentences = [row["sentence"] for row in rows(url, sql)]
    assert all(name in told for name, told in zip(HOSTILE, sentences, strict=True))
    for form in Format:
        out = io.StringIO()
        with run_query(url, sql) as result:
            write_rows(result, form, out)
        shown = out.getvalue()
        if form is not Format.CSV:  # whose cells are values, for programs
            assert "\x1b" not in shown, form
        if form in (Format.TABLE, Format.LINES):
            assert not RAW.search(shown), form
        if form is Format.TABLE:
            assert sum(" as 0 opened file " in line for line in shown.splitlines()) == len(HOSTILE)
        if form in (Format.JSON, Format.JSONL):
            listed = shown if form is Format.JSON else f"[{','.join(shown.split(chr(10))[:-1])}]"
            assert [row["sentence"] for row in json.loads(listed)] == sentences
