"""Logs in all formats that occur: each kind of line has the right values in SQL."""

from __future__ import annotations

import pytest
from fixtures import forms
from fixtures.logs import (
    SECOND,
    Pipe,
    balanced,
    call,
    end,
    everything,
    ledger,
    load,
    opening,
    path,
    proctitle,
    record,
    rows,
    stamp,
)

from auditsvc.decode import DECODERS


@pytest.fixture(autouse=True, params=list(DECODERS))
def decoder(request, monkeypatch):
    """Have the rows from each decoder."""
    monkeypatch.setattr(Pipe, "decoder", request.param)


def fields(url, kind):
    """Give the fields of the only event of a type."""
    (row,) = rows(url, f"SELECT fields FROM events WHERE type = '{kind}'")
    return row["fields"]


# --- what stands before a record -------------------------------------------------------


def test_the_kernels_own_printing_in_all_its_forms(url):
    """Of dmesg plain, -T, -x, --time-format iso, syslog old and new, logread, kmsg, logcat."""
    log = [forms.printed(n, prefix) for n, prefix in enumerate(forms.PRINTK)]
    load(url, "".join(log))
    seen = rows(url, "SELECT serial, type, pid, fields FROM events ORDER BY serial")
    assert [row["serial"] for row in seen] == list(range(len(forms.PRINTK)))
    assert {row["type"] for row in seen} == {"AVC"}
    assert all(row["fields"] == {"apparmor": "DENIED", "pid": "7"} for row in seen)
    assert ledger(url)["raw"] == 0


def test_logcat_leaves_the_time_out(url):
    """Android's logd writes audit(0.0:SERIAL); auditd's own lines never do."""
    printed = "06-30 05:16:49.100  1234  1234 W klogd   : type=1400 audit(0.0:13): avc: denied"
    load(url, f"{printed}\ntype=AVC msg=audit(0.0:14): x=1\n")
    assert rows(url, "SELECT serial, time FROM events") == [
        {"serial": 13, "time": "1970-01-01 00:00:00.000"}
    ]
    assert ledger(url)["raw"] == 1


def test_what_a_program_wrote_is_not_the_kernels(url):
    """A line of syslog whose program is not the kernel cannot be one of the kernel's records."""
    load(url, "".join(forms.printed(n, prefix) for n, prefix in enumerate(forms.NO_RECORDS)))
    assert rows(url, "SELECT * FROM events") == []
    assert ledger(url)["raw"] == len(forms.NO_RECORDS)


def test_losses_that_a_kernel_log_tells_are_in_the_ledger(url):
    """Suppressed lines, and the growth of the kernel's count of lost records."""
    pipe = Pipe(url)
    kernel = "Jun 30 05:16:44 box7 kernel: "
    limits = "audit_rate_limit=0 audit_backlog_limit=64"
    log = f"{kernel}kauditd_printk_skb: 27 callbacks suppressed\n"
    log += f"[    5.5] audit: audit_lost=74 {limits}\n"
    pipe.load(log, finish=False)
    assert ledger(url)["told_lost"] == 27 + 74
    log += f"[    6.5] audit: audit_lost=80 {limits}\n{kernel}audit: backlog limit exceeded\n"
    log += f"[    0.5] audit: audit_lost=3 {limits}\n"  # the host was booted
    log += f"Jun 30 05:16:45 box7 app: audit: audit_lost=9999 {limits}\n"
    pipe.load(log)
    pipe.close()
    assert ledger(url)["told_lost"] == 27 + 80 + 3
    assert ledger(url)["raw"] == 6
    assert balanced(url)


