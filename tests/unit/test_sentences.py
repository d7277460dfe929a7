"""The words of `story`'s sentences are whole: no verb is left with a preposition and no object."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import pytest

import auditsvc
from auditsvc.guard.finding import What
from auditsvc.tables import verbs
from auditsvc.tables.names_of_objects import BY_OPERATION
from auditsvc.tables.verb_words import SAID, UNNAMED
from auditsvc.tables.verbs import CALLS, OPERATIONS, TYPES

ACTIONS = {verb.action for table in (CALLS, TYPES, OPERATIONS) for verb in table.values()}
OPEN = {"of", "to", "from", "in", "on", "with", "for", "as", "about", "at"}
"""What a sentence cannot end with."""


def test_words_are_of_verbs_that_there_are():
    """A verb that is renamed would lose its words unseen."""
    assert (set(SAID) | set(UNNAMED)) - ACTIONS == set()


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_a_sentence_without_an_object_is_whole(action):
    """Neither "read identity of" nor "started audit:" says anything."""
    said = SAID.get(action, action.replace("-", " "))
    ends_open = said.endswith(":") or said.split()[-1] in OPEN
    assert not ends_open or action in UNNAMED, said


def test_our_own_notes_are_no_change_of_configuration():
    """The service writes them as DAEMON_CONFIG records by the hundred."""
    assert not any("chang" in OPERATIONS[op].action for op in ("coverage", "name", "cgroup"))
    assert verbs.TYPES["DAEMON_CONFIG"].action == "changed-auditd-configuration"


def written_operations():
    """Give the operations of the DAEMON_CONFIG records that the program writes."""
    for source in Path(auditsvc.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_bytes())):
            match node:
                case ast.Call(ast.Attribute(attr="config"), [_, ast.Constant(str(op)), *_]):
                    yield op


def test_each_of_our_own_records_has_words_of_its_own():
    """Else its sentence is the name of its operation."""
    written = {*written_operations(), *(f"tamper {what}" for what in get_args(What))}
    assert {"name", "cgroup", "switch", "tamper put_back"} <= written
    assert written <= set(BY_OPERATION)
    assert set(BY_OPERATION) <= set(OPERATIONS)
    unsaid = {op for op in written if OPERATIONS[op].action not in SAID}
    assert unsaid == {"switch", "tamper setting"}  # "switched audit off": said as it is
