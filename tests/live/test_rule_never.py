"""What `rules check` calls never loaded, or never matched, on the kernel itself."""

from __future__ import annotations

import os
import socket
import struct

import pytest

from auditsvc.errors import KernelError
from auditsvc.record.fields import UNSET
from auditsvc.rule import Action, Condition, FilterList, Rule, fields

pytestmark = pytest.mark.live

NETLINK_AUDIT, READLOG, TRUSTED_APP = 9, 1, 1107
REQUEST_ACK = 5
UID, EUID, AUID = 1, 2, 9
NOBODY = Condition(AUID, fields.EQUAL, 4_000_000_001)


def netlink(groups=0):
    """An audit socket."""
    found = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT)
    found.bind((0, groups))
    found.settimeout(60)
    return found


def is_logged(word):
    """Whether a message of ours is logged; another that no rule is for tells that it is over."""
    with netlink(READLOG) as reader, netlink() as sender:
        for kind, text in ((TRUSTED_APP, word), (TRUSTED_APP + 1, f"{word}-end")):
            data = f"op=auditsvc-test {text} ".encode() + b"\0"
            sender.sendto(
                struct.pack("=IHHII", 16 + len(data), kind, REQUEST_ACK, 1, 0) + data, (0, 0)
            )
            sender.recv(4096)
        seen = False
        while True:
            data = reader.recv(65536)
            if f"{word}-end ".encode() in data:
                return seen
            seen = seen or f"{word} ".encode() in data


def of(*conditions, which=FilterList.USER, action=Action.NEVER):
    """A rule; on the list user for one record type, so that others are as before."""
    given = [Condition(field, fields.EQUAL, value) for field, value in conditions]
    if which is FilterList.USER:
        given.insert(0, Condition(12, fields.EQUAL, TRUSTED_APP))
    return Rule(which, action, tuple(given))


KEY = (fields.KEY, "k")


@pytest.mark.parametrize(
    ("rules", "logged"),
    [
        ([], True),
        ([of((UID, 0))], False),
        ([of((UID, 0), KEY)], True),
        ([of((UID, 0), (EUID, 0))], True),
        ([of((UID, 0), (EUID, 0)), of((UID, 0))], True),
        ([of((UID, 7), (EUID, 0)), of((UID, 0))], False),
        ([Rule(FilterList.USER, Action.NEVER)], True),
    ],
)
def test_the_list_user_stops_at_what_it_cannot_judge(audit_changes, rules, logged):
    """A key or an effective uid: the rule does not match, and none behind it is asked."""
    audit_changes.set(enabled=1)
    audit_changes.delete_rules()
    for each in rules:
        audit_changes.add_rule(each)
    assert is_logged(f"mark{os.getpid()}x{len(rules)}") == logged


@pytest.mark.parametrize(
    "condition",
    [
        *((number, UNSET) for number in (*range(1, 9), 109, 110)),
        (fields.PATH, "/etc/.."),
        (fields.PATH, "/etc/."),
        (fields.PATH, "/auditsvc-nowhere/x"),
        (fields.DIR, "/auditsvc-nowhere"),
        (fields.EXE, "/auditsvc-nowhere/x"),
        (fields.PATH, f"/etc/{'a' * 256}"),
        (fields.DIR, f"/etc/{'a' * 256}"),
    ],
)
def test_what_never_loads_is_refused(audit_changes, condition):
    """Ids that are never unset, paths that end in dots, missing folders, long names."""
    audit_changes.set(enabled=0)
    number, value = condition
    wanted = Condition(number, fields.EQUAL, value)
    with pytest.raises(KernelError):
        audit_changes.add_rule(Rule(FilterList.EXIT, Action.ALWAYS, (wanted, NOBODY)))


@pytest.mark.parametrize("path", ["/etc/../etc/passwd", "/etc/*.conf", "/etc/auditsvc-nothing"])
def test_what_is_only_doubtful_is_taken(audit_changes, path):
    """Dots on the way, a name with a star, a file that is not there."""
    audit_changes.set(enabled=0)
    wanted = Condition(fields.PATH, fields.EQUAL, path)
    rule = Rule(FilterList.EXIT, Action.ALWAYS, (wanted, NOBODY))
    audit_changes.add_rule(rule)
    audit_changes.delete_rule(rule)