@pytest.mark.parametrize("node", ["", "node=web3.example.com "])
def test_lines_that_syslog_daemons_relay(url, node):
    """A tag, a priority, a pid or blanks before the line do not change the record."""
    line = record("USER_LOGIN", 1, "pid=900 uid=0 auid=1001 ses=5 msg='op=login res=success'")
    for n, prefix in enumerate(forms.RELAYED):
        load(url, prefix + node + line.replace(":1)", f":{n})"), f"log{n}")
    seen = rows(url, "SELECT serial, host, type, pid, auid, ses, fields FROM events")
    assert len(seen) == len(forms.RELAYED)
    assert {row["host"] for row in seen} == {"web3.example.com" if node else "box"}
    assert {(row["type"], row["pid"], row["auid"], row["ses"]) for row in seen} == {
        ("USER_LOGIN", 900, 1001, 5)
    }
    assert {row["fields"]["res"] for row in seen} == {"success"}
    assert ledger(url)["raw"] == 0


@pytest.mark.parametrize("separator", forms.SEPARATORS, ids=ascii)
def test_enriched_fields_behind_any_separator(url, separator):
    """Where a relay changed or dropped auditd's separator, the fields are as if it were there."""
    load(url, forms.enriched(1, separator))
    seen = everything(url)
    (row,) = seen["syscalls"]
    assert (row["key"], row["state"]) == (None, "complete")
    by_type = {each["type"]: each["fields"] for each in seen["records"]}
    assert by_type["SYSCALL"] == {"AUID": "ann", "UID": "ann b", "GID": "c"}
    assert by_type["PATH"]["OUID"] == "root"
    assert [(p["name"], p["nametype"]) for p in seen["paths"]] == [("/x", "NORMAL")]
    assert [(s["address"], s["port"]) for s in seen["sockaddrs"]] == [("192.168.1.5", 443)]
    assert fields(url, "AVC")["ouid"] == "0"
    assert fields(url, "AVC")["FSUID"] == "root"
    assert fields(url, "USER_LOGIN")["res"] == "1"
    assert fields(url, "USER_LOGIN")["AUID"] == "ann"


def test_a_name_that_looks_enriched_stays_inside_its_quotes(url):
    """A file's name cannot begin a field."""
    load(url, record("PATH", 1, 'item=0 name="xOUID=" inode=7 nametype=NORMAL obj="OGID="'))
    assert fields(url, "PATH")["name"] == "xOUID="
    assert fields(url, "PATH")["inode"] == "7"


def test_a_stamp_without_its_colon(url):
    """Old versions of auditd leave it out in DAEMON_CONFIG."""
    load(url, f"type=DAEMON_CONFIG {stamp(1)[:-1]} config changed, auid=0 pid=5 res=success\n")
    (row,) = rows(url, "SELECT type, pid, auid FROM events")
    assert row == {"type": "DAEMON_CONFIG", "pid": 5, "auid": 0}


def test_a_body_behind_more_than_one_blank(url):
    """Kernels before 4.18 write ` cwd=`: in a whole event, and in one whose records are spread."""
    cwd = record("CWD", 1, ' cwd="/srv"')
    load(url, call(1, items=0) + cwd + proctitle(1))
    load(url, (call(2, items=1) + cwd + path(2, "/x") + end(2)).replace(":1)", ":2)"), "log2")
    load(url, cwd.replace(":1)", ":3)") + call(3, items=0) + proctitle(3), "log3")
    assert [row["cwd"] for row in rows(url, "SELECT cwd FROM syscalls")] == ["/srv"] * 3
    assert rows(url, "SELECT * FROM records WHERE type = 'CWD'") == []


# --- values ----------------------------------------------------------------------------


UNTRUSTED = [
    *("srcname", "options", "trans", "peer_addr", "addr", "key_desc", "kmod", "fstype", "dev"),
    *("name", "path", "comm", "profile", "srawcon", "trawcon"),
]


@pytest.mark.parametrize("kind", ["AVC", "APPARMOR_DENIED"])
def test_untrusted_strings_of_security_modules(url, kind):
    """What the kernel writes as an untrusted string is decoded; a quoted one is what it says."""
    text = "/media/ann/MY DISK"
    hexadecimal = text.encode().hex()
    values = [hexadecimal.upper(), '"plain"', hexadecimal]
    log = [
        record(kind, 3 * n + which, f"pid=1 {name}={value}")
        for n, name in enumerate(UNTRUSTED)
        for which, value in enumerate(values)
    ]
    load(url, "".join(log))
    seen = rows(url, "SELECT serial, fields FROM events ORDER BY serial")
    assert len(seen) == len(log)
    found = {
        name: [row["fields"][name] for row in seen[3 * n : 3 * n + 3]]
        for n, name in enumerate(UNTRUSTED)
    }
    assert found == {name: [text, "plain", text] for name in UNTRUSTED}


