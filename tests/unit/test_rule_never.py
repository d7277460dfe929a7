"""Warnings about rules that can never match or load, each kind; and none for other rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fixtures.kernel_model import matches
from fixtures.repeats import examples
from fixtures.rule_calls import calls_for
from fixtures.rule_shapes import HOST, rules
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.errors import RuleError
from auditsvc.rule import parse
from auditsvc.ruleset.never import warnings

EVERY = "-a always,exit -S all"


def said(text):
    """The warnings about one rule."""
    (line,) = parse(text, host=HOST)
    return list(warnings(line.command.rule, line.text, HOST))


EXCLUDED = [
    *("auid=0 auid>=1000", "uid>5 uid<5", "euid=1 euid=2", "suid<=3 suid>=4", "fsuid!=0 fsuid<1"),
    *("gid>=9 gid<9", "gid=4 gid!=4", "egid=4 egid!=4", "sgid=1 sgid=2", "fsgid>7 fsgid<=7"),
    *("auid=unset auid=0", "auid=unset auid!=unset", "auid=unset auid<1000", "auid<=unset auid=5"),
    *("sessionid=unset sessionid=3", "pid=1 pid=2", "ppid<2 ppid>2", "pers=8 pers<8"),
    *("success=1 success=0", "success=1 exit=-EACCES", "success=1 exit>=-4095", "success=0 exit=3"),
    *("success=0 exit<4096", "success!=0 exit=-1", "exit=-EACCES exit=-EPERM", "exit=0 exit!=0"),
    *("a0=1 a0=2", "a1&=3 a1<3", "a2&1 a2=2", "a3>0xff a3<0x10", "a1=0 a1&7"),
    *("saddr_fam=2 saddr_fam=10", "uid=0 euid=1 uid=euid", "auid>=1000 uid<1000 auid=uid"),
    *("uid=euid uid!=euid", "uid=1 uid=suid suid=euid euid=2"),
    *("filetype=file filetype!=file", "uid=5 uid=6"),
]


@pytest.mark.parametrize("conditions", EXCLUDED)
def test_conditions_that_exclude_each_other_are_named(conditions):
    """Of every numeric field, by any operators; what does not belong to it is not named."""
    words = conditions.split()
    (text,) = said(" ".join([EVERY, *map(_option, words), "-F perm=wa -k key"]))
    assert text.startswith("never matches: ")
    assert "exclude each other" in text
    assert text.count("`") == 2 * len(words)
    assert "perm" not in text
    assert "key" not in text


def _option(word):
    """-C for two fields, -F for a field and a value."""
    _, symbol, right = word.partition("=")
    return f"-C {word}" if symbol and right in ("uid", "euid", "suid") else f"-F {word}"


NEVER = [
    (f"{EVERY} -F exit<0", "no call meets `exit<0`"),
    (f"{EVERY} -F auid<unset", "no call meets `auid<unset`"),
    (f"{EVERY} -F uid<0", "no call meets `uid<0`"),
    (f"{EVERY} -F pid>4194304", "no call meets"),
    (f"{EVERY} -F obj_uid<0", "no call meets `obj_uid<0`"),
    (f"{EVERY} -F success>0 -F success<1", "never matches"),
    ("-a always,exit -F arch=b64 -S read,getpid -F perm=wa", "none of its calls has `perm=wa`"),
    ("-a always,exit -F arch=b64 -S chmod -F perm=x", "none of its calls has `perm=x`"),
    ("-a never,user -F uid=0 -k k", "on the list user the kernel does not support `key=k`"),
    ("-a never,user -F euid=0", "does not support `euid=0`, and asks no rule after it"),
    ("-a never,user", "on the list user a rule needs a condition"),
    ("-a always,exclude", "on the list exclude a rule needs a condition"),
    ("-a never,task -F arch=b64", "on the list task the kernel does not support `arch=b64`"),
    ("-a always,filesystem -F fstype=debugfs", "only `never` has an effect"),
    (f"{EVERY} -F exit=EACCES", "`exit=EACCES` compares with the result 13"),
    (f"{EVERY} -F exit!=EPERM -k x", "for a call that fails write exit!=-EPERM"),
    ("-w /etc/*.conf -p wa -k glob", "`/etc/*.conf` is one name"),
    ("-w /var/log/a? -p wa", "the kernel has no wildcards"),
    ("-a always,exit -F arch=b64 -S openat -F dir=/home/[a-z]", "the kernel has no wildcards"),
    (f"{EVERY} -F exe=/usr/bin/*", "the kernel has no wildcards"),
    ("-w /etc/{passwd,shadow} -p wa", "`/etc/{passwd,shadow}` is one name"),
    ("-w /etc/!(passwd) -p wa", "the kernel has no wildcards"),
    (f"{EVERY} -C uid!=euid -F uid=0 -F euid=0", "`uid!=euid`, `uid=0` and `euid=0` exclude"),
    (f"{EVERY} -C uid!=euid -F uid=0 -F euid<1", "`uid!=euid`, `uid=0` and `euid<1` exclude"),
    (f"{EVERY} -C uid=euid -C euid=suid -C uid!=suid", "exclude each other"),
    (f"{EVERY} -F subj_type=a_t -F subj_type=b_t", "`subj_type=a_t` and `subj_type=b_t` exclude"),
    (f"{EVERY} -F subj_role=a -F subj_role!=a", "`subj_role=a` and `subj_role!=a` exclude"),
    ("-w /etc/../etc/passwd -p wa -k dots", "contains `..`"),
    (f"{EVERY} -F exe=/bin/./sh", "contains `..` or `.`"),
    ("-w /etc/.. -p wa", "never loads: the kernel refuses a path that ends in `..`"),
    (f"-w /etc/{'a' * 256} -p wa", "longer than 255 bytes"),
]


@pytest.mark.parametrize(("text", "expected"), NEVER, ids=[text[-30:] for text, _ in NEVER])
def test_what_never_matches_or_never_loads(text, expected):
    """One warning each."""
    (warning,) = said(text)
    assert expected in warning


FINE = [
    *("auid>=1000 auid!=unset", "auid=unset auid>=1000", "gid=4 gid=5", "egid=4 egid!=5"),
    *("gid=1000 gid>=2000", "success=0 exit=-EACCES", "success=1 exit=3", "success=1 exit>=0"),
    *("success=1 exit=-5000", "a0&1 a0&2", "a0&=3 a0!=3", "obj_uid=0 obj_uid=5", "exit=13"),
    *("devmajor=8 devmajor=9", "uid=0 euid=0 uid=euid", "exit!=0 exit!=-EAGAIN", "auid>unset"),
    *("inode=5 obj_uid=0", "path=/usr/bin/[ perm=x", "path=/etc/a..b", "path=/etc/..data"),
    *("subj_role=a subj_role=b", "obj_type=a obj_type=b", "uid=0 gid=0 uid!=euid"),
    *("path=/etc/{a}", "path=/etc/a(b)", "uid=0 euid=1 uid!=euid"),
]


@pytest.mark.parametrize("conditions", FINE)
def test_nothing_is_said_of_what_can_match(conditions):
    """Supplementary groups, several files, odd names, results beyond errors."""
    assert said(" ".join([EVERY, *map(_option, conditions.split())])) == []


def test_a_socketcall_may_write():
    """As bind it does, for 32-bit programs."""
    assert said("-a always,exit -F arch=b32 -S socketcall -F perm=w") == []


@examples(150, long=3000, derandomize=True)
@given(st.data())
def test_never_is_said_only_if_the_modelled_kernel_matches_no_call(data):
    """Any rule, on the lists that are asked once a call, a fork or a message."""
    drawn = data.draw(rules(data.draw(st.sampled_from(["exit", "task", "user", "exclude"]))))
    never = [each for each in warnings(drawn, "", HOST) if each.startswith("never matches")]
    calls = calls_for(replace(drawn))
    reached = any(matches(drawn, call) for call in calls if not _reads_as_error(call))
    assert not (never and reached)


def _reads_as_error(call):
    """A success whose low 32 bits read as an error: an offset, say."""
    return call.succeeded and call.result & 0xFFFFFFFF >= 0xFFFFF001


@pytest.mark.parametrize("field", ["uid", "euid", "suid", "fsuid", "obj_uid", "gid", "obj_gid"])
@pytest.mark.parametrize("value", ["4294967295", "unset", "-1"])
def test_ids_that_are_never_unset_are_errors(field, value):
    """The kernel refuses them (EINVAL), but for auid and sessionid."""
    with pytest.raises(RuleError, match=r"cannot be unset|is not a number|unknown group"):
        parse(f"{EVERY} -F {field}={value}", host=HOST)
    assert parse(f"{EVERY} -F auid!={value} -F sessionid!={value}", host=HOST)
