"""Which rule takes in which, every pair of shapes against the modelled kernel."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from fixtures.kernel_model import Kernel, matches
from fixtures.rule_calls import calls_for
from hypothesis import given, settings
from hypothesis import strategies as st

from auditsvc.rule import Host, parse
from auditsvc.ruleset.conflict import exclude_each_other
from auditsvc.ruleset.cover import meet, takes_in

HOST = Host(arch=0xC000003E, uid={"root": 0}.get, gid={}.get, is_folder=lambda _: False)

FILES = [
    "-F path=/etc/passwd",
    "-F path=/etc",
    "-F path=/etc/ssh/key",
    "-F dir=/etc",
    "-F dir=/etc/",
    "-F dir=/etc/ssh",
    "-F dir=/",
    "-F dir=/etc/../etc/ssh",
    "-F path=/etc/../home/x",
    "-F inode=1001",
    "-F inode!=1001",
]
PERMS = ["-F perm=r", "-F perm=w", "-F perm=wa", "-F perm=x", "-F perm=rwxa"]
CALLS = ["-F arch=b64 -S open", "-S 2,59", "-S 59", "-F arch=b32 -S open", "-F arch!=b64"]
ARCHES = ["-F arch=b64", "-F arch=b32"]
IDS = [
    f"-F {name}{symbol}{value}"
    for name, value in (("auid", 1000), ("auid", "unset"), ("uid", 1000), ("gid", 5), ("ses", 4))
    for symbol in ("=", "!=", "<", "<=", ">", ">=")
]
IDS = [each.replace("ses", "sessionid") for each in IDS]
IDS += ["-F auid=1001", "-F auid>=500", "-F auid<2000", "-F uid=0", "-F gid=6", "-F egid!=5"]
IDS += ["-F pid=1", "-F ppid!=1", "-F auid>=1000 -F auid!=unset", "-F auid>999 -F auid<=1001"]
OUTCOMES = [f"-F success{symbol}{value}" for symbol in ("=", "!=", "<", ">=") for value in (0, 1)]
OUTCOMES += [f"-F exit{symbol}-13" for symbol in ("=", "!=", "<", "<=", ">", ">=")]
OUTCOMES += ["-F exit=0", "-F exit>=0", "-F exit<0", "-F exit<=13", "-F exit>=-4095"]
ARGUMENTS = [
    f"-F a1{symbol}{value}"
    for symbol in ("=", "!=", "<", "<=", ">", ">=", "&", "&=")
    for value in (3, 2)
]
OTHERS = [
    *("-F obj_uid=0", "-F obj_uid!=0", "-F obj_uid>=5", "-F obj_gid<5"),
    *("-F devmajor=8", "-F devminor!=8", "-F devminor&1", "-F filetype=file", "-F filetype!=file"),
    *("-F exe=/bin/sh", "-F exe!=/bin/sh", "-F exe=/bin/su"),
    *("-C uid=euid", "-C uid!=euid", "-C uid=obj_uid", "-C auid!=uid", "-C auid!=obj_uid"),
    *("-F uid=0 -F euid=1000", "-F path=/etc/passwd -F perm=wa -F auid>=1000", "-k key"),
    *("-F path=/etc/passwd -F obj_uid=0", "-F dir=/etc -F obj_uid=5", ""),
]
EXIT = [*FILES, *PERMS, *CALLS, *ARCHES, *IDS, *OUTCOMES, *ARGUMENTS, *OTHERS]
TASK = [each for each in IDS if "sessionid" not in each and "ppid" not in each]
TASK += ["-F exe=/bin/sh", "-F exe!=/bin/sh", ""]
MESSAGES = [each for each in TASK if not any(word in each for word in ("egid", "pers"))]
MESSAGES += ["-F msgtype=CWD", "-F msgtype>=1300", "-F msgtype!=CWD"]
URING = ["-S openat", "-S openat,close", "-F path=/etc/passwd", "-F path=/etc/passwd -S openat"]
URING += ["-F dir=/etc", "-F uid=0", "-F uid=0 -S openat", ""]
SYSTEMS = ["-F fstype=debugfs", "-F fstype!=debugfs", "-F fstype=tracefs"]
SYSTEMS += ["-F fstype=debugfs -F fstype=tracefs"]
SHAPES = {
    "exit": EXIT,
    "task": TASK,
    "exclude": MESSAGES,
    "user": MESSAGES,
    "io_uring": URING,
    "filesystem": SYSTEMS,
}


def rule(text):
    """Parse one rule."""
    (line,) = parse(text, host=HOST)
    return line.command.rule


def shapes(which, action="always"):
    """The rules of a list's shapes."""
    return [rule(f"-a {action},{which} {shape}") for shape in SHAPES[which]]


