"""Every shipped set against the kernel and auditctl; audit is off meanwhile and nothing stays."""

from __future__ import annotations

import platform
import re
import subprocess

import pytest
from fixtures import auditctl

from auditsvc import rule_sets
from auditsvc.config import load_settings
from auditsvc.rule import Add, read
from auditsvc.rules_in_use import rules_in_use

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the sets name x86_64's calls"),
    pytest.mark.skipif(not auditctl.AUDITCTL.exists(), reason="`make peers` unpacks auditctl"),
]

# What auditctl 3.0.9 does not know: it refuses such a line, which -i passes over, and
# shows it so.
NEWER = {"fchmodat2": "452", "always,io_uring": "always,(null)"}


def known(text: str) -> bool:
    """Whether auditctl can read a line."""
    return not any(name in text for name in NEWER)


@pytest.mark.parametrize("name", rule_sets.names())
def test_auditctl_sends_the_same(name, tmp_path):
    """Every line is to auditctl what it is to us."""
    lines = [line for line in read(rule_sets.find(name)) if isinstance(line.command, Add)]
    sent = auditctl.sent([line.text for line in lines], tmp_path)
    for line, data in zip(lines, sent, strict=True):
        assert (data is not None) == known(line.text), line.text
        assert data in (None, line.command.rule.to_bytes()), line.text


@pytest.mark.parametrize("name", rule_sets.names())
def test_the_kernel_takes_it(name, audit_lock):
    """The kernel takes the set but for what this host lacks, and auditctl lists what we wrote."""
    audit_lock.set(enabled=0)
    audit_lock.delete_rules()
    rules, notes = rules_in_use(load_settings(rules=[name]))
    try:
        for add in rules:
            audit_lock.add_rule(add.rule, prepend=add.prepend)
        loaded = audit_lock.rules()
        listed = subprocess.run(
            [auditctl.AUDITCTL, "-l"], capture_output=True, text=True, check=True, timeout=60
        ).stdout.splitlines()
    finally:
        audit_lock.delete_rules()
    assert sorted(map(str, loaded)) == sorted(str(add.rule) for add in rules)
    assert len(rules) + len(notes) == len(
        [line for line in read(rule_sets.find(name)) if isinstance(line.command, Add)]
    )
    assert all(note.endswith(" is not there") for note in notes)
    assert listed == [as_auditctl(str(rule)) for rule in loaded]


def as_auditctl(text: str) -> str:
    """Spell a rule with what auditctl 3.0.9 knows."""
    for name, number in NEWER.items():
        text = re.sub(rf"\b{name}\b", number, text)
    return text