def test_an_ipc_key_is_a_number(url):
    """Older kernels print it in decimal: it is no hex text, in an AVC."""
    keys = ["10203040", "-1", "3005", "1234567890123456"]
    body = "avc:  denied  {{ unix_read }} for  pid=1 key={}  tclass=shm"
    load(url, "".join(record("AVC", n, body.format(key)) for n, key in enumerate(keys)))
    seen = rows(url, "SELECT fields FROM events WHERE type = 'AVC' ORDER BY serial")
    assert [row["fields"]["key"] for row in seen] == keys


@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_hex_of_either_case(url, case):
    """Encoded values are decoded whoever wrote them."""
    log = call(1, comm=case("6D6F6C6C79"), key=case("6162"), items=0, nr=59)
    log += record("EXECVE", 1, f"argc=2 a0={case('6C73')} a1={case('2D6C20C3A4')}")
    log += record("CWD", 1, f"cwd={case('2F746D702F6120')}")
    log += record("PROCTITLE", 1, f"proctitle={case('6C73002D6C')}")
    load(url, log)
    (row,) = rows(url, "SELECT comm, key, cwd, proctitle, argv FROM syscalls")
    assert row.pop("argv") == ["ls", "-l ä"]
    assert row == {"comm": "molly", "key": "ab", "cwd": "/tmp/a ", "proctitle": "ls -l"}


MODES = ["enforce", "complain", "kill", "unconfined", "mixed"]
LABELS = ["/usr/sbin/cupsd", "a//&b", "snap.x.y//&:root//lxd-c1_<var-lib>:unconfined"]


def test_labels_have_their_mode_behind_a_space(url):
    """AppArmor's subject is complete in calls, in messages, and with fields in another order."""
    labels = [f"{label} ({mode})" for label in LABELS for mode in MODES]
    log = []
    for n, label in enumerate(labels):
        plain = call(3 * n, items=0).replace(" key=", f" subj={label} key=")
        last = call(3 * n + 1, items=0, rest=f" subj={label}")
        body = f"pid=1 uid=0 subj={label} msg='op=x acct=\"m\" res=failed'"
        log.append(plain + last + record("USER_AUTH", 3 * n + 2, body))
    load(url, "".join(log))
    seen = rows(url, "SELECT subj, key FROM syscalls ORDER BY serial")
    assert seen == [{"subj": label, "key": "files"} for label in labels for _ in range(2)]
    seen = rows(url, "SELECT fields FROM events WHERE type = 'USER_AUTH' ORDER BY serial")
    assert [row["fields"] for row in seen] == [
        {"pid": "1", "uid": "0", "subj": label, "op": "x", "acct": "m", "res": "failed"}
        for label in labels
    ]


@pytest.mark.parametrize("mode", ["enforce", "complain", "kill", "unconfined", "mixed", "prompt"])
def test_a_profile_whose_name_has_blanks(url, mode):
    """The label ends with its mode; a word between that is a field, or no mode, ends it earlier."""
    label = f"/opt/My Own App/run//null-/bin/a b ({mode})"
    load(url, call(1, items=0, subj=label) + proctitle(1))
    load(url, record("USER_AUTH", 2, f"pid=1 subj={label} msg='op=x res=failed'"), "log2")
    load(url, record("USER_AUTH", 3, "pid=1 subj=a words (Enforce) b=1 obj=c d e=f (kill)"), "log3")
    assert [row["subj"] for row in rows(url, "SELECT subj FROM syscalls")] == [label]
    seen = [row["fields"] for row in rows(url, "SELECT fields FROM events ORDER BY serial")]
    assert (seen[0]["subj"], seen[0]["res"]) == (label, "failed")
    assert (seen[1]["subj"], seen[1]["b"], seen[1]["obj"], seen[1]["e"]) == ("a", "1", "c", "f")