def matched(narrow, calls):
    """The calls that a rule matches."""
    return [call for call in calls if matches(narrow, call)]


@pytest.mark.parametrize("which", SHAPES)
def test_a_rule_takes_in_another_only_if_it_matches_every_call_that_the_other_does(which):
    """Every pair of shapes; the kernel, which asks the wider one first, then lets it decide."""
    said = 0
    for wide, narrow in itertools.product(shapes(which), shapes(which, "never")):
        if not takes_in(wide, narrow):
            continue
        kernel = Kernel([wide, narrow])
        for call in calls_for(wide, narrow):
            if matches(narrow, call):
                assert matches(wide, call), (str(wide), str(narrow), call)
                assert kernel.deciding(wide.filter_list, call) is wide
        said += 1
    assert said > len(SHAPES[which])


PLAIN = [each for each in FILES if ".." not in each and "inode" not in each and each != "-F dir=/"]
GROUPS = [
    [*PLAIN, ""],
    [*PERMS, ""],
    ["-F arch=b64", "-F arch=b32", "-F arch!=b64 -F arch=b32", ""][:2],
    [each for each in IDS if "auid" in each] + [""],
    *([each for each in IDS if f"-F {name}" in each] + [""] for name in ("uid", "gid", "sess")),
    *([each for each in OUTCOMES if name in each] for name in ("success", "exit")),
    ARGUMENTS,
    [f"{path} {perm}" for path in PLAIN[:5] for perm in PERMS[1:4]],
    [f"-S {calls} -F auid{auid}" for calls in ("2", "2,59", "all") for auid in ("=9", ">=9", "")],
    [f"{arch} -S {calls}" for arch in ARCHES for calls in ("open", "open,execve", "all")],
    ["-S 2", "-S 2,59", "-S all", "-S 2 -F perm=wa", "-S 2 -F path=/etc/passwd -F perm=w"],
]
GROUPS[11] = [each.replace(" -F auid ", " ").removesuffix(" -F auid") for each in GROUPS[11]]


@pytest.mark.parametrize("group", GROUPS, ids=[group[0] for group in GROUPS])
@pytest.mark.parametrize("which", ["always", "never"])
def test_of_common_shapes_it_is_said_wherever_it_is_true(group, which):
    """Folders and what is in them, permissions, calls, ids, outcomes, arguments."""
    rules = [rule(f"-a {which},exit {shape}") for shape in group]
    for wide, narrow in itertools.product(rules, repeat=2):
        own = matched(narrow, calls_for(wide, narrow))
        if own:
            true = all(matches(wide, call) for call in own)
            assert takes_in(wide, narrow) == true, (str(wide), str(narrow))


@st.composite
def rules(draw, which="exit"):
    """Rules of up to four shapes of a list."""
    parts = draw(st.lists(st.sampled_from(SHAPES[which]), max_size=4, unique=True))
    calls = [part for part in parts if "-S" in part or "arch" in part]
    files = [part for part in parts if any(word in part for word in ("path", "dir", "inode"))]
    exes = [part for part in parts if "exe" in part]
    kept = [*calls[:1], *files[:1], *exes[:1]]
    kept += [part for part in parts if part not in (*calls, *files, *exes)]
    action = draw(st.sampled_from(["always", "never"]))
    return rule(" ".join([f"-a {action},{which}", *kept]))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.data())
def test_any_two_rules(data):
    """Taking in, meeting and excluding are said only where the modelled calls agree."""
    which = data.draw(st.sampled_from(["exit", "exit", "exit", "task", "user"]))
    one, other = data.draw(rules(which)), data.draw(rules(which))
    wider = replace(one, conditions=data.draw(st.permutations(other.conditions))[:2])
    calls = calls_for(one, other, most=200)
    for wide in (one, wider):
        taken = takes_in(wide, other)
        apart = not meet(wide, other)
        for call in calls:
            if not matches(other, call):
                continue
            assert not taken or matches(wide, call)
            if len(call.files) < 2 and not reads_as_error(call):
                assert not apart or not matches(wide, call)


def reads_as_error(call):
    """A success whose low 32 bits read as an error: an offset, say."""
    return call.succeeded and call.result & 0xFFFFFFFF >= 0xFFFFF001


@settings(max_examples=400, deadline=None, derandomize=True)
@given(rules())
def test_conditions_exclude_each_other_only_if_no_call_meets_them_all(drawn):
    """And those that are named do so by themselves."""
    found = exclude_each_other(drawn.conditions, drawn.filter_list)
    if found:
        assert set(found) <= set(drawn.conditions)
        named = replace(drawn, conditions=found)
        for call in calls_for(named):
            assert reads_as_error(call) or not matches(named, call)
