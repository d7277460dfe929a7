"""Audit rules: text <-> Rule <-> struct audit_rule_data.

The language is that of auditctl(8) and audit.rules(7). Only `files` (rule files) and
`host` (this machine's users, groups and folders) do I/O.

    lines = parse(text, "my.rules")          # text -> Line, each with a command
    data = lines[0].command.rule.to_bytes()  # what AUDIT_ADD_RULE takes
    printing.text(Rule.from_bytes(data))     # what `auditctl -l` prints
"""

from auditsvc.rule.commands import (
    Add,
    Command,
    Delete,
    DeleteAll,
    Line,
    MakeEquivalent,
    OnError,
    Reset,
    Set,
    Trim,
)
from auditsvc.rule.files import read
from auditsvc.rule.host import Host
from auditsvc.rule.model import Action, Condition, FilterList, Rule
from auditsvc.rule.parser import parse

__all__ = [
    "Action",
    "Add",
    "Command",
    "Condition",
    "Delete",
    "DeleteAll",
    "FilterList",
    "Host",
    "Line",
    "MakeEquivalent",
    "OnError",
    "Reset",
    "Rule",
    "Set",
    "Trim",
    "parse",
    "read",
]