def test_a_label_without_a_mode(url):
    """The namespace's `=` is part of the label, and a parenthesis elsewhere is not."""
    load(url, call(1, items=0, rest=" subj==unconfined") + call(2, items=0, rest=" subj=a (B)"))
    assert [row["subj"] for row in rows(url, "SELECT subj FROM syscalls ORDER BY serial")] == [
        "=unconfined",
        "a",
    ]


@pytest.mark.parametrize("quote", ["'", '"'])
def test_quoted_values_with_blanks_stay_one_value(url, quote):
    """In whichever quotes, in whatever field of the kernel's."""
    text = f"dev=253:2 error_msg={quote}Invalid tag size{quote} res=0"
    load(url, record("DM_CTRL", 1, text))
    assert fields(url, "DM_CTRL") == {"dev": "253:2", "error_msg": "Invalid tag size", "res": "0"}


def test_a_login_of_an_old_kernel(url):
    """Before 3.14 the new login user and session are `new auid` and `new ses`."""
    log = [
        "login pid=1 uid=0 old auid=4294967295 new auid=1003 old ses=4294967295 new ses=12",
        "pid=2 uid=0 old auid=4294967295 new auid=1004 old ses=4294967295 new ses=13 res=1",
        "pid=3 uid=0 old-auid=4294967295 auid=1005 tty=(none) old-ses=4294967295 ses=14 res=1",
        "login pid=4 uid=0 old auid=1000 new auid=1006",
    ]
    load(url, "".join(record("LOGIN", n, body) for n, body in enumerate(log)))
    seen = rows(url, "SELECT pid, auid, ses, fields FROM events ORDER BY serial")
    assert [(row["pid"], row["auid"], row["ses"]) for row in seen] == [
        (1, 1003, 12), (2, 1004, 13), (3, 1005, 14), (4, 1006, None),
    ]  # fmt: skip
    assert [row["fields"]["old-auid"] for row in seen[2:]] == ["4294967295", "1000"]


@pytest.mark.parametrize("task", ["UNKNOWN[1420]", "1420", "IPE_ACCESS", "MAC_TASK_CONTEXTS"])
def test_ubuntus_numbers_of_contexts(url, task):
    """1420 and 1421 are contexts where their fields say so, and IPE's types elsewhere."""
    whole = "/usr/sbin/cupsd (enforce)"
    log = record("USER_AUTH", 1, "pid=8 uid=0 subj=? msg='op=x res=success'")
    log += record(task, 1, f"subj_apparmor={whole}")
    log += call(2, items=0, nr=59, rest=" subj=?") + record("PROCTITLE", 2, 'proctitle="ls"')
    log += record(task, 2, f"subj_apparmor={whole}") + f"type=EOE {stamp(2)} \n"
    log += record("UNKNOWN[1421]", 3, "obj_apparmor=unconfined")
    log += record("UNKNOWN[1420]", 4, "ipe_op=EXECUTE pid=9")
    load(url, log)
    seen = everything(url)
    assert [row["state"] for row in seen["syscalls"]] == ["complete"]
    assert [(e["serial"], e["type"]) for e in seen["events"]] == [
        (1, "USER_AUTH"), (3, "MAC_OBJ_CONTEXTS"), (4, "IPE_ACCESS"),
    ]  # fmt: skip
    contexts = [r["fields"] for r in seen["records"] if r["type"] == "MAC_TASK_CONTEXTS"]
    assert contexts == [{"subj_apparmor": whole}] * 2
    assert balanced(url)


# --- which records are one event --------------------------------------------------------


def exec_records(serial=7):
    """Give the records of a call that have columns, in the kernel's order."""
    second = SECOND + 1
    return [
        call(serial, nr=59, items=2, second=second),
        record("EXECVE", serial, 'argc=3 a0="ls" a1="-l"', second=second),
        record("EXECVE", serial, "a2=612062", second=second),
        record("CWD", serial, 'cwd="/srv"', second=second),
        path(serial, "/bin/ls", second=second),
        path(serial, "/lib/ld.so", item=1, second=second),
        record("SOCKADDR", serial, "saddr=020001BBC0A80105" + "0" * 16, second=second),
        record("PROCTITLE", serial, "proctitle=6C73002D6C", second=second),
    ]


