"""Which rule includes which, and which may overlap."""

from __future__ import annotations

import platform

import pytest

from auditsvc.rule import parse
from auditsvc.ruleset.cover import includes, overlap

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the rules are x86_64's")

EVERY = "-a always,exit -S all -k every"
SHADOW = "-w /etc/shadow -p wa -k shadow"


def rule(text: str):
    """Parse one rule."""
    return parse(text)[0].command.rule


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (EVERY, SHADOW),
        (EVERY, "-a always,exit -F arch=b32 -S open -F auid>=1000"),
        ("-a always,exit -F arch=b64 -S all", "-a always,exit -F arch=b64 -S open -F exit=-13"),
        ("-a always,exit -F path=/etc/shadow -F perm=rwxa", SHADOW),
        ("-a always,exit -F dir=/etc -F perm=wa", SHADOW),
        ("-a always,exit -F dir=/etc -F perm=wa", "-a always,exit -F dir=/etc/pam.d -F perm=a"),
        ("-a always,exit -F dir=/etc/ -F perm=wa", SHADOW),
        ("-a always,io_uring -S all", "-a always,io_uring -S openat"),
        ("-a always,exit -S open,close", "-a always,exit -S close -F uid=0"),
    ],
)
def test_includes(wide, narrow):
    """The broader rule takes the narrower in, and not the other way round."""
    assert includes(rule(wide), rule(narrow))
    assert not includes(rule(narrow), rule(wide))
    assert overlap(rule(wide), rule(narrow))
    assert overlap(rule(narrow), rule(wide))


def test_another_key_is_no_other_rule():
    """Rules that differ in their keys or actions alone take each other in."""
    for one, other in (("-w /etc/shadow -p wa -k a", SHADOW), ("-a never,exit -S all", EVERY)):
        assert includes(rule(one), rule(other))
        assert includes(rule(other), rule(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-a always,exit -F arch=b64 -S all", "-a always,exit -F arch=b32 -S all"),
        ("-a always,exit -F arch=b64 -S read", "-a always,exit -F arch=b64 -S open"),
        ("-a always,exit -S all -F uid=0", "-a always,exit -S all -F uid=1"),
        ("-a never,exit -F arch=b64 -S read,fstat", SHADOW),
        ("-a always,exit -F arch=b64 -S open", "-a always,exit -F path=/etc/shadow -F perm=x"),
        (SHADOW, "-w /etc/passwd -p wa"),
        (SHADOW, "-a always,exit -F dir=/etc/pam.d -F perm=wa"),
        ("-a always,exit -S open -F exit=-13", "-a always,exit -S open -F success=1"),
        (EVERY, "-a always,io_uring -S all"),
        ("-a always,user -F uid=0", EVERY),
    ],
)
def test_apart(one, other):
    """Rules for different calls, machines, ids, files, outcomes or lists do not meet."""
    for left, right in ((one, other), (other, one)):
        assert not overlap(rule(left), rule(right))
        assert not includes(rule(left), rule(right))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-a always,exit -S all -F auid>=1000", "-a always,exit -S all -F auid!=unset"),
        ("-a always,exit -F arch=b64 -S open", SHADOW),
        ("-a always,exit -F arch=b64 -S chmod", SHADOW),
        ("-a always,exit -S all -F uid=0", "-a always,exit -S all -F gid=0"),
    ],
)
def test_meet_without_taking_in(one, other):
    """Rules that may share calls, neither of which has all of the other's."""
    assert overlap(rule(one), rule(other))
    assert not includes(rule(one), rule(other))
    assert not includes(rule(other), rule(one))