EXEC = exec_records()


def check_calls(url, *serials):
    """See that these are the only calls, each complete; give their rows and further records."""
    seen = everything(url)
    assert seen["events"] == []
    assert seen["partials"] == []
    assert balanced(url)
    assert ledger(url)["stored"] == len(EXEC) * len(serials)
    assert [row["serial"] for row in seen["syscalls"]] == list(serials)
    for row in seen["syscalls"]:
        assert (row["argv"], row["cwd"], row["proctitle"]) == (["ls", "-l", "a b"], "/srv", "ls -l")
        assert row["state"] == "complete"
        of_call = {
            view: [each for each in seen[view] if each["event_id"] == row["event_id"]]
            for view in ("paths", "sockaddrs")
        }
        paths = sorted((p["item"], p["name"], p["nametype"], p["inode"]) for p in of_call["paths"])
        assert paths == [(0, "/bin/ls", "NORMAL", 7), (1, "/lib/ld.so", "NORMAL", 7)]
        assert [(s["address"], s["port"]) for s in of_call["sockaddrs"]] == [("192.168.1.5", 443)]
    records = [
        (r["event_id"], r["type"], str(sorted(r["fields"].items()))) for r in seen["records"]
    ]
    return seen["syscalls"], sorted(records)


@pytest.mark.parametrize("text", ["", "----\ntime->Mon Mar  4 10:11:12 2024\n"])
def test_records_in_reverse(url, text):
    """Last first, as ausearch prints an event: all of them are columns of one call."""
    load(url, text + "".join(reversed(EXEC)))
    check_calls(url, 7)


@pytest.mark.one_database
def test_a_late_record_fills_its_columns(url):
    """Any record that is in another log than its SYSCALL, before or after it."""
    serials = range(1, len(EXEC))
    events = {late: exec_records(late) for late in serials}
    apart = "".join(records[late] for late, records in events.items())
    rest = "".join("".join(r[:late] + r[late + 1 :]) for late, r in events.items())
    for n, text in enumerate([rest, apart, apart, rest]):
        load(url, text, f"log{n}")
    first = check_calls(url, *serials)
    assert ledger(url)["duplicate"] == len(EXEC) * len(serials)
    in_order = ["".join(records) for records in events.values()]
    in_reverse = ["".join(reversed(records)) for records in events.values()]
    for n, text in enumerate(["".join(in_order), "".join(in_reverse)]):
        load(url, text, f"again{n}")
    assert check_calls(url, *serials) == first


@pytest.mark.one_database
@pytest.mark.parametrize("turned", [False, True], ids=["in order", "second part first"])
def test_an_event_cut_anywhere_is_whole_again(url, turned):
    """Two parts of an event in two logs, in either order, become one complete event."""
    serials = range(1, len(EXEC))
    events = {cut: exec_records(cut) for cut in serials}
    parts = [
        "".join("".join(records[:cut]) for cut, records in events.items()),
        "".join("".join(records[cut:]) for cut, records in events.items()),
    ]
    for n, text in enumerate(reversed(parts) if turned else parts):
        load(url, text, f"log{n}")
    check_calls(url, *serials)


@pytest.mark.one_database
def test_every_record_in_a_log_of_its_own(url):
    """Eight logs of one record each, in an arbitrary order."""
    for n in (6, 3, 7, 1, 5, 0, 2, 4):
        load(url, EXEC[n], f"log{n}")
    check_calls(url, 7)


END = record("PROCTITLE", 2, 'proctitle="x"')


@pytest.mark.one_database
def test_what_a_column_says_is_not_replaced(url):
    """A later record with another value is kept as a record of its own."""
    load(url, opening(1))
    load(url, record("PROCTITLE", 1, 'proctitle="forged"') + record("CWD", 1, 'cwd="/f"'), "other")
    (row,) = rows(url, "SELECT proctitle, cwd FROM syscalls")
    assert row == {"proctitle": "cat", "cwd": "/root"}
    kept = rows(url, "SELECT type, fields FROM records WHERE type IN ('CWD', 'PROCTITLE')")
    assert sorted(row["type"] for row in kept) == ["CWD", "PROCTITLE"]
    load(url, call(2, nr=59, items=0) + record("EXECVE", 2, 'argc=1 a0="rm"') + END, "exec")
    for n, words in enumerate(['argc=1 a0="ls"', 'a1="-x"', 'argc=1 a0="rm"']):
        load(url, record("EXECVE", 2, words), f"later{n}")
    (row,) = rows(url, "SELECT argv, state FROM syscalls WHERE serial = 2")
    assert row == {"argv": ["rm"], "state": "complete"}
    assert len(rows(url, "SELECT * FROM records WHERE type = 'EXECVE'")) == 2
    assert balanced(url)


def test_other_arguments_do_not_take_the_place_of_those_that_came(url):
    """A second log cannot give a truncated record other arguments than it had."""
    cut = call(1, nr=59, items=0) + record("EXECVE", 1, 'argc=3 a0="nc" a1="-e"')
    other = call(1, nr=59, items=0) + record("EXECVE", 1, 'argc=2 a0="nc" a1="-h"')
    end = record("PROCTITLE", 1, 'proctitle="nc"')
    load(url, cut + end)
    load(url, other + end, "other")
    seen = rows(url, "SELECT argv, state FROM syscalls")
    assert {"argv": ["nc", "-e"], "state": "partial"} in seen
    whole_one = call(1, nr=59, items=0) + record("EXECVE", 1, 'argc=3 a0="nc" a1="-e" a2="sh"')
    load(url, whole_one + end, "whole")
    seen = rows(url, "SELECT argv FROM syscalls")
    assert sorted(row["argv"][1:] for row in seen) == [["-e", "sh"], ["-h"]]
    assert balanced(url)


def boots(*names):
    """Give logs of boots that begin at the same time, as on a host without a clock."""
    parts = []
    for n, name in enumerate(names):
        where = {"second": 15, "ms": 0}
        parts.append(
            record("KERNEL", 1, "state=initialized audit_enabled=0 res=1", second=10, ms=120)
            + record("SERVICE_START", 7, f"pid=1 uid=0 msg='unit={name}'", **where)
            + call(8, pid=200 + n, comm=f'"{name}"', items=0, **where)
            + record("PROCTITLE", 8, f'proctitle="{name}"', **where)
            + record("AVC", 9, f"avc:  denied  {{ read }} for  pid={300 + n} name={name}", **where)
        )
    return parts


@pytest.mark.one_database
@pytest.mark.parametrize("together", [True, False], ids=["one log", "a log each"])
def test_boots_that_begin_at_the_same_time(url, together):
    """Messages, calls and denials of each boot are rows of their own, read once or again."""
    names = ["alpha", "beta", "gamma"]
    parts = boots(*names)
    for _ in range(2):
        for n, text in enumerate(["".join(parts)] if together else parts):
            load(url, text, f"log{n}{_}")
        units = rows(url, "SELECT fields FROM events WHERE type = 'SERVICE_START'")
        assert sorted(row["fields"]["unit"] for row in units) == names
        denials = rows(url, "SELECT fields FROM events WHERE type = 'AVC'")
        assert sorted(row["fields"]["pid"] for row in denials) == ["300", "301", "302"]
        calls = rows(url, "SELECT comm, proctitle FROM syscalls ORDER BY comm")
        assert calls == [{"comm": name, "proctitle": name} for name in names]
        assert balanced(url)


def test_equal_denials_of_one_stamp_stay_countable(url):
    """Three times the same, in one event: three records, not one."""
    denial = record("AVC", 1, "avc:  denied  { read } for  pid=1 comm=a")
    load(url, denial * 3)
    (found,) = rows(
        url,
        "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM records) AS n FROM events",
    )
    assert found["n"] == 3
    assert ledger(url)["stored"] == 3
